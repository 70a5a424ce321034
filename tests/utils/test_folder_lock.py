"""One at a time in a folder, across threads and processes."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sad.utils.folder_lock import alone_in, is_taken


@pytest.mark.slow
def test_a_folder_is_worked_in_by_onealone_in(tmp_path):
    """Also by the process that was started with the lock, after its starter has gone."""
    log = []

    def work(name):
        with alone_in(tmp_path / "run") as lock:
            log.append(f"{name} begins")
            time.sleep(0.2)
            log.append(f"{name} ends")
            return subprocess.Popen(["sleep", "2"], pass_fds=[lock])

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, "ab")
    begin, end = log[::2], log[1::2]
    assert [line.split()[0] for line in begin] == [line.split()[0] for line in end]
    with alone_in(tmp_path / "run"):
        assert first.wait(0.5) == second.wait(0.5) == 0


def test_whether_a_folder_is_taken(tmp_path):
    assert not is_taken(tmp_path / "run") and not (tmp_path / "run").exists()
    with alone_in(tmp_path / "run"):
        assert is_taken(tmp_path / "run")
    assert not is_taken(tmp_path / "run")
