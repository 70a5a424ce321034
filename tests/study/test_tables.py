"""Statistics of the tables against scipy and by hand; the shipped spec; files that are written."""

import re
import statistics

import pytest
from scipy import stats

from judged import CLAIM, CLAIMS, ROWS, aps, judge
from sad.config.defaults import distills
from sad.study import tables
from sad.study.experiments import Experiment
from sad.utils.errors import UserError
from toy import REPOSITORY

SPEC = REPOSITORY / "configs" / "tables.yaml"


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
    assert judged["verdict"] == "same sign in every seed"


# Mean over standard error at which a textbook's table of Student's t has 5 %, two-sided.
@pytest.mark.parametrize(("seeds", "quantile"), [(3, 4.303), (4, 3.182), (5, 2.776)])
def test_students_quantiles(seeds, quantile):
    """Two standard errors are not enough with so few seeds."""
    pattern = [-1.0, 1.0, *[0.0] * (seeds - 2)]
    error = statistics.stdev(pattern) / seeds**0.5
    for ratio in (2, quantile - 0.01, quantile + 0.01):
        judged = judge(*(ratio * error + x for x in pattern))
        assert judged["mean"] / judged["standard_error"] == pytest.approx(ratio)
        assert (judged["p"] < 0.05) == (judged["verdict"] == "held") == (ratio > quantile)


@pytest.mark.parametrize(
    ("differences", "p", "verdict", "of_no_gain"),
    [
        ((1.0, 1.2, 0.9), 0.0073, "held", "contradicted"),
        ((-1.0, -1.2, -0.9), 0.0073, "contradicted", "held"),
        # Beyond two standard errors, as these are, is p < 0.18.
        ((2.70, 0.63, 1.28), 0.129, "same sign in every seed", "other sign in every seed"),
        ((3.34, 2.19, 1.12), 0.075, "same sign in every seed", "other sign in every seed"),
        ((-0.38, -1.52, -1.05), 0.098, "other sign in every seed", "same sign in every seed"),
        ((1.0, 1.2, -0.1), 0.225, "undecided", "undecided"),
        # Student's t asks for no common sign.
        ((-0.42, 1.46, 2.43, 2.78, 2.77), 0.041, "held", "contradicted"),
        ((0.0, 0.0, 0.0), 1, "undecided", "undecided"),
    ],
)
def test_verdicts(differences, p, verdict, of_no_gain):
    assert judge(*differences)["p"] == pytest.approx(p, rel=0.02)
    assert judge(*differences)["verdict"] == verdict
    assert judge(*differences, gains=False)["verdict"] == of_no_gain


def test_a_student_is_judged_by_the_teacher_it_had():
    results = {"a": {seed: {**ap, "teacher_AP": 40 - seed} for seed, ap in aps(41, 41, 41).items()}}
    judged = tables.judge({"text": "", "more": "a"}, results)
    assert judged["differences"] == {0: 1, 1: 2, 2: 3} and judged["mean"] == 2


def test_seeds_are_paired_and_few_of_them_judge_nothing():
    judged = tables.judge(CLAIM, {"a": aps(41, 42, 43), "b": {1: {"AP": 40}}})
    assert judged["differences"] == {1: 2} and judged["p"] is None
    assert judged["verdict"] == "fewer than three seeds"
    assert tables.judge(CLAIM, {"a": aps(41, 42, 43)}) is None
    assert tables.judge(CLAIM, {"a": aps(41), "b": {}}) is None


def test_holm():
    """The worked example of Wikipedia's article, and R's p.adjust on another."""
    assert tables.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert tables.holm([0.6, 0.02, 0.7]) == pytest.approx([1, 0.06, 1])
    assert tables.holm([]) == []


def test_claims_are_corrected_for_all_that_have_a_p():
    judged = {"x": {"p": 0.01}, "y": {"p": None}, "z": None, "w": {"p": 0.03}}
    assert tables.judge_family(judged) == {
        "x": {"p": 0.01, "holm": 0.02, "family": 2},
        "y": {"p": None, "holm": None, "family": 2},
        "z": None,
        "w": {"p": 0.03, "holm": 0.03, "family": 2},
    }


def test_markdown():
    text = tables.markdown("Title", ROWS, CLAIMS, "python x")
    assert "| first | `C` | 28.8 / 45.8 / 30.6 | `x/one` | 43.0 ± 3.6 |" in text
    assert "| 40.0, 42.0, 47.0 |" in text
    assert "| second |  | none | `x/two` | not run here |" in text
    first = "| same sign | +1.0, +0.5, +2.0 | +1.2 ± 0.4 | 0.118 | 0.118 |"
    assert f"{first} same sign in every seed |" in text
    assert "| held | +1.0, +1.2, +0.9 | +1.0 ± 0.1 | 0.007 | 0.014 | held, after Holm too |" in text
    assert "| no | +1.0 | +1.0 |  |  | fewer than three seeds |" in text
    assert "| none | not run here |  |  |  |  |" in text
    assert "the 3 claims judged" in text and "`python x`" in text


def test_a_verdict_does_not_hide_that_holms_correction_takes_it_away():
    family = tables.judge_family({n: judge(1.0, 1.2, 0.9) for n in range(20)})
    *_, p, corrected, verdict = tables.claim_cells({"text": "", "judged": family[0]})
    assert (p, corrected, verdict) == ("0.007", "0.144", "held")


