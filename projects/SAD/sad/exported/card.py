"""The card of an exported file: all that its reader needs to know, as JSON in its metadata."""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..config.defaults import MAX_PIXELS
from ..utils.errors import UserError, reason
from ..utils.rules import Rule, check, one_of, text

MOST_TEXT = 1_000_000  # characters of a card
MOST_NAMES = 10_000
MOST_PIXELS = 100_000  # of a side
KEY = "card"  # of the metadata of .onnx and .safetensors files


def _is_number(x) -> bool:
    return type(x) in (int, float) and abs(x) <= sys.float_info.max  # which NaN is not


def _whole(least: int, most: int) -> Rule:
    return Rule(
        lambda x: type(x) is int and least <= x <= most, f"a whole number from {least} to {most}"
    )


def _list_of(holds: Callable[[Any], bool], must_be: str) -> Rule:
    return Rule(lambda x: type(x) is list and all(map(holds, x)), must_be)


SCORE = Rule(lambda x: _is_number(x) and 0 <= x <= 1, "a number from 0 to 1")
NAMES = _list_of(lambda x: type(x) is str and len(x) <= 1000, "a list of texts")
SHORT = Rule(lambda x: type(x) is str and len(x) <= 10_000, "a text of at most 10000 characters")


def _rule(rule: Rule, **default):
    return field(metadata={"rule": rule}, **default)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a file says of the detector in it."""

    detector: str = _rule(one_of("RetinaNet", "FCOS", "GeneralizedRCNN"))
    class_names: list[str] = _rule(  # in the order of the labels
        Rule(
            lambda x: NAMES.holds(x) and 0 < len(x) <= MOST_NAMES,
            f"a list of 1 to {MOST_NAMES} texts",
        )
    )
    # Of the image's three channels, in this order, in values from 0 to 255.
    pixel_mean: list[float] = _rule(
        Rule(lambda x: _is_list(x, _is_number), "a list of three numbers")
    )
    pixel_std: list[float] = _rule(
        Rule(
            lambda x: _is_list(x, lambda y: _is_number(y) and y > 0),
            "a list of three numbers above 0",
        )
    )
    channel_order: str = _rule(one_of("BGR", "RGB"))
    # An image is resized so that its shorter side is `min_size` (0: not at all), and then its
    # longer one at most `max_size`.
    min_size: int = _rule(_whole(0, MOST_PIXELS))
    max_size: int = _rule(_whole(1, MOST_PIXELS))
    size_divisibility: int = _rule(_whole(0, 4096))  # sides are padded to multiples, inside
    score_threshold: float = _rule(SCORE)  # lower detections are not reported
    nms_threshold: float = _rule(SCORE)
    detections: int = _rule(_whole(1, 100_000))  # per image, at most
    # Above which detections are best shown: that of the best F1 on the validation set.
    threshold: float | None = _rule(Rule(lambda x: x is None or SCORE.holds(x), SCORE.must_be))
    config: str = _rule(text)  # a yaml from which the model can be built
    config_digest: str = _rule(text)  # sha256 of it
    data: list[str] = _rule(NAMES)  # the sets that it was trained on
    seed: int = _rule(_whole(-1, 2**63 - 1))
    metrics: dict[str, float] = _rule(
        Rule(lambda x: type(x) is dict and all(map(_is_number, x.values())), "names with numbers")
    )
    licence: str = _rule(SHORT)

    def text(self) -> str:
        """As JSON, which `read` takes."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def read(cls, text: str) -> "Card":
        """
        Raises:
            UserError: it is no card, or one that was forged: a key is missing, unknown, or its
                value of another type or beyond all measure.
        """
        if len(text) > MOST_TEXT:
            raise UserError(f"the card has {len(text)} characters, more than {MOST_TEXT}")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"the card is no json ({reason(error)})") from error
        fields = {x.name: x.metadata["rule"] for x in dataclasses.fields(cls)}
        if type(content) is not dict or content.keys() != fields.keys():
            wrong = sorted(set(content) ^ fields.keys()) if type(content) is dict else ["keys"]
            raise UserError(
                f"the card is none of this project's: {str(wrong[0])[:100]} is missing or unknown"
            )
        for name, rule in fields.items():
            _check(name, content[name], rule)
        if content["min_size"] * content["max_size"] > MAX_PIXELS:
            raise UserError(
                f"the card's min_size {content['min_size']} and max_size {content['max_size']} ask "
                f"for images of more than {MAX_PIXELS} pixels"
            )
        if digest(content["config"]) != content["config_digest"]:
            raise UserError("the card's config is not the one that its config_digest is of")
        return cls(**content)


def digest(config: str) -> str:
    """sha256 of the text of a config."""
    return hashlib.sha256(config.encode()).hexdigest()


def _is_list(x, holds: Callable[[Any], bool]) -> bool:
    return type(x) is list and len(x) == 3 and all(map(holds, x))


def _check(name: str, value, rule: Rule) -> None:
    if isinstance(value, (str, list, dict)) and len(str(value)) > 200 and not rule.holds(value):
        raise UserError(f"the card's {name} is {str(value)[:200]}..., it must be {rule.must_be}")
    check(f"the card's {name}", value, rule)
