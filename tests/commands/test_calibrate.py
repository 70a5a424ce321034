"""`sad calibrate`: from its arguments to a page, and what it says in the end."""

import json

import pytest
from PIL import Image, ImageOps

from toy import REPOSITORY, run_script

SCRIPT = REPOSITORY / "scripts" / "calibrate.py"


def test_command(toy, tmp_path, monkeypatch, capsys):
    (tmp_path / "more").mkdir()
    for path in (toy.root / "unlabeled").iterdir():
        ImageOps.mirror(Image.open(path)).save(tmp_path / "more" / path.name)
    run_script(
        *(monkeypatch, SCRIPT, "--config-file", toy.path("teacher.yaml")),
        *("--weights", toy.path("teacher.pth"), "--images", tmp_path / "more"),
        *("--labeled-json", toy.path("annotations/labeled.json")),
        *("--val-json", toy.path("annotations/pseudo_labels.json")),
        *("--val-images", toy.path("unlabeled"), "--output", tmp_path / "out"),
        *("--to-label", 2, "--student-ap", 5),
    )
    report = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert report["student_AP"] == 5 and len(report["to_label"]) == 2
    said = capsys.readouterr().out
    assert all(line["text"] in said for line in report["advice"]["lines"])
    assert str(tmp_path / "out" / "calibration.html") in said


@pytest.mark.parametrize("wrong", [("--student-ap", 101), ("--to-label", 0)])
def test_values_out_of_range(wrong, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run_script(monkeypatch, SCRIPT, "--output", tmp_path / "out", *wrong)
    assert exit_.value.code == 2 and wrong[0] in capsys.readouterr().err
