"""Threshold calibration, the hard targets' json, and precision and recall."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from reference import calibrate_threshold_brute_force
from sad.errors import UserError
from sad.pseudo_labels import (
    DETECTION,
    calibrate_threshold,
    count_instances,
    hard_target_json,
    precision_recall,
    read_coco,
    write_json,
)

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
IMAGES = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 80} for i in (10, 11, 12)]


def detections(*rows):
    return np.array(
        [(image, box, category, score) for image, box, category, score in rows], DETECTION
    )


def annotation(image_id, category_id, box, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": box, **more}


@given(
    st.lists(st.lists(st.integers(1, 12), max_size=6), min_size=1, max_size=8).filter(any),
    st.floats(0.01, 8),
)
def test_calibration_equals_brute_force(scores_per_image, target_mean):
    """Integers make many ties, and images without detections occur."""
    scores_per_image = [np.array(scores) / 12 for scores in scores_per_image]
    threshold = calibrate_threshold(
        np.concatenate(scores_per_image), len(scores_per_image), target_mean
    )
    assert threshold == calibrate_threshold_brute_force(scores_per_image, target_mean)


def test_calibration_equals_brute_force_on_many_distinct_scores():
    rng = np.random.default_rng(0)
    scores_per_image = [rng.random(rng.integers(0, 40)) for _ in range(50)]
    for target_mean in (0.1, 3.3, 12, 100):
        threshold = calibrate_threshold(np.concatenate(scores_per_image), 50, target_mean)
        assert threshold == calibrate_threshold_brute_force(scores_per_image, target_mean)


def test_calibration_by_hand():
    scores = np.array([0.9, 0.8, 0.8, 0.3])
    assert calibrate_threshold(scores, 4, 0.25) == 0.9
    # 2 are wanted, 1 or 3 can be had (the two 0.8 stay together): fewer wins.
    assert calibrate_threshold(scores, 4, 0.5) == 0.9
    assert calibrate_threshold(scores, 4, 0.7) == 0.8
    # More are wanted than there are.
    assert calibrate_threshold(scores, 4, 50.0) == 0.3
    # Images without detections count: 6 images of a mean of 0.5 are 3 instances.
    assert calibrate_threshold(scores, 6, 0.5) == 0.8


def test_calibration_without_scores():
    with pytest.raises(ValueError, match="no scores"):
        calibrate_threshold(np.empty(0), 5, 1.0)


def test_count_instances_leaves_out_crowds_empty_boxes_and_foreign_images():
    box = [0, 0, 5, 5]
    coco = {
        "images": IMAGES,
        "annotations": [
            annotation(10, 3, box),
            annotation(10, 7, box, iscrowd=0),
            annotation(10, 3, box, iscrowd=1),
            annotation(11, 3, [4, 4, 0, 5]),
            annotation(99, 3, box),
        ],
    }
    assert count_instances(coco) == 2


def test_json_goes_through_pycocotools(tmp_path):
    found = detections(
        (0, (1.234, 2.344, 11.239, 22.339), 1, 0.75),
        (2, (0, 0, 100, 80), 0, 0.5),
        (2, (99.996, 10, 100, 20), 0, 0.25),
    )
    path = str(tmp_path / "hard.json")
    write_json(hard_target_json(IMAGES, CATEGORIES, found, {"threshold": 0.25}), path)
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


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "hard.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"images": list(range(10_000)), "score": float("nan")}, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ('{"images": [{"id": 1,', "no whole json"),
        ("[1, 2]", "not in COCO's format"),
        ('{"annotations": []}', "not in COCO's format .*images"),
        ('{"images": []}', "lists no images"),
        ('{"images": [{"id": 1, "file_name": "a.png"}]}', "not in COCO's format .*width"),
    ],
)
def test_broken_json_is_named(tmp_path, text, sentence):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(UserError, match=f"broken.json.*{sentence}"):
        read_coco(str(path))


def test_json_with_an_image_twice_or_absent(tmp_path):
    path = tmp_path / "twice.json"
    path.write_text(json.dumps({"images": [IMAGES[0], IMAGES[0]]}))
    with pytest.raises(UserError, match="same id"):
        read_coco(str(path))
    with pytest.raises(UserError, match="absent.json cannot be opened"):
        read_coco(str(tmp_path / "absent.json"))


def test_categories_come_in_the_model_s_order(tmp_path):
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"images": IMAGES, "categories": CATEGORIES[::-1]}))
    assert read_coco(str(path))["categories"] == CATEGORIES


def test_precision_and_recall_by_hand():
    labels = [
        annotation(10, 3, [0, 0, 10, 10], id=0),  # id 0: COCOeval alone would miss the match
        annotation(10, 3, [50, 0, 10, 10], id=1),
        annotation(11, 7, [0, 0, 10, 10], id=2),
        annotation(11, 7, [0, 0, 40, 40], id=3, iscrowd=1),
        annotation(11, 7, [5, 5, 0, 9], id=4),  # of no area
    ]
    found = detections(
        (0, (0, 0, 10, 8), 0, 0.9),  # IoU 0.8: correct
        (0, (0, 0, 10, 10), 0, 0.8),  # the same object again: wrong
        (0, (50, 0, 54, 10), 0, 0.7),  # IoU 0.4: wrong
        (1, (0, 0, 10, 10), 0, 0.6),  # the dog, called a cat: wrong
        (1, (20, 20, 30, 30), 1, 0.5),  # in the crowd of dogs: does not count
        (2, (0, 0, 10, 10), 1, 0.4),  # in an image without labels: wrong
    )
    targets = hard_target_json(IMAGES, CATEGORIES, found, {})["annotations"]
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
