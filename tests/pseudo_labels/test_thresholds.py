"""Score thresholds by class."""

import json

import numpy as np
import pytest

from sad.pseudo_labels.detections import DETECTION
from sad.pseudo_labels.thresholds import of_each_class, reach, read_thresholds, say
from sad.utils.errors import UserError

NAMES = ["cat", "dog"]


def write(tmp_path, content) -> str:
    path = tmp_path / "thresholds.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_thresholds_come_in_the_order_of_the_classes(tmp_path):
    path = write(tmp_path, {"dog": 1, "cat": 0.25})
    assert list(read_thresholds(path, NAMES).items()) == [("cat", 0.25), ("dog", 1.0)]


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("{", "is no json"),
        ("0.5", "is 0.5"),
        ({"cat": 0.5}, "no score for .*'dog'"),
        ({"cat": 0.5, "dog": 0.5, "dogs": 0.5}, "'dogs', which is no class.*did you mean dog"),
        ({"cat": 0.5, "dog": None}, "'dog' None"),
        ({"cat": 0.5, "dog": True}, "'dog' True"),
        ({"cat": 0.5, "dog": "0.5"}, "'dog' '0.5'"),
        ({"cat": -0.1, "dog": 0.5}, "'cat' -0.1"),
        ('{"cat": NaN, "dog": 0.5}', "'cat' nan"),
        ({"cat": 0.5, "dog": 10**400}, "'dog' 1000"),
    ],
)
def test_bad_files_are_named(tmp_path, content, sentence):
    with pytest.raises(UserError, match=f"thresholds.json .*{sentence}"):
        read_thresholds(write(tmp_path, content), NAMES)


def test_each_class_has_its_own_threshold():
    rows = [(0, (0, 0, 1, 1), k, s) for k in (0, 1) for s in (299_999, 300_000, 700_000)]
    found = np.array(rows, DETECTION)
    one, each = 0.3, {"dog": 0.7, "cat": 0.3}
    assert reach(found, of_each_class(one, NAMES)).tolist() == [False, True, True] * 2
    assert reach(found, of_each_class(each, NAMES)).tolist() == [
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    assert say(one) == "0.3000" and say(each, 2) == "0.30 to 0.70 by class"
