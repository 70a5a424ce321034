"""Finished runs are read, unfinished ones are named."""

import json

import pytest

from sad.report.runs import Run, read_runs
from sad.utils.errors import UserError


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_accuracy_and_curves_of_a_real_run(runs):
    run = Run("student", str(runs / "student"))
    lines = [json.loads(line) for line in (runs / "student/metrics.json").read_text().splitlines()]
    assert run.accuracy == {m: lines[-1][f"bbox/{m}"] for m in ("AP", "AP50", "AP75")}
    # Evaluated after 5 iterations and after all 10.
    assert run.curve("bbox/AP")[0] == [5, 10]
    assert run.curve("total_loss")[0][-1] == 10


def test_accuracy_and_curves_from_numbers(student):
    last = {"iteration": 60, "bbox/AP": 12.345, "bbox/AP50": 30.0, "bbox/AP75": 6.05}
    middle = {"iteration": 29, "bbox/AP": 3.0}
    losses = [{"iteration": 19, "loss_cls": 1.5}, {"iteration": 59, "loss_cls": 0.5}]
    write_lines(student / "metrics.json", [losses[0], middle, losses[1], last])
    run = Run("student", str(student))
    assert run.accuracy == {"AP": 12.345, "AP50": 30.0, "AP75": 6.05}
    assert run.curve("bbox/AP") == ([30, 60], [3.0, 12.345])
    assert run.curve("loss_cls") == ([20, 60], [1.5, 0.5])
    assert run.curve("loss_fcos_cls", "loss_cls") == ([20, 60], [1.5, 0.5])
    assert run.curve("absent") == ([], [])


@pytest.mark.parametrize("file", ["config.yaml", "metrics.json", "model_final.pth"])
def test_unfinished_run_is_named(student, file):
    (student / file).unlink()
    with pytest.raises(UserError, match=f"'mine': {student / file} does not exist"):
        Run("mine", str(student))


@pytest.mark.parametrize("lines", [[], [{"iteration": 19, "bbox/AP": 3.0}, {"iteration": 39}]])
def test_run_that_was_not_evaluated_is_named(student, lines):
    write_lines(student / "metrics.json", lines)
    with pytest.raises(UserError, match="'mine': .*metrics.json does not end with bbox/AP"):
        Run("mine", str(student))


def test_runs_must_share_one_test_set(runs, student):
    config = student / "config.yaml"
    text = config.read_text()
    assert text.count("  TEST:\n  - toy_labeled\n") == 1
    config.write_text(text.replace("  TEST:\n  - toy_labeled\n", "  TEST:\n  - digits_tune\n"))
    with pytest.raises(UserError, match="'other' was tested on digits_tune and 'ours' on toy"):
        read_runs([("ours", str(runs / "student")), ("other", str(student))])
    config.write_text(text.replace("  TEST:\n", "  TEST:\n  - digits_tune\n"))
    with pytest.raises(UserError, match="'two': DATASETS.TEST is .*exactly one"):
        read_runs([("two", str(student))])
