"""Threshold calibration, the hard targets' json, and precision and recall."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from reference import calibrate_threshold_brute_force
from sad.pseudo_labels import targets as pseudo_labels
from sad.pseudo_labels.image_table import ImageTable
from sad.pseudo_labels.targets import (
    DETECTION,
    SCORE_UNITS,
    calibrate_threshold,
    precision_recall,
    to_annotations,
    write_hard_targets,
    write_json,
)

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
IMAGES = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 80} for i in (10, 11, 12)]


def detections(*rows):
    return np.array(
        [(image, box, category, round(score * 1e6)) for image, box, category, score in rows],
        DETECTION,
    )


def annotation(image_id, category_id, box, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": box, **more}


def calibrate(scores, num_images, target_mean):
    units = (np.asarray(scores) * SCORE_UNITS).round().astype(int)
    counts = np.bincount(units, minlength=SCORE_UNITS + 1)
    return calibrate_threshold(counts, num_images, target_mean)


@given(
    st.lists(st.lists(st.integers(1, 12), max_size=6), min_size=1, max_size=8).filter(any),
    st.floats(0.01, 8),
)
def test_calibration_equals_brute_force(scores_per_image, target_mean):
    """Integers make many ties, and images without detections occur."""
    scores_per_image = [(np.array(scores) / 12).round(6) for scores in scores_per_image]
    threshold = calibrate(np.concatenate(scores_per_image), len(scores_per_image), target_mean)
    assert threshold == calibrate_threshold_brute_force(scores_per_image, target_mean)


def test_calibration_equals_brute_force_on_many_distinct_scores():
    rng = np.random.default_rng(0)
    scores_per_image = [rng.random(rng.integers(0, 40)).round(6) for _ in range(50)]
    for target_mean in (0.1, 3.3, 12, 100):
        threshold = calibrate(np.concatenate(scores_per_image), 50, target_mean)
        assert threshold == calibrate_threshold_brute_force(scores_per_image, target_mean)


def test_calibration_by_hand():
    scores = np.array([0.9, 0.8, 0.8, 0.3])
    assert calibrate(scores, 4, 0.25) == 0.9
    # 2 are wanted, 1 or 3 can be had (the two 0.8 stay together): fewer wins.
    assert calibrate(scores, 4, 0.5) == 0.9
    assert calibrate(scores, 4, 0.7) == 0.8
    # More are wanted than there are.
    assert calibrate(scores, 4, 50.0) == 0.3
    # Images without detections count: 6 images of a mean of 0.5 are 3 instances.
    assert calibrate(scores, 6, 0.5) == 0.8


def test_calibration_without_scores():
    with pytest.raises(ValueError, match="no scores"):
        calibrate([], 5, 1.0)


def test_json_goes_through_pycocotools(tmp_path):
    found = detections(
        (0, (1.234, 2.344, 11.239, 22.339), 1, 0.75),
        (2, (0, 0, 100, 80), 0, 0.5),
        (2, (99.996, 10, 100, 20), 0, 0.25),
    )
    path = str(tmp_path / "hard.json")
    images = ImageTable.write(str(tmp_path), IMAGES)
    write_hard_targets(path, images, CATEGORIES, found, {"threshold": 0.25})
    coco = COCO(path)
    assert coco.dataset["info"] == {"threshold": 0.25}
    assert coco.dataset["categories"] == CATEGORIES
    assert sorted(coco.imgs) == [10, 12]  # image 11 has no instance
    assert coco.imgs[12] == IMAGES[2]
    assert coco.anns[1] == {
        "id": 1,
        "image_id": 10,
        "category_id": 7,
        "bbox": [1.23, 2.34, 10.01, 20.0],
        "area": 200.2,
        "iscrowd": 0,
        "score": 0.75,
    }
    assert [a["score"] for a in coco.imgToAnns[12]] == [0.5, 0.25]
    # Rounding does not push a box out of its image.
    assert all(a["bbox"][0] + a["bbox"][2] <= 100 for a in coco.imgToAnns[12])


def test_json_does_not_depend_on_how_much_is_written_at_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    found = np.zeros(50, DETECTION)
    found["image"], found["score"] = np.sort(rng.integers(0, 3, 50)), rng.integers(0, 10**6, 50)
    found["box"] = rng.random((50, 4)) * 40 + [0, 0, 50, 40]
    images = ImageTable.write(str(tmp_path), IMAGES)
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    write_hard_targets(str(one), images, CATEGORIES, found, {})
    monkeypatch.setattr(pseudo_labels, "ITEMS_AT_ONCE", 7)
    write_hard_targets(str(many), images, CATEGORIES, found, {})
    assert one.read_bytes() == many.read_bytes()
    content = json.loads(one.read_text())
    assert one.read_text() == json.dumps(content)
    image_ids = [IMAGES[position]["id"] for position in found["image"]]
    assert content["annotations"] == to_annotations(found, image_ids, CATEGORIES)
    assert [a["id"] for a in content["annotations"]] == list(range(1, 51))


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "hard.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"images": list(range(10_000)), "score": float("nan")}, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_precision_and_recall_by_hand():
    labels = [
        annotation(10, 3, [0, 0, 10, 10], id=0),  # id 0: COCOeval alone would miss the match
        annotation(10, 3, [50, 0, 10, 10], id=1),
        annotation(11, 7, [0, 0, 10, 10], id=2),
        annotation(11, 7, [0, 0, 40, 40], id=3, iscrowd=1),
    ]
    found = detections(
        (0, (0, 0, 10, 8), 0, 0.9),  # IoU 0.8: correct
        (0, (0, 0, 10, 10), 0, 0.8),  # the same object again: wrong
        (0, (50, 0, 54, 10), 0, 0.7),  # IoU 0.4: wrong
        (1, (0, 0, 10, 10), 0, 0.6),  # the dog, called a cat: wrong
        (1, (20, 20, 30, 30), 1, 0.5),  # in the crowd of dogs: does not count
        (2, (0, 0, 10, 10), 1, 0.4),  # in an image without labels: wrong
    )
    targets = to_annotations(found, [IMAGES[row["image"]]["id"] for row in found], CATEGORIES)
    result = precision_recall(labels, targets, [10, 11, 12], CATEGORIES)
    cat = {"correct": 1, "targets": 4, "labels": 2, "precision": 0.25, "recall": 0.5}
    dog = {"correct": 0, "targets": 1, "labels": 1, "precision": 0.0, "recall": 0.0}
    assert result["per_class"] == {"cat": cat, "dog": dog}
    assert result["overall"] == {
        "correct": 1,
        "targets": 5,
        "labels": 3,
        "precision": 0.2,
        "recall": 1 / 3,
    }


def test_precision_and_recall_look_at_the_given_images_only():
    labels = [annotation(10, 3, [0, 0, 10, 10]), annotation(11, 3, [0, 0, 10, 10])]
    result = precision_recall(labels, [], [10], CATEGORIES)
    assert result["overall"] == {
        "correct": 0,
        "targets": 0,
        "labels": 1,
        "precision": None,
        "recall": 0.0,
    }
    assert result["per_class"]["dog"]["recall"] is None
