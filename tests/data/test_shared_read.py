"""One worker of a machine reads, all have what it read; mistakes reach all of them too."""

import gc
import json
import resource
from functools import partial

import pytest
from detectron2.data import DatasetCatalog, DatasetFromList, MetadataCatalog
from detectron2.utils import comm

from processes import run_ranks
from sad.data.loader import build_mixed_loader
from sad.data.shared_read import collector_paused, once_per_machine
from sad.utils.errors import UserError

ENTRIES = [{"file_name": f"{number}.png", "boxes": [number] * 3} for number in range(1000)]


def read(folder):
    with open(folder / "readers", "a") as file:
        file.write(f"{comm.get_rank()} ")
    return DatasetFromList(ENTRIES), "facts"


def share(folder):
    entries, facts = once_per_machine(partial(read, folder))
    comm.synchronize()
    assert (list(entries), facts) == (ENTRIES, "facts")
    if comm.get_local_size() > 1:
        with open("/proc/self/maps") as file:
            assert "(deleted)" in file.read()  # no copy, but a file that is mapped and nameless


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_worker_reads_for_all(tmp_path, monkeypatch, workers):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    run_ranks(share, tmp_path, count=workers)
    assert (tmp_path / "readers").read_text() == "0 "
    assert not list((tmp_path / "temporary").iterdir())


def test_a_single_process_reads_for_itself(tmp_path):
    share(tmp_path)
    assert (tmp_path / "readers").read_text() == "0 "


def find_mistake(folder):
    def read():
        raise UserError("set cut_short is no whole json")

    with pytest.raises(UserError) as error:
        once_per_machine(read)
    (folder / f"{comm.get_rank()}").write_text(str(error.value))


def test_a_mistake_reaches_every_worker(tmp_path):
    run_ranks(find_mistake, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        "01", "set cut_short is no whole json"
    )


def find_no_room(folder, limit):
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with pytest.raises(UserError, match="set TMPDIR to a folder with room"):
        once_per_machine(lambda: DatasetFromList(ENTRIES))


def test_no_room_for_what_is_shared(tmp_path, monkeypatch):
    run_ranks(find_no_room, tmp_path, 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    run_ranks(find_no_room, tmp_path, 0)


def classes(folder, cfg):
    """In workers that have read nothing so far."""
    reads = []
    get = DatasetCatalog.get
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            DatasetCatalog, "get", lambda name: reads.append(name) or get(name), raising=False
        )
        length = len(build_mixed_loader(cfg).dataset)
    found = [MetadataCatalog.get(name).thing_classes for name in ("toy_labeled", "toy_unlabeled")]
    (folder / f"{comm.get_rank()}.json").write_text(json.dumps([reads, found, length]))


def test_every_worker_knows_the_classes(toy, tmp_path):
    opts = ("DATASETS.UNLABELED", ("toy_unlabeled",), "SAD.TARGETS.UNLABELED", ("soft",))
    run_ranks(classes, tmp_path, toy.cfg("SAD.yaml", *opts))
    zero, one = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert zero[0] == ["toy_labeled", "toy_unlabeled"] and one[0] == []
    assert zero[1:] == one[1:] == [[["light", "dark"]] * 2, 12]


def test_the_collector_runs_again_after_an_error():
    with pytest.raises(OSError, match="broken"), collector_paused():
        assert not gc.isenabled()
        raise OSError("broken")
    assert gc.isenabled()
