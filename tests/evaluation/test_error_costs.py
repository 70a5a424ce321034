"""What errors cost, against pycocotools' AP50 of detections that were mended by hand."""

from copy import deepcopy

import pytest

from detections_made import made, parts
from sad.evaluation.error_costs import error_costs
from sad.evaluation.error_kinds import KINDS, find_errors
from sad.study.benchmarks.evaluation import by_pycocotools, index


def ap50(content, found) -> float:
    return 100 * by_pycocotools(index(deepcopy(content)), deepcopy(found)).stats[1]


def mended(kind: str, labels, found, errors) -> list[dict]:
    """The detections without errors of a kind, each that means an object made to find it."""
    of_kind = [i for i in range(len(found)) if errors.kind[i] == KINDS.index(kind)]
    result = [found[i] for i in range(len(found)) if i not in of_kind]
    if kind not in ("class", "place"):
        return result
    best = {}
    for i in sorted(of_kind, key=lambda i: found[i]["score"]):
        if not errors.found[errors.target[i]]:
            best[errors.target[i]] = found[i]
    for target, box in best.items():
        label = labels[target]
        key = "category_id" if kind == "class" else "bbox"
        result.append(box | {key: label[key]})
    return result


@pytest.mark.parametrize("seed", range(3))
def test_costs_are_gains_of_mended_detections(seed):
    content, found = made(seed)
    labels, images, categories = parts(content)
    errors = find_errors(labels, found, images, categories)
    costs = error_costs(labels, found, errors, categories)
    base = ap50(content, found)
    assert costs["AP50"] == pytest.approx(base, abs=1e-9) and 0 < base < 100
    for kind in KINDS:
        gain = ap50(content, mended(kind, labels, found, errors)) - base
        assert costs[kind] == pytest.approx(gain, abs=1e-9)
    assert min(costs["class"], costs["place"], costs["background"]) > 0
    left = [x for x, missed in zip(labels, errors.missed, strict=True) if not missed]
    assert errors.missed.any()
    fewer = content | {"annotations": [x | {"id": n} for n, x in enumerate(left, start=1)]}
    assert costs["missed"] == pytest.approx(ap50(fewer, found) - base, abs=1e-9)


def test_a_class_that_is_missed_altogether():
    labels = [
        {"image_id": 1, "category_id": category, "bbox": [0, 0, 10, 10], "iscrowd": 0}
        for category in (1, 2)
    ]
    found = [labels[0] | {"score": 0.5}]
    categories = [{"id": 1}, {"id": 2}, {"id": 3}]
    errors = find_errors(labels, found, [1], categories)
    costs = error_costs(labels, found, errors, categories)
    assert costs["AP50"] == pytest.approx(50)
    assert all(costs[name] == 0 for name in KINDS) and costs["missed"] == pytest.approx(50)
    one = [label for label in labels if label["category_id"] == 2]
    errors = find_errors(one, [], [1], categories)
    assert error_costs(one, [], errors, categories)["missed"] == 100


def test_nothing():
    errors = find_errors([], [], [1], [{"id": 1}])
    assert set(error_costs([], [], errors, [{"id": 1}]).values()) == {0}
