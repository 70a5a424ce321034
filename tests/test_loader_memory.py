"""A training on COCO starts within 30 s, and only its first process needs much memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("loader_memory.py")


def start(*arguments: str) -> list[dict]:
    """What the script finds of each training process."""
    command = [sys.executable, str(SCRIPT), *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def check(found: list[dict]) -> None:
    assert [of_process["rank"] for of_process in found] == [0, 1]
    assert max(of_process["seconds of CPU"] for of_process in found) < 30
    others = [found[1]["GB"], *(reader for each in found for reader in each["GB of readers"])]
    assert len(others) == 5
    assert max(memory["uss"] for memory in others) < 0.2
    assert max(memory["peak"] for memory in [found[1]["GB"], *found[1]["GB of readers"]]) < 1


def test_what_the_script_measures():
    found = start("--labeled", "300", "--unlabeled", "300")
    check(found)
    assert all(500 < of_process["images"] <= 600 for of_process in found)


@pytest.mark.slow
def test_all_of_coco():
    found = start()
    check(found)
    assert all(230_000 < of_process["images"] <= 235_000 for of_process in found)
