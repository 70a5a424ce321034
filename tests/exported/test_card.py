"""Cards: what is written is read again, and what is forged is refused."""

import dataclasses
import json

import pytest

from exported_files import CARD
from sad.exported.card import Card
from sad.utils.errors import UserError


def test_what_is_written_is_read_again():
    for threshold in (None, 0.37):
        card = dataclasses.replace(CARD, threshold=threshold)
        assert Card.read(card.text()) == card


FORGED = {
    "detector": ["Mask", None, ["RetinaNet"], {}],
    "class_names": [[], "cat", [1], [None], {"cat": 0}, ["x" * 2000], ["x"] * 20_000],
    "pixel_mean": [[1, 2], [1, 2, "3"], [1, 2, True], [1, 2, float("nan")], [1, 2, 10**400], None],
    "pixel_std": [[1, 1, 0], [1, 1, -1], [1, 1, float("inf")]],
    "channel_order": ["L", 1],
    "min_size": [-1, 1.5, 10**9, True, "800"],
    "max_size": [0, 10**12],
    "size_divisibility": [-32, 10**6],
    "score_threshold": [2, -0.1, None, "0.05", float("nan"), 10**400],
    "nms_threshold": [1.01, []],
    "detections": [0, 10**9, 99.0],
    "threshold": [7, "0.5"],
    "config": [None, {}, "MODEL: {META_ARCHITECTURE: Other}"],
    "config_digest": ["0" * 64, 0],
    "data": ["coco", [1]],
    "seed": [None, 10**30, 0.5],
    "metrics": [[], {"AP": "37"}, {"AP": float("inf")}, {"AP": None}, {"AP": -(10**400)}],
    "licence": [None, "x" * 20_000],
}


@pytest.mark.parametrize("key", FORGED)
def test_forged_values_are_refused_by_name(key):
    for value in FORGED[key]:
        content = {**json.loads(CARD.text()), key: value}
        with pytest.raises(UserError, match=f"card's {key}|card's config is not"):
            Card.read(json.dumps(content))
    assert FORGED.keys() == {x.name for x in dataclasses.fields(Card)}


def test_a_size_of_more_pixels_than_any_image_has_is_refused():
    content = {**json.loads(CARD.text()), "min_size": 50_000, "max_size": 100_000}
    with pytest.raises(UserError, match="min_size 50000 and max_size 100000"):
        Card.read(json.dumps(content))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "7", "[" * 100_000, '{"detector": "RetinaNet"}', "x" * 2_000_000],
)
def test_what_is_no_card_is_refused(text):
    with pytest.raises(UserError, match="card"):
        Card.read(text)


def test_keys_that_nobody_knows_are_refused():
    content = {**json.loads(CARD.text()), "run": "rm"}
    with pytest.raises(UserError, match="run is missing or unknown"):
        Card.read(json.dumps(content))
