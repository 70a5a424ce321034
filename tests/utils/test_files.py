"""Files appear whole or not at all."""

import errno
import fcntl
import multiprocessing
import os
import signal
import stat
import time

import pytest

from processes import locked
from sad.utils import files
from sad.utils.errors import UserError
from sad.utils.files import (
    atomic_write,
    inside,
    lock_folder,
    make_folder,
    remove_folder,
    sha256,
    write_json,
)


def test_writes_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "a.json"
    with atomic_write(str(path)) as file:
        file.write("new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.json"]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    content = {"images": list(range(10_000)), "score": float("nan")}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(str(path), content, allow_nan=False)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_json(str(path), [1], indent=1)
    assert path.read_text() == "[\n 1\n]"


def test_binary_mode(tmp_path):
    with atomic_write(str(tmp_path / "a"), "wb") as file:
        file.write(b"\x00\xff")
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"


def test_a_full_disk_names_the_file(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(OSError, match="full") as found, atomic_write(str(path)):
        raise OSError(errno.ENOSPC, "full")  # as a write says it
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(path))
    with pytest.raises(OSError, match="gone") as found, atomic_write(str(path)):
        raise OSError(errno.ENOENT, "gone", "another")
    assert found.value.filename == "another"
    assert not list(tmp_path.iterdir())


def test_target_is_untouched_until_the_end(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with atomic_write(str(path)) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_and_no_temporary(tmp_path, error):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_write(str(path)) as file:
        file.write("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_write(str(tmp_path / "atomic")) as file:
        file.write("")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")]
    assert modes[0] == modes[1]


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_write("a") as file:
        file.write("x")
    assert (tmp_path / "a").read_text() == "x"


def test_make_folder(tmp_path):
    folder = tmp_path / "a" / "b"
    make_folder(str(folder), "--output")
    make_folder(str(folder), "--output")  # it is there
    assert folder.is_dir() and not list(folder.iterdir())


@pytest.mark.parametrize("path", ["file", "file/folder"])
def test_make_folder_where_a_file_is(tmp_path, path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=rf"--output {tmp_path}/{path} cannot be written to"):
        make_folder(str(tmp_path / path), "--output")


@pytest.mark.parametrize("folder", ["images", "images/", "./images", "/data/images"])
def test_paths_inside_a_folder(folder):
    for name in ("a.png", "a/b.png", "..a.png", "a../b.png", "./a.png"):
        assert inside(folder, os.path.join(folder, name)), name
    for name in (
        "/etc/passwd",
        "../a.png",
        "../../etc/passwd",
        "a/../../b.png",
        "a/../b.png",
        "..",
    ):
        assert not inside(folder, os.path.join(folder, name)), name


def test_an_absolute_name_below_the_folder():
    assert inside("/data/images", "/data/images/a.png")
    assert not inside("/data/images", "/data/images2/a.png")


# --- two writers in one folder ------------------------------------------------------------------


def test_a_folder_is_one_process_alone_until_it_dies(tmp_path):
    with locked(tmp_path) as owner:
        before = (tmp_path / ".lock").read_text()
        with pytest.raises(
            UserError, match=rf"--output {tmp_path} is in use by process {owner.pid}"
        ):
            lock_folder(str(tmp_path), "--output")
        assert (tmp_path / ".lock").read_text() == before
    lock_folder(str(tmp_path), "--output")  # as soon as it was killed
    lock_folder(str(tmp_path), "--output")  # it is one's own


def test_children_do_not_keep_the_lock(tmp_path):
    """Readers that outlive a killed run must not be in its successor's way."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def work():
        lock_folder(str(tmp_path), "--output")
        child = context.Process(target=time.sleep, args=(600,))
        child.start()
        send.send(child.pid)
        time.sleep(600)

    process = context.Process(target=work)
    process.start()
    child = receive.recv()
    process.kill()
    process.join()
    try:
        lock_folder(str(tmp_path), "--output")
    finally:
        os.kill(child, signal.SIGKILL)  # fails where there is none


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_stops_nobody(tmp_path, monkeypatch, number, log):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    lock_folder(str(tmp_path), "--output")
    assert len(log) == 1 and "cannot be locked" in log[0]


def test_a_locked_folder_is_removed(tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    lock_folder(str(folder), "--output")
    (folder / "shard_0.npz").write_text("")
    remove_folder(str(folder))
    assert not folder.exists()


def test_sha256_is_computed_once_of_a_file_that_stays(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    before = files._sha256.cache_info().misses
    assert [sha256(str(path)) for _ in range(3)] == [abc] * 3
    assert files._sha256.cache_info().misses == before + 1
    path.write_bytes(b"")
    assert sha256(str(path)) == empty
