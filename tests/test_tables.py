"""Statistics of the tables against scipy and by hand; the shipped spec; files that are written."""

import json
import subprocess
import sys

import pytest
from scipy import stats

from sad import table_pictures, tables
from sad.errors import UserError
from sad.experiments import Experiment
from toy import REPOSITORY

SPEC = REPOSITORY / "configs" / "tables.yaml"
CLAIM = {"text": "more is more", "more": "a", "less": "b"}


def aps(*values):
    return {seed: {"AP": v, "AP50": v + 20, "AP75": v + 5} for seed, v in enumerate(values)}


def test_summary():
    assert tables.summary(aps(40, 42, 47))["AP"] == (43, pytest.approx(3.6056, abs=1e-4))
    assert tables.summary(aps(40, 42, 47))["AP75"][0] == 48
    assert tables.summary(aps(40))["AP50"] == (60, 0)


def test_judge_is_a_paired_t_test():
    more, less = (41.0, 43.0, 44.5, 42.0), (40.0, 40.0, 43.0, 41.5)
    judged = tables.judge(CLAIM, {"a": aps(*more), "b": aps(*less)})
    assert judged["differences"] == {0: 1.0, 1: 3.0, 2: 1.5, 3: 0.5}
    assert judged["mean"] == 1.5
    assert judged["standard_error"] == pytest.approx(1.0801 / 2, abs=1e-4)
    assert judged["p"] == pytest.approx(stats.ttest_rel(more, less).pvalue)
    assert judged["held"] is True


@pytest.mark.parametrize(
    ("differences", "gains"),
    [
        ((1.0, 1.2, 0.9), True),
        ((1.0, 1.2, -0.1), False),  # the sign differs
        ((0.1, 0.1, 3.0), False),  # all positive, the mean below two standard errors
        ((-1.0, -1.1, -0.9), False),
    ],
)
def test_held(differences, gains):
    results = {"a": aps(*(40 + d for d in differences)), "b": aps(40, 40, 40)}
    assert tables.judge(CLAIM, results)["held"] is gains


@pytest.mark.parametrize(
    ("differences", "held"),
    [
        ((1.0, 1.2, 0.9), False),
        ((-1.0, -1.2, -0.9), True),
        ((1.9, -1.1, -1.1), None),  # below zero on average, and nothing more
        ((1.0, 1.2, -0.1), None),
    ],
)
def test_no_gain(differences, held):
    results = {"a": aps(*(40 + d for d in differences)), "b": aps(40, 40, 40)}
    assert tables.judge({**CLAIM, "gains": False}, results)["held"] is held


def test_a_student_is_judged_by_the_teacher_it_had():
    results = {"a": {seed: {**ap, "teacher_AP": 40 - seed} for seed, ap in aps(41, 41, 41).items()}}
    judged = tables.judge({"text": "", "more": "a"}, results)
    assert judged["differences"] == {0: 1, 1: 2, 2: 3} and judged["held"] is True


def test_seeds_are_paired_and_few_of_them_judge_nothing():
    judged = tables.judge(CLAIM, {"a": aps(41, 42, 43), "b": {1: {"AP": 40}}})
    assert judged["differences"] == {1: 2} and judged["held"] is None and judged["p"] is None
    assert tables.judge(CLAIM, {"a": aps(41, 42, 43)}) is None
    assert tables.judge(CLAIM, {"a": aps(41), "b": {}}) is None


ROWS = [
    {
        "name": "first",
        "config": "x/one",
        "coco": "C",
        "paper": [28.8, 45.8, 30.6],
        "results": aps(40, 42, 47),
    },
    {"name": "second", "config": "x/two", "coco": None, "paper": [], "results": {}},
]


def test_markdown():
    judged = tables.judge(CLAIM, {"a": aps(41, 42, 43), "b": aps(40, 41.5, 41)})
    claims = [{"text": "c1", "judged": judged}, {"text": "c2", "judged": None}]
    text = tables.markdown("Title", ROWS, claims, "python x")
    assert "| first | `C` | 28.8 / 45.8 / 30.6 | `x/one` | 43.0 ± 3.6 |" in text
    assert "| 40.0, 42.0, 47.0 |" in text
    assert "| second |  | none | `x/two` | not run here |" in text
    assert "| c1 | +1.0, +0.5, +2.0 | +1.2 ± 0.4 | 0.118 | held |" in text
    assert "| c2 | not run here |  |  |  |" in text and "`python x`" in text


def test_table_picture():
    claims = [
        {
            "text": "c1",
            "judged": tables.judge(CLAIM, {"a": aps(41, 42, 43), "b": aps(40, 41.5, 41)}),
        },
        {"text": "c2", "judged": tables.judge(CLAIM, {"a": aps(41), "b": aps(40)})},
        {"text": "c3", "judged": None},
    ]
    content = {"title": "Title", "rows": ROWS, "claims": claims}
    figure = table_pictures.table_picture(content, "digits")
    assert figure.get_supxlabel().splitlines() == [
        "held: c1 (+1.2 ± 0.4, p 0.118)", "fewer than three seeds: c2", "not run here: c3",
    ]  # fmt: skip
    here, paper = figure.axes
    dots, mean = here.lines
    assert list(dots.get_xdata()) == [40, 42, 47] and list(mean.get_xdata()) == [43, 43]
    assert [line.get_xdata()[0] for line in paper.lines] == [28.8]
    assert [text.get_text() for text in here.texts] == ["not run here"]


