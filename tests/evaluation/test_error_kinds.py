"""The kinds of errors: scenes with a known answer, and sums that must hold."""

import pytest

from detections_made import made, parts
from sad.evaluation.error_kinds import KINDS, count_errors, find_errors
from sad.evaluation.matching import match_boxes

CATEGORIES = [{"id": 3}, {"id": 7}]
OBJECT = {"image_id": 1, "category_id": 3, "bbox": [100, 100, 100, 100]}
NEAR = {"image_id": 1, "category_id": 7, "bbox": [150, 100, 100, 100]}  # IoU 1/3 with it


def kinds(labels, *found):
    """The kind of each (category, box), by falling score."""
    boxes = [
        {"image_id": 1, "category_id": category, "bbox": box, "score": 1 - number / 10}
        for number, (category, box) in enumerate(found)
    ]
    errors = find_errors(labels, boxes, [1], CATEGORIES)
    return ["right" if r else KINDS[k] for r, k in zip(errors.right, errors.kind, strict=True)]


@pytest.mark.parametrize(
    ("category", "box", "kind"),
    [
        (3, [100, 100, 100, 100], "right"),
        (3, [100, 100, 100, 50], "right"),  # IoU 0.5 counts
        (3, [100, 100, 100, 49], "place"),
        (3, [100, 100, 100, 10], "place"),  # IoU 0.1
        (3, [100, 100, 100, 9], "background"),
        (3, [300, 300, 50, 50], "background"),
        (7, [100, 100, 100, 100], "class"),
        (7, [100, 100, 100, 50], "class"),
        (7, [100, 100, 100, 49], "both"),
        (7, [100, 100, 100, 9], "background"),
    ],
)
def test_one_detection_and_one_object(category, box, kind):
    assert kinds([OBJECT], (category, box)) == [kind]


def test_the_second_on_an_object_is_a_duplicate():
    box = [100, 100, 100, 100]
    assert kinds([OBJECT], (3, box), (3, box), (3, box)) == ["right", "duplicate", "duplicate"]


def test_of_several_kinds_the_place_comes_before_the_class_and_that_before_the_duplicate():
    # A 7 on the 3: its class is wrong by 1, and its place by the 7 nearby.
    assert kinds([OBJECT, NEAR], (7, [100, 100, 100, 100])) == ["place"]
    both = [105, 100, 100, 100]  # IoU 0.9 with two labels on one place, one of each class
    labels = [OBJECT, OBJECT | {"category_id": 7}]
    assert kinds(labels, (3, both), (3, both)) == ["right", "class"]


def test_objects_are_found_meant_or_missed():
    far = {"image_id": 1, "category_id": 3, "bbox": [500, 500, 50, 50]}
    boxes = [
        {"image_id": 1, "category_id": 7, "bbox": [100, 100, 100, 90], "score": 0.5},  # class
        {"image_id": 1, "category_id": 7, "bbox": [100, 100, 100, 80], "score": 0.4},  # once more
    ]
    counts = count_errors(find_errors([OBJECT, far], boxes, [1], CATEGORIES))
    assert counts == dict.fromkeys(KINDS, 0) | {
        "class": 2, "right": 0, "ignored": 0, "found": 0, "meant": 1, "missed": 1,
    }  # fmt: skip


def test_crowds_neither_hold_errors_nor_are_they_missed():
    crowd = OBJECT | {"iscrowd": 1}
    boxes = [
        {"image_id": 1, "category_id": category, "bbox": [100, 100, 50, 50], "score": 0.5}
        for category in (3, 7)
    ]
    counts = count_errors(find_errors([crowd], boxes, [1], CATEGORIES))
    assert (counts["ignored"], counts["background"], counts["missed"]) == (1, 1, 0)


@pytest.mark.parametrize("seed", range(4))
def test_sums(seed):
    content, found = made(seed)
    labels, images, categories = parts(content)
    errors = find_errors(labels, found, images, categories)
    counts = count_errors(errors)
    right, wrong, missed = match_boxes(labels, found, images, categories)
    assert sum(counts[kind] for kind in KINDS) == wrong.sum() == (errors.kind >= 0).sum()
    assert counts["right"] == counts["found"] == right.sum()
    assert counts["right"] + wrong.sum() + counts["ignored"] == len(found)
    assert counts["meant"] + counts["missed"] == missed.sum()
    objects = sum(not label["iscrowd"] for label in labels)
    assert counts["found"] + counts["meant"] + counts["missed"] == objects
    assert not (errors.right & (errors.kind >= 0)).any()
    assert min(counts["class"], counts["place"], counts["background"], counts["meant"]) > 0
    for position in (errors.target >= 0).nonzero()[0]:
        target, box = labels[errors.target[position]], found[position]
        assert target["image_id"] == box["image_id"] and not target["iscrowd"]
        same = target["category_id"] == box["category_id"]
        assert KINDS[errors.kind[position]] == ("place" if same else "class")


def test_nothing():
    counts = count_errors(find_errors([], [], [1], CATEGORIES))
    assert set(counts.values()) == {0}
    counts = count_errors(find_errors([OBJECT], [], [1], CATEGORIES))
    assert (counts["missed"], counts["found"]) == (1, 0)
    box = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 1.0}
    assert count_errors(find_errors([], [box], [1], CATEGORIES))["background"] == 1
