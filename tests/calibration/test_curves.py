"""Right and wrong boxes at every threshold, against matching each threshold's boxes alone."""

import numpy as np

from sad.calibration.curves import count_boxes, judge
from sad.evaluation.rates import rates
from sad.pseudo_labels.coco_file import to_annotations
from sad.pseudo_labels.detections import scores
from sad.pseudo_labels.quality import precision_recall


def test_counts_are_those_of_each_thresholds_own_boxes(case):
    held_out, found = case.held_out, case.found
    counts = count_boxes(held_out, found, *judge(held_out, found), 0.02, [0.123456])
    assert counts.thresholds[[0, -1]].tolist() == [0.02, 0.99] and 0.123456 in counts.thresholds
    ids = [image["image_id"] for image in held_out.images]
    for place in range(0, len(counts.thresholds), 7):
        kept = found[scores(found) >= counts.thresholds[place]]
        boxes = to_annotations(kept, [ids[i] for i in kept["image"]], held_out.categories)
        expected = precision_recall(held_out.labels, boxes, ids, held_out.categories)
        for number, category in enumerate(held_out.categories):
            right = counts.right[number, :, place].sum()
            wrong = counts.wrong[number, :, place].sum()
            of_class = expected["per_class"][category["name"]]
            assert right == of_class["correct"]
            assert right + wrong == of_class["pseudo_labels"]
            assert counts.labels[number].sum() == of_class["labels"]


def overlap(one, other) -> float:
    """IoU of two boxes of corners."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def test_judge_by_plain_loops(case):
    """Without crowds: by falling score each box takes the best free object of its class."""
    labels = [label for label in case.held_out.labels if not label["iscrowd"]]
    held_out = case.held_out._replace(labels=labels)
    right, wrong = judge(held_out, case.found)
    assert (right ^ wrong).all() and right.any() and wrong.any()
    for position, image in enumerate(held_out.images):
        for number, category in enumerate(held_out.categories):
            kind = image["image_id"], category["id"]
            free = [x["bbox"] for x in labels if (x["image_id"], x["category_id"]) == kind]
            free = [(x, y, x + w, y + h) for x, y, w, h in free]
            own = (case.found["image"] == position) & (case.found["category"] == number)
            for place in np.flatnonzero(own):  # by falling score, as they come
                best = max(free, key=lambda box: overlap(case.found["box"][place], box), default=0)
                hit = bool(free) and overlap(case.found["box"][place], best) >= 0.5
                assert right[place] == hit
                if hit:
                    free.remove(best)


def test_recall_only_falls(case):
    counts = count_boxes(case.held_out, case.found, *judge(case.held_out, case.found), 0.02)
    for right, wrong, labels in zip(
        counts.right.sum(1), counts.wrong.sum(1), counts.labels.sum(1), strict=True
    ):
        curve = rates(right, wrong, labels)
        assert (np.diff(curve.recall) <= 0).all() and (np.diff(right + wrong) <= 0).all()
        assert ((curve.f1 >= 0) & (curve.f1 <= 1) & (curve.precision <= 1)).all()
        harmonic = 2 / (1 / curve.precision + 1 / curve.recall)
        assert np.allclose(curve.f1, harmonic)


def test_a_class_without_labels_or_boxes(case):
    found = case.found[case.found["category"] == 0]
    labels = [label for label in case.held_out.labels if label["category_id"] == 7]
    held_out = case.held_out._replace(labels=labels)
    counts = count_boxes(held_out, found, *judge(held_out, found), 0.5)
    assert counts.labels[1].sum() == counts.right[1].sum() == counts.wrong[1].sum() == 0
    assert counts.labels[0].sum() > 0 and counts.right[0].sum() > 0
