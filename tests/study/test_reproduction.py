"""What the paper's tables run, and that known results alone make them."""

import argparse
import json
import subprocess
import sys

import pytest

from sad.study.experiments import Lab
from sad.study.reproduction import Reproduction
from sad.study.tables import read_tables
from sad.utils.errors import UserError
from toy import REPOSITORY


@pytest.mark.parametrize(
    ("table", "rows", "expected"),
    [
        ("4", None, {"teacher", "shallow", "shallow_SAD", "large", "medium",
                     "medium_SAD_from_large", "SAD_ADL", "SAD"}),
        ("2", ["half_ADL"], {"student_ADL"}),
        ("TAR", ["rcnn", "TAR", "rcnn_HT", "half"], {"FasterRCNN/student", "FasterRCNN/TAR",
                                                     "FasterRCNN/HT", "student"}),
        ("labels", None, {f"{config}{share}" for config in ("teacher", "student", "SAD_ADL")
                          for share in ("", *(f" LABELED_SHARE={part} LABELED_SHARE_SEED={seed}"
                          for part in (0.01, 0.05, 0.1, 0.5) for seed in (3, 4)))}),
    ],
)  # fmt: skip
def test_what_a_table_runs(tmp_path, monkeypatch, table, rows, expected):
    monkeypatch.chdir(REPOSITORY)
    spec = read_tables("configs/tables.yaml")
    args = argparse.Namespace(
        benchmark="digits", seeds=[3, 4], rows=rows, no_run=False, jobs=1, num_gpus=1,
        output=tmp_path, results=tmp_path, tables=tmp_path,
    )  # fmt: skip
    ran = []
    monkeypatch.setattr(Lab, "run_all", lambda lab, experiments: ran.extend(experiments))
    Reproduction(args, spec, root=REPOSITORY, command="").run(table)
    assert {experiment.name for experiment in ran} == expected
    assert {experiment.seed for experiment in ran} == {3, 4}


def test_rows_that_are_in_no_table_or_benchmark_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    spec = read_tables("configs/tables.yaml")
    for benchmark, row in (("bccd", "half_KL"), ("digits", "R101")):
        args = argparse.Namespace(
            benchmark=benchmark, seeds=[0], rows=[row], no_run=False, jobs=1, num_gpus=1,
            output=tmp_path, results=tmp_path, tables=tmp_path,
        )  # fmt: skip
        with pytest.raises(UserError, match=f"table 3 has none of --rows {row}"):
            Reproduction(args, spec, root=REPOSITORY, command="").run("3")


def known_alone(tmp_path) -> Reproduction:
    """Of three seeds on the digit scenes, what is known and nothing that is run."""
    args = argparse.Namespace(
        benchmark="digits", seeds=[0, 1, 2], rows=None, no_run=True, jobs=1, num_gpus=1,
        output=tmp_path, results=tmp_path, tables=tmp_path,
    )  # fmt: skip
    return Reproduction(args, read_tables("configs/tables.yaml"), root=REPOSITORY, command="")


@pytest.mark.slow
def test_each_papers_claims_are_corrected_among_themselves(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)

    def find(lab, experiment):
        ap = 40 + len(experiment.name) + experiment.seed * len(experiment.name) / 100
        return {"AP": ap, "AP50": ap, "AP75": ap, "teacher_AP": 40 - experiment.seed}

    monkeypatch.setattr(Lab, "find", find)
    monkeypatch.setattr(Lab, "known", lambda lab: {"": {"0": {}, "1": {}, "2": {}}})
    reproduction = known_alone(tmp_path)
    spec, judged = reproduction.spec, reproduction.judged

    def families(*names):
        claims = [claim for name in names for claim in spec["tables"][name]["claims"]]
        return [judged[claim, 1.0]["family"] for claim in claims]

    assert families("TAR") == [20] * 20 and families("7", "8", "9") == [19] * 19
    assert judged["a", 1.0]["family"] == len(judged) - 20 - 19
    assert len(judged) == len(spec["claims"]) + 4 * len(spec["labels"]["claims"])
    reproduction.write_table("TAR")
    assert (
        "| `TAR_R50_from_R101` | 39.0 | `digits/FasterRCNN/TAR` |"
        in (tmp_path / "digits_tableTAR.md").read_text()
    )


@pytest.mark.slow
def test_rows_of_two_runs_of_one_teacher_are_not_compared(tmp_path, monkeypatch):
    """Where they are known to be two: a teacher trained again is another one."""
    monkeypatch.chdir(REPOSITORY)
    again = {("SAD", 1): {"teacher_AP": 41.0}, ("student_HT", 2): {}}

    def find(lab, experiment):
        taught = {"teacher_AP": 40.0} if experiment.teacher else {}
        return {"AP": 50.0, **again.get((experiment.config, experiment.seed), taught)}

    monkeypatch.setattr(Lab, "find", find)
    monkeypatch.setattr(Lab, "known", lambda lab: {"": {"0": {}, "1": {}, "2": {}}})
    judged = known_alone(tmp_path).judged

    def compared(claim):
        return set(judged[claim, 1.0]["differences"])

    assert compared("e-HT-KL") == {0, 2}  # of seed 2 it is not known
    assert compared("i-SAD") == {0, 2} and compared("e-HT") == {0, 1, 2}
    # The student alone has no teacher, and T1 is another one anyway.
    assert compared("SAD-KL") == compared("T1-SAD-KL") == compared("f-half-KL") == {0, 1, 2}


@pytest.mark.slow
def test_reproduce_writes_what_is_known(tmp_path):
    """The committed results alone, no data, no training: the committed tables come out."""
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts/reproduce.py", "--table", "2", "labels", "--no-run",
         "--tables", tmp_path / "tables"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "tables").iterdir()}
    assert written == {f"digits_{name}.{kind}" for name in ("table2", "labels")
                       for kind in ("md", "json", "png")}  # fmt: skip
    for name in ("digits_table2.md", "digits_labels.md"):
        made, committed = (
            [line for line in (folder / name).read_text().splitlines() if "Made by" not in line]
            for folder in (tmp_path / "tables", REPOSITORY / "docs" / "tables")
        )
        assert made == committed
    content = json.loads((tmp_path / "tables" / "digits_table2.json").read_text())
    assert content["rows"][3]["results"].keys() == {"0", "1", "2"}
    # A claim has one verdict, that of all its seeds, also where a table shows some of them.
    assert content["claims"][0]["judged"]["differences"].keys() == set("01234")
