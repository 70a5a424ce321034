"""The report: reading runs, matching detections, and the three files from real (toy) runs."""

import json
import shutil

import pytest
from PIL import Image

from sad.modeling.build import load_detector
from sad.report.report import markdown
from sad.utils.errors import UserError
from toy import REPOSITORY, run_script

SCRIPT = REPOSITORY / "scripts" / "report.py"


def test_weights_of_another_model_are_named(runs, student):
    shutil.copy(runs / "teacher/model_final.pth", student)
    with pytest.raises(UserError, match=f"{student}.*do not fit the model"):
        load_detector(str(student / "config.yaml"), str(student / "model_final.pth"), "cpu")


def test_markdown_rounds_and_keeps_the_order():
    row = {"AP": 41.04, "AP50": 60.0, "AP75": 44.96, "parameters": 0.4181, "gflops": 0.0538327}
    report = {
        "title": "Title",
        "command": "make it",
        "test_set": "some_set",
        "test_images": 1000,
        "timed_images": 50,
        "machine": {"device": "CPU", "cpu": "X", "cores": 2, "torch_threads": 1, "torch": "2.4"},
        "runs": [{"name": "SAD", "ms": 7.26, **row}, {"name": "teacher", "ms": 17.5, **row}],
    }
    text = markdown(report)
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    assert lines[0] == ["", "AP", "AP50", "AP75", "parameters (M)", "GFLOPs", "ms per image"]
    assert lines[2] == ["SAD", "41.0", "60.0", "45.0", "0.42", "0.0538", "7.3"]
    assert [line[0] for line in lines[2:]] == ["SAD", "teacher"]
    assert "`make it`" in text and "1,000 images of some_set" in text and "(X, 2 cores" in text


def test_report_of_two_runs(runs, tmp_path, monkeypatch, capsys):
    output = tmp_path / "report"
    arguments = ["--run", f"teacher={runs}/teacher", "--run", f"student={runs}/student"]
    options = ["--images", 4, "--pictures", 3, "--score-threshold", 0.012, "--title", "Toys"]
    run_script(monkeypatch, SCRIPT, *arguments, *options, "--output", output)
    printed = capsys.readouterr().out
    content = json.loads((output / "report.json").read_text())
    assert content["test_images"] == 6 and content["timed_images"] == 4
    assert [row["name"] for row in content["runs"]] == ["teacher", "student"]
    assert content["runs"][0]["gflops"] > content["runs"][1]["gflops"]
    assert len(set(content["pictures"]["images"])) == 3
    for row in content["runs"]:
        last = (runs / row["name"] / "metrics.json").read_text().splitlines()[-1]
        assert row["AP"] == json.loads(last)["bbox/AP"]
        assert row["name"] in printed
    text = (output / "report.md").read_text()
    assert text.startswith("# Toys") and f"--output {output}" in text
    with Image.open(output / "report.png") as page:
        assert page.width == 1600 and len(page.getcolors(page.width * page.height)) > 50
    assert sorted(path.name for path in output.iterdir()) == [
        "report.json",
        "report.md",
        "report.png",
    ]
