"""The page's curves."""

import numpy as np
import pytest

from sad.report.page import running_mean


def test_running_mean_at_the_ends():
    assert running_mean([2.0, 4.0]) == pytest.approx([2, 4])  # too few to smooth
    curve = np.arange(20.0)
    smooth = running_mean(curve + 3 * (np.arange(20) % 3 == 0))  # a spike in each window of 3
    assert smooth[1:-1] == pytest.approx(curve[1:-1] + 1)
    assert smooth[[0, -1]] == pytest.approx([(3 + 1) / 2, (18 + 3 + 19) / 2])
