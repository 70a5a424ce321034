"""What a value must be, and the sentence that says so."""

import math

import pytest

from sad.utils.errors import UserError
from sad.utils.rules import above, at_least, check, count, each, one_of, positive, share, within


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        (at_least(0), [0, 0.5], [-1, "a", None]),
        (above(0), [1e-9], [0, -1]),
        (within(0, 1), [0, 1, 0.5], [-0.1, 1.1, math.nan]),
        (one_of("kl", "adl"), ["kl"], ["KL", "", 3]),
        (each(count), [[1], (2, 3)], [[], [0], [1.5], 3]),
        (each(one_of("a"), least=0), [[], ["a"]], [["b"]]),
        (positive, [0.1], [0, "1"]),
        (share, [1, 0.01], [0, 1.5]),
    ],
)
def test_holds(rule, right, wrong):
    for value in right:
        check("KEY", value, rule)
    for value in wrong:
        with pytest.raises(UserError, match="KEY is "):
            check("KEY", value, rule)


def test_the_nearest_name_is_suggested():
    with pytest.raises(UserError, match="did you mean elements"):
        check("KEY", "element", one_of("elements", "foreground"))
