"""The command from its arguments to its last line; tests/predict/test_run.py has the rest."""

import json
import shutil

import pytest

from exported_files import tame_teacher, write_weights
from toy import REPOSITORY, run_script

SCRIPT = REPOSITORY / "scripts" / "predict.py"


def make_run(toy, folder, name):
    """What a training leaves that is predicted with."""
    folder.mkdir(parents=True)
    shutil.copy(toy.path(f"{name}.pth"), folder / "model_final.pth")
    (folder / "config.yaml").write_text(f"_BASE_: {toy.path(name)}.yaml\n")


@pytest.mark.slow
def test_from_weights_and_a_yaml(toy, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    weights = toy.path("teacher.pth"), "--config-file", toy.path("teacher.yaml")
    run_script(monkeypatch, SCRIPT, "--weights", *weights, toy.path("labeled"),
               "--output", out, "--yolo")  # fmt: skip
    first, *_, done, wrote = capsys.readouterr().out.splitlines()
    assert "0.5" in first and "no card" in first
    content = json.loads((out / "predictions.json").read_text())
    assert content["annotations"] and min(x["score"] for x in content["annotations"]) >= 0.5
    assert f"images: 6, boxes: {len(content['annotations'])}" == done and str(out) in wrote
    assert (
        len(list((out / "predicted_pictures").iterdir()))
        == len(list((out / "predicted_yolo").iterdir())) - 1
        == 6
    )


def test_a_threshold_is_taken_and_one_below_the_detectors_is_said(
    toy, tmp_path, monkeypatch, capsys
):
    make_run(toy, tmp_path / "run", "rcnn_teacher")
    lows = []
    for threshold in ("0.9", "0"):
        out = tmp_path / f"from_{threshold}"
        run_script(monkeypatch, SCRIPT, "--weights", tmp_path / "run", "--threshold", threshold,
                   toy.path("labeled/000001.png"), "--output", out)  # fmt: skip
        content = json.loads((out / "predictions.json").read_text())
        lows.append(min(x["score"] for x in content["annotations"]))
        said = "reports nothing below 0.001" in capsys.readouterr().out
        assert said == (threshold == "0")
    assert lows[0] >= 0.9 > lows[1]


@pytest.mark.slow
def test_an_exported_file_has_the_threshold_of_its_card(toy, tmp_path, monkeypatch, capsys):
    path = write_weights(*tame_teacher(toy), tmp_path / "student.safetensors", threshold=0.86)
    run_script(monkeypatch, SCRIPT, "--weights", path, toy.path("labeled"),
               "--output", tmp_path / "out")  # fmt: skip
    first = capsys.readouterr().out.splitlines()[0]
    assert "0.86" in first and "best F1" in first
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert content["info"]["score_threshold"] == 0.86
    assert 0.86 <= min(x["score"] for x in content["annotations"]) < 0.9


@pytest.mark.slow
def test_a_model_of_the_zoo(toy, tmp_path, monkeypatch, capsys):
    run_script(monkeypatch, SCRIPT, "--model", "digits/SAD", toy.path("labeled/000003.png"),
               "--output", tmp_path / "out")  # fmt: skip
    assert capsys.readouterr().out.startswith("digits/SAD: boxes with a score from")
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [category["name"] for category in content["categories"]] == list("0123456789")


def test_what_is_skipped_is_counted_at_the_end(toy, tmp_path, monkeypatch, capsys, log):
    (tmp_path / "broken.jpg").touch()
    run_script(monkeypatch, SCRIPT, "--weights", toy.path("teacher.pth"), "--config-file",
               toy.path("teacher.yaml"), tmp_path / "broken.jpg", toy.path("labeled/000001.png"),
               "--output", tmp_path / "out")  # fmt: skip
    assert "cannot be read: 1" in capsys.readouterr().out.splitlines()[-2]
    assert any("broken.jpg" in line for line in log)


@pytest.mark.parametrize("names", [("one", "two"), ("same", "other/same")])
def test_comparing(toy, tmp_path, monkeypatch, capsys, names):
    folders = [tmp_path / name for name in names]
    for folder in folders:
        make_run(toy, folder, "teacher")
    run_script(monkeypatch, SCRIPT, "--compare", *folders, toy.path("labeled/000001.png"),
               "--output", tmp_path / "out")  # fmt: skip
    jsons = [
        (tmp_path / "out" / f"{name}.json").read_text()
        for name in ("predictions_teacher", "predictions_student")
    ]
    assert jsons[0] == jsons[1] and json.loads(jsons[0])["annotations"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(":")[0] != lines[1].split(":")[0]


def test_a_model_of_the_zoo_has_something_to_look_at(tmp_path, monkeypatch, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scene.png").write_bytes(b"of the user")
    run_script(monkeypatch, SCRIPT, "--model", "digits/SAD", "--output", tmp_path / "out")
    assert (tmp_path / "out" / "scene.png").read_bytes() == b"of the user"
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(content["images"]) == 1 and len(content["annotations"]) > 1
    assert (tmp_path / "out" / "predicted_pictures" / "predicted_scene.png").exists()


def test_earlier_results_are_kept_and_not_taken_for_images(toy, tmp_path, monkeypatch, capsys):
    photos = shutil.copytree(toy.path("labeled"), tmp_path / "photos")
    make_run(toy, tmp_path / "run", "teacher")
    arguments = "--weights", tmp_path / "run", photos
    run_script(monkeypatch, SCRIPT, *arguments, "--output", photos / "out")
    kept = (photos / "out" / "predictions.json").read_bytes()
    with pytest.raises(SystemExit) as end:
        run_script(monkeypatch, SCRIPT, *arguments, "--output", photos / "out", "--yolo")
    assert end.value.code == 2 and "predictions.json" in capsys.readouterr().err
    assert (photos / "out" / "predictions.json").read_bytes() == kept
    assert not (photos / "out" / "predicted_yolo").exists()
    run_script(monkeypatch, SCRIPT, *arguments, "--output", tmp_path / "out")
    assert (tmp_path / "out" / "predictions.json").read_bytes() == kept


def test_somebodys_own_predictions_are_kept(toy, tmp_path, monkeypatch):
    (tmp_path / "predictions.json").write_text("[]")
    for detector in (("--model", "digits/SAD"), ("--weights", tmp_path, toy.path("labeled"))):
        with pytest.raises(SystemExit) as end:
            run_script(monkeypatch, SCRIPT, *detector, "--output", tmp_path)
        assert end.value.code == 2
    assert [(x.name, x.read_text()) for x in tmp_path.iterdir()] == [("predictions.json", "[]")]


def test_more_pixels_are_allowed_by_a_flag(toy, tmp_path, monkeypatch, capsys):
    make_run(toy, tmp_path / "run", "teacher")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text() + "DATALOADER: {MAX_IMAGE_PIXELS: 99}\n")
    arguments = "--weights", tmp_path / "run", toy.path("labeled"), "--output", tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        run_script(monkeypatch, SCRIPT, *arguments)
    assert end.value.code == 2 and not (tmp_path / "out").exists()
    run_script(monkeypatch, SCRIPT, *arguments, "--max-pixels", 99999)
    assert "images: 6" in capsys.readouterr().out
