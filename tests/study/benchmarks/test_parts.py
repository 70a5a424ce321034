"""The parts of an iteration, on a run of the toy problem."""

import time

import pytest

from interrupted import train
from sad.study.benchmarks import parts
from sad.study.benchmarks.timing import Options
from sad.utils.errors import UserError


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SAD.yaml", "TAR.yaml", "student.yaml"])
def test_they_add_up(toy, tmp_path, name):
    cfg = toy.cfg(name, "SOLVER.MAX_ITER", 2, "OUTPUT_DIR", str(tmp_path))
    train(cfg)
    (tmp_path / "config.yaml").write_text(cfg.dump())
    start = time.perf_counter()
    found = parts.run(Options("cpu", "small", 3, (("toy", str(tmp_path)),))).rows
    took = time.perf_counter() - start
    assert sum(row["share"] for row in found.values()) == pytest.approx(1)
    asked = {"toy: teacher", "toy: matching anchors", "toy: losses", "toy: student's forward"}
    assert asked <= found.keys() or (name == "student.yaml" and not asked & found.keys())
    assert found["toy: backward"]["ms"] > 0 and found["toy: reading images"]["ms"] > 0
    in_all = sum(row["ms"] for part, row in found.items() if part != "toy: evaluation")
    assert 0 < 15 * in_all / 1000 < took


def test_of_one_function_in_another_the_inner_counts_alone():
    watch = parts.Watch()
    inner = watch.timed("inner", lambda: time.sleep(0.02))
    watch.timed("outer", lambda: [inner(), inner()])()
    assert watch.seconds["inner"] >= 0.04 and watch.seconds["outer"] < watch.seconds["inner"]


def test_a_run_that_is_not_finished_is_named(tmp_path):
    with pytest.raises(UserError, match="config.yaml does not exist"):
        parts.run(Options("cpu", "small", 3, (("one", str(tmp_path)),)))
