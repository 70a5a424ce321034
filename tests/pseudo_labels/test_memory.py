"""Labelling a million images stays under 2 GB in every process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "label_memory.py"


def peak_memory(num_images: int) -> float:
    """GB, of the process that takes most."""
    command = [sys.executable, str(SCRIPT), "--images", str(num_images)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peaks = [float(peak) for peak in re.findall(r"([\d.]+) GB at most", output)]
    assert len(peaks) == 10 and "calibrate, write" in output
    return max(peaks)


@pytest.mark.slow
def test_a_million_images_fit_in_2_gb():
    """On a line through the peaks at 20,000 and 100,000 images."""
    low, high = peak_memory(20_000), peak_memory(100_000)
    per_image = max(0, high - low) / 80_000
    assert high + 900_000 * per_image < 2
