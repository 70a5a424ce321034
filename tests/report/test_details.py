"""What the detections of a (toy) run tell, against COCO's own numbers."""

import json

import pytest

from detections_made import parts
from sad.data.datasets import read_sets, register_from_config
from sad.evaluation.error_kinds import KINDS
from sad.report.choice import NOTHING_RIGHT
from sad.report.details import describe_detections, read_test_set
from sad.report.runs import read_runs
from sad.utils.errors import UserError

DETECTIONS = "inference/toy_labeled/coco_instances_results.json"


@pytest.fixture
def test_set(toy):
    register_from_config(toy.cfg("student.yaml"))
    read_sets(["toy_labeled"], 10**6)
    return read_test_set("toy_labeled")


@pytest.fixture
def described(student, test_set):
    """A function: detections -> details of a run that has found them."""

    def describe(found, threshold=None):
        (student / DETECTIONS).write_text(json.dumps(found))
        (run,) = read_runs([("student", str(student))], test_set="toy_labeled")
        return describe_detections(run, found, test_set, threshold)

    return describe


def test_classes_are_in_the_order_of_the_model(toy, test_set):
    assert [x["name"] for x in test_set.categories] == ["light", "dark"]
    assert len(test_set.labels) == 12 and len(test_set.images) == 6
    labels, _, _ = parts(toy.json("labeled.json"))
    assert [x["bbox"] for x in test_set.labels] == [x["bbox"] for x in labels]


def test_a_detector_that_is_right_from_some_score_on(described, toy):
    objects = toy.json("labeled.json")["annotations"]
    found = [x | {"score": 0.6} for x in objects[:9]]
    found += [x | {"score": 0.3, "bbox": [0, 0, 3, 3]} for x in objects]
    details = described(found)
    assert details["threshold"] == pytest.approx(0.45, abs=0.01)  # the middle of the best
    assert (details["precision"], details["recall"]) == (1, 9 / 12)
    assert details["f1"] == pytest.approx(2 * 0.75 / 1.75)
    assert details["errors"] | {"right": 9, "found": 9, "missed": 3} == details["errors"]
    assert [row[:2] for row in details["confusion"][:2]] == [[5, 0], [0, 4]]
    assert [row[2] for row in details["confusion"]] == [1, 2, 0]
    rates = details["by_threshold"]
    assert rates["precision"][9] == pytest.approx(9 / 21, abs=1e-4)
    assert details["costs"]["background"] == pytest.approx(0, abs=1e-6)  # they come last
    assert details["costs"]["missed"] > 20
    low = described(found, threshold=0.1)
    assert low["threshold"] == 0.1 and sum(low["errors"][kind] for kind in KINDS) == 12
    assert json.loads(json.dumps(low)) == low


def test_no_detections(described):
    details = described([])
    assert details["threshold"] == NOTHING_RIGHT
    assert details["precision"] is None and details["recall"] == details["f1"] == 0
    assert details["errors"]["missed"] == 12 and details["costs"]["AP50"] == 0


def test_detections_of_other_weights_are_refused(student, toy, test_set):
    (run,) = read_runs([("student", str(student))])
    found = [x | {"score": 1.0} for x in toy.json("labeled.json")["annotations"]]
    with pytest.raises(UserError, match=f"{student / DETECTIONS} have AP 100.00"):
        describe_detections(run, found, test_set, None)
