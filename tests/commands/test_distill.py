"""`sad distill` from a user's labels and images to the report, at toy size."""

import json
import os
import shutil

import pytest

import sad
from sad.evaluation.metrics_file import read_metrics
from toy import REPOSITORY, run_script
from users_data import make_images, write_coco, write_voc, write_yolo

DISTILL = REPOSITORY / "scripts" / "distill.py"
WRITERS = {"coco": write_coco, "yolo": write_yolo, "voc": write_voc}


def distill(monkeypatch, *arguments):
    run_script(monkeypatch, DISTILL, *arguments)


def labels(folder, layout: str, count: int, seed: int):
    """What --labeled is given; the images lie beside it."""
    truth = make_images(folder / "images", count, seed)
    path = folder / "labels.json" if layout == "coco" else folder
    return WRITERS[layout](path, truth)


def files(folder) -> dict[str, float]:
    return {
        os.path.join(root, name): os.stat(os.path.join(root, name)).st_mtime_ns
        for root, _, names in os.walk(folder)
        for name in names
        if name not in ("log.txt", ".lock")
    }


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["coco", "yolo", "voc"])
def test_from_labels_to_a_report(layout, tmp_path, monkeypatch, capsys):
    given = labels(tmp_path, layout, 32, seed=1)
    make_images(tmp_path / "more", 8, seed=2)
    output = tmp_path / "out"
    arguments = [
        *("--labeled", given, "--unlabeled", tmp_path / "more", "--output", output),
        *("--teacher", "small", "--iterations", 30),
    ]
    distill(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    assert str(output / "report.html") in printed
    for name in ("inspection.html", "report.html", "report.md", "runs/SAD/model_final.pth"):
        assert (output / name).exists()
    report = json.loads((output / "report.json").read_text())
    assert [run["name"] for run in report["runs"]] == [
        *("teacher", "student alone", "student alone, as long", "SAD student")
    ]
    last = read_metrics(str(output / "runs" / "SAD" / "metrics.json"))[-1]
    ap = last.get("test/bbox/AP", last.get("bbox/AP"))
    assert report["runs"][-1]["AP"] == pytest.approx(0 if ap != ap else ap, abs=1e-6)
    assert any("too few labels" in note for note in report["notes"])

    before = files(output)
    distill(monkeypatch, *arguments)  # all of it is done
    assert files(output) == before


@pytest.mark.slow
def test_a_folder_with_everything_and_a_teacher_that_is_there(tmp_path, monkeypatch):
    for part, count, seed in (("train", 12, 1), ("valid", 6, 2), ("test", 6, 3)):
        labels(tmp_path / "all" / part, "yolo", count, seed)
    make_images(tmp_path / "all" / "unlabeled", 4, seed=4)
    first = sad.distill(
        data=str(tmp_path / "all"),
        output=str(tmp_path / "first"),
        teacher="small",
        iterations=30,
        baseline=False,
    )
    assert set(first.ap) == {"teacher", "SAD student"} and os.path.exists(first.weights)
    assert first.verdict == "not known"
    teacher = tmp_path / "first" / "runs" / "teacher"
    second = sad.distill(
        data=str(tmp_path / "all"),
        output=str(tmp_path / "second"),
        teacher=str(teacher / "config.yaml"),
        teacher_weights=str(teacher / "model_final.pth"),
        iterations=3,
    )
    assert os.path.exists(second.report) and second.verdict != "not known"
    assert not (tmp_path / "second" / "runs" / "teacher" / "model_final.pth").exists()


@pytest.mark.slow
def test_a_dry_run_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    given = labels(tmp_path, "coco", 24, seed=1)
    before = files(tmp_path)
    distill(
        *(monkeypatch, "--labeled", given, "--output", tmp_path / "out", "--teacher", "small"),
        "--dry-run",
    )
    printed = capsys.readouterr().out
    assert files(tmp_path) == before and not (tmp_path / "out").exists()
    assert "MAX_ITER: 600" in printed and "hours" in printed and str(tmp_path / "out") in printed


def test_a_mistake_ends_in_a_sentence(tmp_path, monkeypatch, capsys):
    make_images(tmp_path / "images", 3, seed=1)
    for arguments, said in (
        ([], "nothing to learn from"),
        (["--labeled", tmp_path / "images"], "no labels in"),
        (["--labeled", "absent.json"], "do not exist"),
    ):
        with pytest.raises(SystemExit) as end:
            distill(monkeypatch, *arguments, "--output", tmp_path / "out")
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert said in error and error.startswith("error: ") and "Traceback" not in error
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