def test_cost_table():
    cost = {"parameters": 1.5, "gflops": 0.123, "ms": 6.54}
    where = {"device": "CPU", "cpu": "some", "torch_threads": 2, "torch": "2"}
    rows = [{**ROWS[0], "paper": [35.7, 123]}, {**ROWS[1], "paper": [34.4, 90]}]
    content = {"title": "T", "command": "c", "rows": rows,
               "cost": {"machine": where, "rows": {"first": cost}}}  # fmt: skip
    text = tables.cost_markdown(content)
    assert "| first | `x/one` | 35.7, 123 | 43.0 ± 3.6 | 1.50 | 0.123 | 6.5 |" in text
    assert "| second | `x/two` | 34.4, 90 | not run here |  |  |  |" in text
    here, flops, paper = table_pictures.cost_picture(content).axes
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in here.lines] == [(6.54, 43)]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in flops.lines] == [(0.123, 43)]
    assert len(paper.lines) == 2


def test_curve():
    curves = {"teacher": {0.1: aps(10, 12), 1.0: {}}, "SAD": {0.1: {}, 1.0: {}}}
    content = {"title": "T", "command": "c", "curves": curves}
    text = tables.curve_markdown(content)
    assert "| | 10% | 100% |" in text and "| teacher | 11.0 ± 1.4 | not run here |" in text
    (axes,) = table_pictures.curve_picture(content).axes
    assert list(axes.lines[0].get_xdata()) == [10] and list(axes.lines[0].get_ydata()) == [11]


# --- configs/tables.yaml ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spec():
    return tables.read_tables(str(SPEC))


def test_every_row_is_a_config(spec):
    for row, entry in spec["rows"].items():
        for benchmark in entry.keys() - {"name"}:
            path = REPOSITORY / "configs" / benchmark / f"{entry[benchmark]}.yaml"
            assert path.exists(), (row, path)


def test_the_papers_numbers(spec):
    """As published (arXiv 1901.00366, Tables 1 to 5)."""
    paper = {number: table["rows"] for number, table in spec["tables"].items()}
    betas = ("half_beta0", "half_beta0.5", "half_beta1", "half_ADL")
    assert [paper[1][row][0] for row in betas] == [28.9, 29.4, 30.5, 30.7]
    assert paper[1]["half_FDL"] == [28.5, 45.5, 30.2]
    assert paper[2]["R50_ADL_X101"] == [35.2, 54.1, 37.7]
    assert paper[3]["half_SAD"] == [33.1, 52.1, 35.2] and paper[3]["up_HT"] == [32.1, 51.6, 33.9]
    assert paper[4]["R50_SAD"] == [36.3, 55.2, 38.9] and paper[4]["R101_SAD"] == [36.8, 55.7, 39.4]
    assert paper[5]["R101_800"] == [37.8, 190]


def test_each_digit_row_has_the_targets_its_name_says(spec, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for row, entry in spec["rows"].items():
        if "digits" not in entry:
            continue
        cfg = Experiment("digits", entry["digits"]).cfg
        loss = cfg.SAD.DISTILL.LOSS if cfg.MODEL.META_ARCHITECTURE == "SADRetinaNet" else "none"
        hard = Experiment("digits", entry["digits"]).hard_target_set is not None
        soft = "soft" in cfg.SAD.TARGETS.UNLABELED and bool(cfg.DATASETS.UNLABELED)
        if "GT + " in entry["name"] or "SAD" in row:
            assert hard == ("HT" in entry["name"] or "SAD" in row), row
            assert (loss != "none") == ("ST(lab)" in entry["name"] or "SAD" in row), row
            assert (soft and loss != "none") == ("ST(un)" in entry["name"] or "SAD" in row), row


def test_a_row_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "tables.yaml"
    path.write_text(SPEC.read_text().replace("less: half_KL}", "less: half_LK}"))
    with pytest.raises(UserError, match="half_LK"):
        tables.read_tables(str(path))
    path.write_text(SPEC.read_text().replace("claims: [a, b,", "claims: [a, bb,"))
    with pytest.raises(UserError, match="bb"):
        tables.read_tables(str(path))


@pytest.mark.slow
def test_reproduce_writes_what_is_known(tmp_path):
    """The committed results alone: no data, no training."""
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts/reproduce.py", "--table", "1", "labels", "--no-run",
         "--tables", tmp_path / "tables"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "tables").iterdir()}
    assert written == {f"digits_{name}.{kind}" for name in ("table1", "labels")
                       for kind in ("md", "json", "png")}  # fmt: skip
    content = json.loads((tmp_path / "tables" / "digits_table1.json").read_text())
    assert content["rows"][1]["results"]["0"]["AP"] > 30
