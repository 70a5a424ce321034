"""Which detections of a model are right, and the images on which models differ."""

import numpy as np
import pytest
from detectron2.structures import BoxMode

from sad.report.choice import agreement, choose, choose_gained, found_by_one, match_images


def detections(*rows, image=0):
    """Rows of (box of corners, class, score)."""
    return [
        {
            "image_id": image,
            "category_id": label,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": score,
        }
        for box, label, score in rows
    ]


def record_of(*rows, image=0):
    """Rows of (box as x, y, width, height; class; iscrowd)."""
    return {
        "image_id": image,
        "annotations": [
            {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": label, "iscrowd": crowd}
            for box, label, crowd in rows
        ],
    }


def match(found, record):
    return match_images([record], found, 2)[0]


def test_match_takes_each_object_once_and_minds_the_class():
    record = record_of(([0, 0, 10, 10], 0, 0), ([50, 50, 20, 20], 1, 0), ([0, 80, 10, 10], 0, 0))
    found = match(
        detections(
            ([0, 0, 10, 11], 0, 0.5),  # second on the first object: its score is lower
            ([0, 0, 10, 10], 0, 0.9),
            ([50, 50, 70, 70], 0, 0.8),  # right place, wrong class
            ([0, 80, 10, 84], 0, 0.7),  # IoU 0.4
        ),
        record,
    )
    assert found["scores"] == [0.9, 0.8, 0.7, 0.5]
    assert found["right"] == [True, False, False, False]
    assert found["missed"] == [1, 2]
    assert found["boxes"][1] == [50, 50, 70, 70] and found["classes"] == [0, 0, 0, 0]


def test_match_leaves_out_what_lies_on_a_crowd():
    record = record_of(([0, 0, 50, 50], 0, 1), ([60, 60, 10, 10], 0, 0))
    found = match(detections(([5, 5, 20, 20], 0, 0.9), ([5, 5, 20, 20], 1, 0.8)), record)
    assert found["classes"] == [1]  # the other one is no error
    assert found["right"] == [False]
    assert found["missed"] == [1]  # nor is the crowd an object to miss


def test_match_of_nothing():
    found = match(detections(([0, 0, 10, 10], 0, 0.9)), record_of())
    assert found["right"] == [False] and not found["missed"]
    found = match([], record_of(([0, 0, 10, 10], 0, 0)))
    assert not found["right"] and found["missed"] == [0]


def test_images_keep_their_own():
    records = [record_of(([0, 0, 10, 10], 0, 0), image=number) for number in (8, 3, 5)]
    found = detections(([0, 0, 10, 10], 0, 0.4), image=5)
    found += detections(([0, 0, 10, 10], 1, 0.9), image=8)
    matches = match_images(records, found, 2)
    assert [m["right"] for m in matches] == [[False], [], [True]]
    assert [m["missed"] for m in matches] == [[0], [0], []]


def test_choose_prefers_images_on_which_the_runs_differ():
    def result(wrong, missed):
        return {"right": [True] + [False] * wrong, "missed": list(range(missed))}

    good, bad, worse = result(0, 0), result(1, 1), result(2, 3)
    matches = [[bad, bad], [good, bad], [worse, good], [bad, good]]
    assert choose(matches, 3) == [2, 1, 3]  # equals stay in their order
    assert choose(matches, 9) == [2, 1, 3, 0]


def missed(*of_images):
    return [{"missed": list(positions)} for positions in of_images]


def test_what_one_finds_and_the_other_does_not():
    one, other = missed([0], [], [1], [2]), missed([0, 1], [3], [], [0, 1])
    gained, lost = found_by_one(one, other), found_by_one(other, one)
    assert gained.tolist() == [1, 1, 0, 2] and lost.tolist() == [0, 0, 1, 1]
    assert choose_gained(gained, lost, 2) == [0, 1] and choose_gained(gained, lost, 9) == [0, 1, 3]
    assert choose_gained(lost, gained, 9) == [2]
    assert choose_gained(np.zeros(3, int), np.zeros(3, int), 3) == []


@pytest.mark.parametrize("seed", range(3))
def test_agreement_counts_each_object_once(seed):
    rng = np.random.default_rng(seed)
    of_first, of_second = rng.random((2, 5, 7)) < 0.5  # images, objects: whether they are found
    one, other = (missed(*(np.flatnonzero(~x) for x in of_run)) for of_run in (of_first, of_second))
    assert agreement(one, other, 35) == {
        "both": (of_first & of_second).sum(),
        "first": (of_first & ~of_second).sum(),
        "second": (~of_first & of_second).sum(),
        "neither": (~of_first & ~of_second).sum(),
    }
