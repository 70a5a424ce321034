"""The folder of the teacher's answers: what finds a file, and what happens to broken ones."""

import multiprocessing
import os
import shutil

import numpy as np
import pytest
import torch

from sad.data.teacher_cache import TeacherCache
from sad.terms.kept import to_keep
from sad.terms.term import Outputs

IMAGE = torch.arange(3 * 4 * 5, dtype=torch.uint8).view(3, 4, 5)


def answer(seed=0):
    logits = torch.randn(1, 12, 2, generator=torch.Generator().manual_seed(seed))
    return to_keep(Outputs(logits=[logits]), [(2, 2)], 0.1)[0]


def same(one, other):
    return np.array_equal(one.logits, other.logits) and np.array_equal(one.index, other.index)


@pytest.fixture
def cache(tmp_path):
    return TeacherCache(str(tmp_path), lambda: {"teacher": 1}, 0.1, leave_free=0)


def of_toy(toy, root, *opts, name="SAD.yaml"):
    return TeacherCache.of(toy.cfg(name, "SAD.TEACHER.CACHE.DIR", str(root), *opts))


def test_an_answer_is_read_as_it_was_written(cache):
    path = cache.path(IMAGE)
    assert cache.read(path) is None
    cache.write(path, answer())
    assert same(cache.read(path), answer())
    assert cache.read(cache.path(IMAGE.flip(2))) is None


def test_the_pixels_find_the_file(cache):
    views = [IMAGE, IMAGE.flip(2), IMAGE.float(), IMAGE.view(3, 5, 4), IMAGE + 1]
    paths = {cache.path(view.contiguous()) for view in views}
    assert len(paths) == len(views) and cache.path(IMAGE.clone()) in paths


def test_all_that_an_answer_depends_on_finds_the_folder(toy, tmp_path):
    root = tmp_path / "answers"
    own = of_toy(toy, root).folder
    assert of_toy(toy, root, "SOLVER.BASE_LR", 0.5, "SAD.DISTILL.CLASS.LOSS", "kl").folder == own
    weights = torch.load(toy.path("teacher.pth"), weights_only=True)
    weights["model"]["head.cls_score.bias"] += 1
    torch.save(weights, tmp_path / "other.pth")
    shutil.copy(toy.path("teacher.pth"), tmp_path / "moved.pth")
    moved = of_toy(toy, root, "SAD.TEACHER.WEIGHTS", str(tmp_path / "moved.pth"))
    assert moved.folder == own
    others = [
        ("SAD.TEACHER.WEIGHTS", str(tmp_path / "other.pth")),
        ("SAD.TEACHER.PRECISION", "bfloat16"),
        ("SAD.TEACHER.CACHE.FLOOR", 0.01),
        ("SAD.DISTILL.TERMS", "('class','box')"),
        ("INPUT.FORMAT", "RGB"),
    ]
    assert len({own, *(of_toy(toy, root, *opts).folder for opts in others)}) == 1 + len(others)


def test_where_there_is_no_gpu_the_default_device_is_the_cpu(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folders = {of_toy(toy, tmp_path, "MODEL.DEVICE", x).folder for x in ("cpu", "cuda")}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    folders |= {of_toy(toy, tmp_path, "MODEL.DEVICE", "cpu").folder}
    assert len(folders) == 1


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        ("MODEL: {RETINANET: {SCORE_THRESH_TEST: 0.3}}", False),
        ("MODEL: {PIXEL_STD: [60, 60, 60]}", True),
        ("SOLVER: {BASE_LR: 0.3}", False),
    ],
)
def test_of_the_teacher_s_yaml_what_its_logits_depend_on(toy, tmp_path, key, counts):
    path = tmp_path / "other.yaml"
    path.write_text(f"_BASE_: {toy.path('teacher.yaml')}\n{key}\n")
    other = of_toy(toy, tmp_path, "SAD.TEACHER.CONFIG_FILE", str(path)).folder
    assert (other != of_toy(toy, tmp_path).folder) == counts


def test_nothing_is_kept_unless_asked_for_or_without_a_teacher(toy, tmp_path):
    assert TeacherCache.of(toy.cfg("SAD.yaml")) is None
    assert of_toy(toy, tmp_path, "SAD.DISTILL.TERMS", "()") is None


@pytest.mark.parametrize("content", [b"", b"half of it", b"\0" * 5000])
def test_a_broken_file_is_none(cache, log, content):
    path = cache.path(IMAGE)
    cache.write(path, answer())
    with open(path, "wb") as file:
        file.write(content)
    assert cache.read(path) is None and "asked again" in log[0]
    cache.write(path, answer())
    assert same(cache.read(path), answer())


def test_a_folder_in_the_place_of_a_file_is_none(cache, log):
    path = cache.path(IMAGE)
    os.makedirs(path)
    assert cache.read(path) is None and len(log) == 1


def test_the_disk_keeps_room(tmp_path, log):
    cache = TeacherCache(str(tmp_path), dict, 0.1, leave_free=1e18)
    for shift in range(3):
        cache.write(cache.path(IMAGE + shift), answer())
        assert cache.read(cache.path(IMAGE + shift)) is None
    assert len(log) == 1 and "SAD.TEACHER.CACHE.LEAVE_FREE_GB" in log[0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path, log):
    (tmp_path / "file").write_text("")
    cache = TeacherCache(str(tmp_path / "file"), dict, 0.1, leave_free=0)
    cache.write(cache.path(IMAGE), answer())
    assert cache.read(cache.path(IMAGE)) is None and "keeps no more" in log[0]


def test_a_folder_that_was_emptied_fills_again(cache, tmp_path):
    cache.write(cache.path(IMAGE), answer())
    shutil.rmtree(tmp_path)
    cache.write(cache.path(IMAGE), answer())
    assert same(cache.read(cache.path(IMAGE)), answer())


def test_a_folder_that_is_deleted_meanwhile_fills_again(cache, tmp_path, monkeypatch, log):
    real, calls = shutil.disk_usage, []

    def deleted_first(path):
        if not calls:
            shutil.rmtree(tmp_path)
        calls.append(path)
        return real(path)

    monkeypatch.setattr(shutil, "disk_usage", deleted_first)
    cache.write(cache.path(IMAGE), answer())
    assert same(cache.read(cache.path(IMAGE)), answer()) and cache.writes and log == []


def test_processes_that_write_at_once_leave_whole_files(cache, tmp_path):
    """Each reads an answer, or none, whoever writes at the moment."""

    def work():
        for round_ in range(50):
            path = cache.path(IMAGE + round_ % 5)
            found = cache.read(path)
            assert found is None or same(found, answer(round_ % 5))
            cache.write(path, answer(round_ % 5))

    cache.folder  # noqa: B018
    processes = [multiprocessing.get_context("fork").Process(target=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 5 and all(cache.read(str(path)) for path in files)
