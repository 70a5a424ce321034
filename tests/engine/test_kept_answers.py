"""Training with a folder of the teacher's answers: the same bits, whatever is in the folder."""

import itertools
import shutil

import pytest
import torch

from interrupted import assert_same, kill, result, start, train
from sad.data.loader import build_mixed_loader
from sad.modeling.teacher import build_teacher
from sad.utils.errors import UserError

SHORT = ("SOLVER.MAX_ITER", 8, "SOLVER.CHECKPOINT_PERIOD", 3, "TEST.EVAL_PERIOD", 8)


def config(toy, yaml, output, answers, *opts):
    folder = ("SAD.TEACHER.CACHE.DIR", str(answers), "SAD.TEACHER.CACHE.LEAVE_FREE_GB", 0.0)
    return toy.cfg(yaml, *SHORT, *folder, "OUTPUT_DIR", str(output), *opts)


def files(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(
    scope="module", params=["SAD.yaml", pytest.param("TAR.yaml", marks=pytest.mark.slow)]
)
def yaml(request):
    return request.param


@pytest.fixture(scope="module")
def uninterrupted(toy, yaml, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    train(config(toy, yaml, folder / "run", folder / "answers"))
    return folder


def without_network(cfg):
    teacher, of_teacher = build_teacher(cfg)
    teacher.backbone.register_forward_hook(lambda *_: pytest.fail("the teacher was asked"))
    return teacher, of_teacher


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_finds_answers_is_the_run_that_made_them(
    toy, yaml, tmp_path, uninterrupted, workers, monkeypatch
):
    monkeypatch.setattr("sad.engine.trainer.build_teacher", without_network)
    before = files(uninterrupted / "answers")
    opts = ("DATALOADER.NUM_WORKERS", workers)
    train(config(toy, yaml, tmp_path, uninterrupted / "answers", *opts))
    found, first = result(tmp_path), result(uninterrupted / "run")
    for kind in found if workers == 0 else ("model", "best", "metrics"):
        assert_same(found[kind], first[kind])
    assert before and files(uninterrupted / "answers") == before


@pytest.mark.slow
def test_where_nothing_may_be_written_the_run_is_the_same(toy, yaml, tmp_path, uninterrupted):
    answers = tmp_path / "answers"
    train(config(toy, yaml, tmp_path / "run", answers, "SAD.TEACHER.CACHE.LEAVE_FREE_GB", 1e9))
    assert_same(result(tmp_path / "run"), result(uninterrupted / "run"))
    assert not files(answers)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.3, lambda output: (output / "last_checkpoint").exists()])
def test_a_run_that_was_killed_ends_alike(toy, yaml, tmp_path, uninterrupted, moment):
    """Also where half of its answers are gone, and others were cut short."""
    cfg = config(toy, yaml, tmp_path / "run", tmp_path / "answers")
    kill(start(cfg), tmp_path / "run", moment, seconds=10)
    left = sorted(path for path in (tmp_path / "answers").rglob("*") if path.is_file())
    for path in left[::2]:
        path.unlink()
    for path in left[1::4]:
        path.write_bytes(path.read_bytes()[:-10])
    train(cfg)
    assert_same(result(tmp_path / "run"), result(uninterrupted / "run"))


@pytest.mark.slow
def test_two_runs_at_once_share_a_folder(toy, yaml, tmp_path, uninterrupted):
    runs = [config(toy, yaml, tmp_path / name, tmp_path / "answers") for name in ("one", "two")]
    processes = [start(cfg) for cfg in runs]
    for process in processes:
        process.join()
    for name in ("one", "two"):
        assert_same(result(tmp_path / name), result(uninterrupted / "run"))
    assert files(tmp_path / "answers").keys() == files(uninterrupted / "answers").keys()


def test_labelled_and_unlabelled_images_have_answers_and_empty_ones_too(toy, yaml, uninterrupted):
    """Where the teacher found no box there are scores all the same."""
    cfg = config(toy, yaml, uninterrupted / "run", uninterrupted / "answers")
    samples = itertools.chain(*itertools.islice(build_mixed_loader(cfg), 8))
    found = {(x["origin"], len(x["instances"]) > 0): x["kept"] for x in samples}
    assert found.keys() >= {("labeled", True), ("unlabeled", True)} and all(found.values())


@pytest.mark.slow
def test_a_run_does_not_go_on_with_other_rounding(toy, yaml, tmp_path, uninterrupted):
    """Another folder is no other run."""
    shutil.copytree(uninterrupted / "run", tmp_path / "run")
    output = ("OUTPUT_DIR", str(tmp_path / "run"))
    coarser = config(toy, yaml, tmp_path / "run", tmp_path, "SAD.TEACHER.CACHE.FLOOR", 0.01)
    for cfg in (toy.cfg(yaml, *SHORT, *output), coarser):
        with pytest.raises(UserError, match="SAD.TEACHER.CACHE"):
            train(cfg)
    train(config(toy, yaml, tmp_path / "run", tmp_path / "elsewhere", "SOLVER.MAX_ITER", 9))
    assert torch.load(tmp_path / "run" / "model_final.pth")["iteration"] == 8
