"""A training on COCO starts within 30 s, and only its first process needs much memory.

30 s on two idle cores; where reading the json files alone takes more than 10 s, three times that.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sad.data.shared_read import collector_paused

SCRIPT = Path(__file__).parents[1] / "loader_memory.py"


def start(data: Path, *arguments: str) -> list[dict]:
    """What the script finds of each training process."""
    command = [sys.executable, str(SCRIPT), "--data", str(data), *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def seconds_of_json(data: Path) -> float:
    """CPU time to parse the annotations once, as training reads them: without collections."""
    start = time.process_time()
    with collector_paused():
        for path in (data / "coco/annotations").iterdir():
            json.loads(path.read_text())
    return time.process_time() - start


def check(found: list[dict], data: Path) -> None:
    assert [of_process["rank"] for of_process in found] == [0, 1]
    allowed = max(30, 3 * seconds_of_json(data))
    assert max(of_process["seconds of CPU"] for of_process in found) < allowed
    others = [found[1]["GB"], *(reader for each in found for reader in each["GB of readers"])]
    assert len(others) == 5
    assert max(memory["uss"] for memory in others) < 0.2
    assert max(memory["peak"] for memory in [found[1]["GB"], *found[1]["GB of readers"]]) < 1


@pytest.mark.slow
def test_what_the_script_measures(tmp_path):
    found = start(tmp_path, "--labeled", "300", "--unlabeled", "300")
    check(found, tmp_path)
    assert all(500 < of_process["images"] <= 600 for of_process in found)


@pytest.mark.slow
def test_all_of_coco(tmp_path):
    found = start(tmp_path)
    check(found, tmp_path)
    shutil.rmtree(tmp_path)  # 650 MB
    assert all(230_000 < of_process["images"] <= 235_000 for of_process in found)
