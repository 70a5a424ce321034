"""What the value of a config key must be, and in what words that is said."""

from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

from .errors import UserError, did_you_mean


class Rule(NamedTuple):
    holds: Callable[[Any], bool]
    must_be: str
    names: tuple[str, ...] = ()  # what the nearest one is suggested of


def at_least(limit: float) -> Rule:
    return Rule(lambda x: x >= limit, f"at least {limit}")


def above(limit: float) -> Rule:
    return Rule(lambda x: x > limit, f"above {limit}")


def within(least: float, most: float) -> Rule:
    return Rule(lambda x: least <= x <= most, f"from {least} to {most}")


def one_of(*names: str) -> Rule:
    return Rule(lambda x: x in names, f"one of {', '.join(names)}", names)


def each(rule: Rule, least: int = 1) -> Rule:
    """A list of at least so many values, the rule holds for each of them."""
    length = "a list" if least else "an empty list, or one"
    return Rule(
        lambda x: len(x) >= least and all(rule.holds(value) for value in x),
        f"{length} of values, each {rule.must_be}",
        rule.names,
    )


text = Rule(lambda x: isinstance(x, str), "a text")
count = Rule(lambda x: type(x) is int and x > 0, "a whole number above 0")
number = Rule(lambda x: isinstance(x, Real), "a number")
positive = Rule(lambda x: isinstance(x, Real) and x > 0, "a number above 0")
share = Rule(lambda x: 0 < x <= 1, "above 0 and at most 1")


def check(key: str, value, rule: Rule) -> None:
    """
    Raises:
        UserError: naming the key, its value and what is allowed.
    """
    try:
        holds = rule.holds(value)
    except TypeError:  # a list's items may be of any type
        holds = False
    if not holds:
        values = value if isinstance(value, (list, tuple)) else [value]
        wrong = [x for x in values if isinstance(x, str) and x not in rule.names]
        nearest = did_you_mean(wrong[0], rule.names) if wrong else ""
        raise UserError(f"{key} is {value!r}, it must be {rule.must_be}{nearest}")
