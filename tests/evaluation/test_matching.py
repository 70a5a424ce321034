"""COCO's matching of detections with labelled objects, box by box."""

import numpy as np

from sad.evaluation.matching import match_boxes, overlaps

CATEGORIES = [{"id": 3}, {"id": 7}]


def overlap(one, other, *, of_one: bool = False) -> float:
    """IoU of two boxes (x, y, width, height), or the share of the first in the second."""
    corners = [(x, y, x + w, y + h) for x, y, w, h in (one, other)]
    width, height = (
        min(corners[0][i + 2], corners[1][i + 2]) - max(corners[0][i], corners[1][i])
        for i in (0, 1)
    )
    common = max(width, 0) * max(height, 0)
    areas = [w * h for _, _, w, h in (one, other)]
    return common / (areas[0] if of_one else sum(areas) - common)


def match_brute_force(labels, found):
    """As `match_boxes` of one image, in so many words."""
    correct, wrong = np.zeros((2, len(found)), bool)
    free = [not label["iscrowd"] for label in labels]
    for i in sorted(range(len(found)), key=lambda i: -found[i]["score"]):
        same = [k for k, x in enumerate(labels) if x["category_id"] == found[i]["category_id"]]
        box = found[i]["bbox"]
        ious = {k: overlap(box, labels[k]["bbox"]) for k in same if free[k]}
        best = max(ious, key=ious.get, default=None)
        if best is not None and ious[best] >= 0.5:
            free[best], correct[i] = False, True
            continue
        wrong[i] = not any(
            labels[k]["iscrowd"]
            and overlap(found[i]["bbox"], labels[k]["bbox"], of_one=True) >= 0.5
            for k in same
        )
    return correct, wrong, np.array(free)


def boxes(corners, sizes, classes, **more):
    return [
        {"image_id": 1, "category_id": int(category), "bbox": [*corner.tolist(), *size.tolist()]}
        | {key: values[i].item() for key, values in more.items()}
        for i, (corner, size, category) in enumerate(zip(corners, sizes, classes, strict=True))
    ]


def test_as_by_brute_force():
    rng = np.random.default_rng(0)
    totals = np.zeros(3, int)
    for _ in range(40):
        corners, sizes = rng.integers(0, 30, (8, 2)), rng.integers(20, 60, (8, 2))
        classes = rng.choice([3, 7], 8)
        labels = boxes(corners, sizes, classes, iscrowd=(rng.random(8) < 0.2).astype(int))
        moved, scaled = corners + rng.normal(0, 5, (8, 2)), sizes + rng.normal(0, 5, (8, 2))
        found = boxes(moved, scaled, classes, score=rng.permutation(8) / 8)
        result = match_boxes(labels, found, [1], CATEGORIES)
        for ours, expected in zip(result, match_brute_force(labels, found), strict=True):
            np.testing.assert_array_equal(ours, expected)
        totals += [ours.sum() for ours in result]
    assert (totals > 20).all()  # the scenes have right and wrong detections, and missed objects


def test_images_and_classes_that_are_not_given_do_not_count():
    box = {"bbox": [0, 0, 10, 10], "score": 0.5}
    here, there = {**box, "image_id": 1}, {**box, "image_id": 2}
    items = [{**here, "category_id": 3}, {**here, "category_id": 9}, {**there, "category_id": 3}]
    correct, wrong, missed = match_boxes(items, items, [1], CATEGORIES)
    assert correct.tolist() == [True, False, False]
    assert not wrong.any() and not missed.any()


def test_nothing_on_either_side():
    box = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 10, 10], "score": 0.5}
    assert [x.tolist() for x in match_boxes([], [box], [1], CATEGORIES)] == [[False], [True], []]
    assert [x.tolist() for x in match_boxes([box], [], [1], CATEGORIES)] == [[], [], [True]]


def test_overlaps_by_image():
    def box(image, *corners):
        return {"image_id": image, "bbox": list(corners)}

    labels = [box(1, 0, 0, 10, 10), box(2, 0, 0, 10, 10), box(1, 5, 0, 10, 10)]
    found = [box(2, 0, 5, 10, 10), box(1, 0, 0, 10, 5), box(3, 0, 0, 10, 10)]
    seen = {}
    for objects, boxes, ious in overlaps(labels, found):
        for row, position in enumerate(boxes):
            for column, label in enumerate(objects):
                seen[position, label] = ious[row, column]
    assert set(seen) == {(0, 1), (1, 0), (1, 2)}
    for (position, label), iou in seen.items():
        assert abs(iou - overlap(found[position]["bbox"], labels[label]["bbox"])) < 1e-12
