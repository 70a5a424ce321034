"""A teacher judged end to end: files, numbers that fit together, and mistakes."""

import csv
import json
import shutil

import pytest

from judged_teacher import judged, untrained
from sad.calibration.calibrate import calibrate
from sad.utils.errors import UserError


@pytest.fixture(scope="module")
def report(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    return judged(
        toy, folder, unlabeled=toy.path("unlabeled"), student_ap=1.0, num_images=3
    ), folder


def test_files(report):
    content, folder = report
    out = folder / "out"
    assert json.loads((out / "calibration.json").read_text()) == json.loads(json.dumps(content))
    thresholds = json.loads((out / "thresholds.json").read_text())
    assert thresholds == content["thresholds"]["chosen"] and set(thresholds) == {"light", "dark"}
    with open(out / "to_label.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
    page = (out / "calibration.html").read_text()
    assert "light" in page and "data:image" in page and "http" not in page.split("xmlns")[0]


def test_numbers_fit_together(report):
    content, _ = report
    assert content["held_out"]["images"] == 6 and content["student_AP"] == 1.0
    together, *classes = content["points"]
    for what in ("labelling", "chosen"):
        assert together[what]["boxes"] == sum(row[what]["boxes"] for row in classes)
    assert together["labels"] == sum(row["labels"] for row in classes)
    assert 0 <= content["teacher"]["AP"] <= 100
    assert content["advice"]["targets"] in ("stop", "soft targets", "pseudo-labels", "both")


def test_images_it_was_trained_on_are_refused(toy, tmp_path):
    config, labeled = untrained(toy, tmp_path)
    own = toy.path("annotations/labeled.json"), toy.path("labeled")
    weights = toy.path("teacher.pth")
    with pytest.raises(UserError, match="was trained on"):
        calibrate(config, weights, own, toy.path("unlabeled"), own[0], str(tmp_path / "out"))
    shutil.copy(own[0], tmp_path / "copy.json")
    with pytest.raises(UserError, match="was trained on"):
        calibrate(
            *(toy.path("teacher.yaml"), weights, (str(tmp_path / "copy.json"), own[1])),
            *(toy.path("unlabeled"), labeled, str(tmp_path / "out")),
        )
    assert not (tmp_path / "out").exists()


def test_no_unlabelled_images(toy, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no images in"):
        judged(toy, tmp_path, unlabeled=str(tmp_path / "none"))
    assert not (tmp_path / "out").exists()
