"""A teacher judged from end to end, at toy size."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sad.calibration.calibrate import calibrate
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.runner import label_images
from sad.utils.errors import UserError

FILES = {"calibration.html", "calibration.json", "thresholds.json", "to_label.csv"}


def strict(path: Path) -> dict:
    def refuse(constant):
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture(scope="module")
def done(teacher_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done") / "new" / "folder"
    return calibrate(**teacher_files, output=str(folder), student_ap=10.0, num_images=4), folder


@pytest.mark.slow
def test_everything_is_written(done, teacher_files):
    report, folder = done
    assert {path.name for path in folder.iterdir()} == FILES
    assert strict(folder / "calibration.json") == report
    thresholds = strict(folder / "thresholds.json")
    assert thresholds == report["thresholds"]["chosen"]
    assert list(thresholds) == ["light", "dark"]
    with open(folder / "to_label.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == [x["file_name"] for x in report["to_label"]]
    assert len({row["file_name"] for row in rows}) == 4
    assert all(Path(row["file_name"]).parent == Path(teacher_files["unlabeled"]) for row in rows)
    page = (folder / "calibration.html").read_text()
    assert page.count("data:image/jpeg") == 4 and 'src="http' not in page
    assert report["held_out"]["boxes"] == 10 and report["unlabeled"]["looked_at"] == 6


@pytest.mark.slow
def test_threshold_and_boxes_are_those_of_labelling(done, teacher_files, tmp_path):
    """By the command that labels: the same threshold, and --class-thresholds takes the file."""
    report, folder = done
    scene = {
        "config_file": teacher_files["teacher_config"],
        "weights": teacher_files["teacher_weights"],
        "image_root": teacher_files["unlabeled"],
        "labeled_json": teacher_files["labeled_json"],
    }
    label_images(prepare(**scene, output=str(tmp_path / "a.json")))
    labels = strict(tmp_path / "a.json")
    assert labels["info"]["threshold"] == report["thresholds"]["labelling"]
    thresholds = str(folder / "thresholds.json")
    label_images(prepare(**scene, output=str(tmp_path / "b.json"), class_thresholds=thresholds))
    by_class = strict(tmp_path / "b.json")
    assert by_class["info"]["threshold"] == report["thresholds"]["chosen"]
    # Too few boxes to leave labelling's own threshold.
    assert by_class["annotations"] == labels["annotations"]


@pytest.mark.slow
def test_boxes_that_labelling_does_not_see_do_not_count(done, teacher_files, tmp_path):
    """The yaml's own threshold leaves fewer boxes than the labelled images have."""
    least = done[0]["thresholds"]["labelling"]
    floor = ["MODEL.RETINANET.SCORE_THRESH_TEST", least]
    report = calibrate(**teacher_files, output=str(tmp_path / "out"), opts=floor)
    label_images(
        prepare(
            teacher_files["teacher_config"],
            teacher_files["teacher_weights"],
            teacher_files["unlabeled"],
            str(tmp_path / "a.json"),
            labeled_json=teacher_files["labeled_json"],
            opts=floor,
        )
    )
    labelling = strict(tmp_path / "a.json")["info"]["threshold"]
    assert labelling > least and labelling == report["thresholds"]["labelling"]
    with pytest.raises(UserError, match="labelling would find nothing"):
        calibrate(**teacher_files, output=str(tmp_path / "none"), opts=[floor[0], 0.999])


@pytest.mark.slow
def test_a_second_time_is_the_same(done, teacher_files, tmp_path):
    report, folder = done
    calibrate(**teacher_files, output=str(tmp_path), student_ap=10.0, num_images=4)
    for name in FILES - {"calibration.html"}:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert report["advice"]["targets"] in ("stop", "soft targets", "pseudo-labels", "both")


@pytest.mark.slow
def test_broken_images_and_a_class_without_labels(teacher_files, tmp_path):
    json_file, image_root = teacher_files["val"]
    shutil.copytree(image_root, tmp_path / "val")
    shutil.copytree(teacher_files["unlabeled"], tmp_path / "more")
    (tmp_path / "val" / "000001.png").write_bytes(b"no image")
    (tmp_path / "more" / "000002.png").write_bytes(b"no image")
    content = json.loads(Path(json_file).read_text())
    content["annotations"] = [x for x in content["annotations"] if x["category_id"] == 2]
    (tmp_path / "val.json").write_text(json.dumps(content))
    changes = {
        "val": (str(tmp_path / "val.json"), str(tmp_path / "val")),
        "unlabeled": str(tmp_path / "more"),
        "output": str(tmp_path / "out"),
        "max_unlabeled": 5,
    }
    report = calibrate(**{**teacher_files, **changes})
    strict(tmp_path / "out" / "calibration.json")
    assert list(report["held_out"]["unreadable"]) == [str(tmp_path / "val" / "000001.png")]
    assert report["held_out"]["images"] == 5 and report["held_out"]["boxes"] == 4
    assert report["points"][2]["labels"] == 0 and report["teacher"]["AP_per_class"]["dark"] is None
    looked_at = report["unlabeled"]["looked_at"] + len(report["unlabeled"]["unreadable"])
    assert looked_at in (5, 6) and len(report["to_label"]) == report["unlabeled"]["looked_at"]
    assert np.isfinite([x["uncertainty"] for x in report["to_label"]]).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher_weights": "absent.pth"}, "absent.pth do not exist"),
        ({"val": ("absent.json", ".")}, "absent.json cannot be opened"),
        ({"unlabeled": "absent"}, "image folder absent does not exist"),
        ({"labeled_json": "absent.json"}, "absent.json cannot be opened"),
        ({"class_names": ["dark", "light"]}, "in another order"),
        ({"output": f"{__file__}/out"}, "--output .* cannot be written to"),
    ],
)
def test_mistakes_leave_nothing_behind(teacher_files, tmp_path, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        calibrate(**{**teacher_files, "output": str(tmp_path / "out"), **changes})
    assert not (tmp_path / "out").exists()
