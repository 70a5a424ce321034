"""Only the first training process needs much memory, at a fifth of COCO's size.

The whole of COCO, and the time that it takes: `python tests/loader_memory.py`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "loader_memory.py"
LABELED, UNLABELED = 24_000, 23_000


@pytest.mark.slow
def test_the_others_share_its_copy():
    sizes = ("--labeled", str(LABELED), "--unlabeled", str(UNLABELED))
    command = [sys.executable, str(SCRIPT), *sizes]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [of_process["rank"] for of_process in found] == [0, 1]
    assert all(0.95 < each["images"] / (LABELED + UNLABELED) <= 1 for each in found)
    others = [found[1]["GB"], *(reader for each in found for reader in each["GB of readers"])]
    assert len(others) == 5
    assert max(memory["uss"] for memory in others) < 0.2