def test_cost_table():
    cost = {"parameters": 1.5, "gflops": 0.123, "ms": 6.54}
    where = {"device": "CPU", "cpu": "some", "torch_threads": 2, "torch": "2"}
    rows = [{**ROWS[0], "paper": [35.7, 123]}, {**ROWS[1], "paper": [34.4, 90]}]
    content = {"title": "T", "command": "c", "rows": rows,
               "cost": {"machine": where, "rows": {"first": cost}}}  # fmt: skip
    text = tables.cost_markdown(content)
    assert "| first | `x/one` | 35.7, 123 | 43.0 ± 3.6 | 1.50 | 0.123 | 6.5 |" in text
    assert "| second | `x/two` | 34.4, 90 | not run here |  |  |  |" in text


def test_curve():
    curves = {"teacher": {0.1: aps(10, 12), 1.0: {}}, "SAD": {0.1: {}, 1.0: {}}}
    content = {"title": "T", "command": "c", "curves": curves, "claims": CLAIMS}
    text = tables.curve_markdown(content)
    assert "| held | +1.0, +1.2, +0.9 |" in text
    assert "| | 10% | 100% |" in text and "| teacher | 11.0 ± 1.4 | not run here |" in text


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
    """As published (arXiv 1901.00366, Tables 1 to 5; arXiv 2006.13108, abstract)."""
    paper = {number: table["rows"] for number, table in spec["tables"].items()}
    betas = ("half_beta0", "half_beta0.5", "half_beta1", "half_ADL")
    assert [paper["1"][row][0] for row in betas] == [28.9, 29.4, 30.5, 30.7]
    assert paper["1"]["half_FDL"] == [28.5, 45.5, 30.2]
    assert paper["2"]["R50_ADL_X101"] == [35.2, 54.1, 37.7]
    assert paper["3"]["half_SAD"] == [33.1, 52.1, 35.2] and paper["3"]["up_HT"] == [
        32.1,
        51.6,
        33.9,
    ]
    assert paper["4"]["R50_SAD"] == [36.3, 55.2, 38.9] and paper["4"]["R101_SAD"] == [
        36.8,
        55.7,
        39.4,
    ]
    assert paper["5"]["R101_800"] == [37.8, 190]
    assert [paper["TAR"][row] for row in ("rcnn", "TAR", "rcnn_teacher")] == [
        [36.3],
        [39.0],
        [38.5],
    ]


@pytest.mark.slow
def test_each_digit_row_has_the_targets_its_name_says(spec, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for row, entry in spec["rows"].items():
        if "digits" not in entry:
            continue
        cfg = Experiment("digits", entry["digits"]).cfg
        hard = Experiment("digits", entry["digits"]).pseudo_label_set is not None
        soft = "soft" in cfg.SAD.TARGETS.UNLABELED and bool(cfg.DATASETS.UNLABELED)
        if "GT + " in entry["name"] or "SAD" in row:
            assert hard == ("HT" in entry["name"] or "SAD" in row), row
            assert distills(cfg) == ("ST(lab)" in entry["name"] or "SAD" in row), row
            assert (soft and distills(cfg)) == ("ST(un)" in entry["name"] or "SAD" in row), row


def test_a_row_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "tables.yaml"
    path.write_text(SPEC.read_text().replace("less: half_KL}", "less: half_LK}"))
    with pytest.raises(UserError, match="half_LK"):
        tables.read_tables(str(path))
    path.write_text(SPEC.read_text().replace("claims: [a, b,", "claims: [a, bb,"))
    with pytest.raises(UserError, match="bb"):
        tables.read_tables(str(path))


def test_the_results_page_states_the_tables_verdicts(spec):
    """Its table of claims has each row of docs/tables, word for word, and leaves none out."""

    def judged(path):
        rows = path.read_text().split("| verdict |\n")[1].splitlines()[1:]
        return rows[: rows.index("")]

    tables_of = (REPOSITORY / "docs" / "tables").glob("*.md")
    judging = [path for path in tables_of if "| verdict |" in path.read_text()]
    expected = {row for path in judging for row in judged(path) if "100% of the labels" not in row}
    # Its first column says whose claim it is.
    stated = ["|" + row.split("|", 2)[2] for row in judged(REPOSITORY / "docs" / "results.md")]
    assert sorted(stated) == sorted(expected)
    names = {path.stem.removeprefix("digits_table") for path in judging}  # TAR, once it has run
    claims = {claim for name in names & spec["tables"].keys()
              for claim in spec["tables"][name]["claims"]}  # fmt: skip
    of_papers = {key: claim.get("paper") for key, claim in spec["claims"].items()}
    assert {key for key in claims if of_papers[key] != "none"} == {
        key for key, paper in of_papers.items() if paper is None or paper in names
    }
    of_others = sum(len(judged(path)) for path in judging if not path.stem.startswith("digits"))
    assert len(stated) == len(claims) + len(spec["labels"]["claims"]) * 4 + of_others


def test_the_model_zoo_states_the_tables_ap():
    """Each of its rows that links a table has the AP that this table gives for the config."""
    zoo = (REPOSITORY / "MODEL_ZOO.md").read_text()
    row = r"^\| \[.+\]\(configs/(.+)\.yaml\) \|.* \| (.+) \| \[.+\]\((docs/tables/.+)\) \|$"
    stated = re.findall(row, zoo, re.MULTILINE)
    assert len(stated) > 30
    for config, ap, table in stated:
        assert f"| `{config}` | {ap} |" in (REPOSITORY / table).read_text(), config
