"""Finished runs are read, unfinished ones are named."""

import json
import shutil

import pytest

from sad.report.runs import Run, read_runs
from sad.utils.errors import UserError
from sad.utils.files import sha256
from toy import run_train_net


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


def test_time_leaves_out_what_a_resume_did_again(student):
    lines = [{"iteration": 19, "time": 0.5}, {"iteration": 39, "time": 9.0}]
    lines += [{"iteration": 39, "time": 1.0}, {"iteration": 40, "bbox/AP": 1.0}]
    write_lines(student / "metrics.json", lines)
    assert Run("student", str(student)).minutes == pytest.approx((20 * 0.5 + 20 * 1.0) / 60)


def test_nothing_found_is_an_ap_of_0_and_a_class_without_objects_has_none(student):
    found = {f"bbox/{key}": float("nan") for key in ("AP", "AP50", "AP75", "AP-light")}
    write_lines(student / "metrics.json", [{"iteration": 9, "bbox/AP-dark": 3.0, **found}])
    run = Run("student", str(student))
    assert run.accuracy == {"AP": 0, "AP50": 0, "AP75": 0}
    assert run.class_accuracy == {"light": None, "dark": 3.0}


def test_figures_of_detections_are_those_of_the_evaluation(runs, student):
    (run,) = read_runs([("student", str(runs / "student"))], test_set="toy_labeled")
    (plain,) = read_runs([("student", str(runs / "student"))])
    assert run.accuracy == pytest.approx(plain.accuracy, abs=1e-9)
    assert run.class_accuracy == pytest.approx(plain.class_accuracy, abs=1e-9)
    assert run.accuracy_curve() == plain.accuracy_curve() == plain.curve("bbox/AP")
    detections = student / "inference/toy_labeled/coco_instances_results.json"
    detections.write_text("[]")
    (silent,) = read_runs([("silent", str(student))], test_set="toy_labeled")
    assert silent.accuracy == {"AP": 0, "AP50": 0, "AP75": 0}
    detections.unlink()
    (absent,) = read_runs([("absent", str(student))], test_set="toy_labeled")
    with pytest.raises(UserError, match=f"{detections} cannot be read.*evaluate the run again"):
        _ = absent.results


def test_detections_of_other_weights_are_refused(runs, student, monkeypatch):
    """Whoever has evaluated them there, and however alike their AP may be."""
    (run,) = read_runs([("one", str(student))], test_set="toy_labeled")
    assert run.results
    shutil.copy(runs / "teacher/model_final.pth", student / "model_final.pth")
    (run,) = read_runs([("one", str(student))], test_set="toy_labeled")
    with pytest.raises(UserError, match="are of .*model_final.pth, not of .*evaluate"):
        _ = run.results
    arguments = ("--eval-only", "MODEL.WEIGHTS", runs / "student/model_final.pth", "OUTPUT_DIR")
    config = str(runs / "student/config.yaml")
    run_train_net(monkeypatch, "--config-file", config, *arguments, student / "again")
    text = (student / "again/inference/toy_labeled/weights.json").read_text()
    assert json.loads(text)["sha256"] == sha256(str(runs / "student/model_final.pth"))


def test_a_run_that_was_evaluated_alone_names_its_weights_from_where_it_was_started(
    runs, student, monkeypatch
):
    for file in ("model_final.pth", "model_best.pth", "metrics.json"):
        (student / file).unlink(missing_ok=True)
    config = student / "config.yaml"
    text = config.read_text()
    assert "  WEIGHTS: ''" in text
    config.write_text(text.replace("  WEIGHTS: ''", "  WEIGHTS: student/model_final.pth", 1))
    monkeypatch.chdir(runs)
    (run,) = read_runs([("alone", str(student))], test_set="toy_labeled")
    assert run.path(run.weights) == str(runs / "student/model_final.pth")


def test_curve_of_a_run_with_several_test_sets(student):
    config = student / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("  TEST:\n", "  TEST:\n  - digits_tune\n"))
    lines = [{"iteration": 9, "digits_tune/bbox/AP": 2.0, "toy_labeled/bbox/AP": 5.0}]
    write_lines(student / "metrics.json", lines)
    (run,) = read_runs([("two", str(student))], test_set="toy_labeled")
    assert run.accuracy_curve() == ([9], [2.0])


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
    write_lines(student / "metrics.json", [{"iteration": 9, "digits_tune/bbox/AP": 2.0}])
    with pytest.raises(UserError, match="'two': DATASETS.TEST is .*--test-set"):
        read_runs([("two", str(student))])


def test_two_runs_of_one_name_are_refused(runs):
    with pytest.raises(UserError, match="two runs have one name"):
        read_runs([("a", str(runs / "student")), ("a", str(runs / "teacher"))])
