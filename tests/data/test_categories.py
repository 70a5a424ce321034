"""Classes are matched by name."""

import pytest

from sad.data.categories import order_of
from sad.utils.errors import UserError


def test_order_by_name():
    assert order_of(["b", "c", "a"], ["a", "b", "c"], "x", "y") == [1, 2, 0]
    assert order_of(["a", "a"], ["a", "a"], "x", "y") == [0, 1]  # in place
    with pytest.raises(UserError, match="weights w and set s have other classes.*'b' and 'dog'"):
        order_of(["a", "dog"], ["a", "b"], "set s", "weights w")
    with pytest.raises(UserError, match="2 and 3, 'c' is not in both"):
        order_of(["a", "b", "c"], ["a", "b"], "set s", "weights w")
    with pytest.raises(UserError, match="one name to several categories"):
        order_of(["a", "b", "a"], ["b", "a", "a"], "set s", "weights w")
