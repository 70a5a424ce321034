"""The steps of an experiment: in which order, from what, and by which commands."""

import json

import pytest

from sad.config.load import get_sad_cfg
from sad.pipeline.configs import Paths
from sad.pipeline.experiment import Experiment
from toy import REPOSITORY


@pytest.fixture
def experiment(tmp_path):
    configs = REPOSITORY / "configs" / "digits"
    return Experiment(
        Paths(str(tmp_path)),
        {name: str(configs / f"{name}.yaml") for name in ("teacher", "student", "SAD")}
        | {"student_long": str(tmp_path / "configs" / "student_long.yaml")},
        [str(tmp_path / "train.json")],
        ["--images", "more"],
        ["--labeled-json", "train.json"],
        str(tmp_path / "pseudo_labels.json"),
        val=("val.json", "images"),
    )


def names(experiment) -> list[str]:
    return [step.name for step in experiment.steps()]


def test_order(experiment):
    everything = ["teacher", "student", "calibration", "label", "SAD", "student_long", "report"]
    assert names(experiment) == everything
    experiment.baselines = ()
    assert names(experiment) == ["teacher", "calibration", "label", "SAD", "report"]
    experiment.val = None
    assert names(experiment) == ["teacher", "label", "SAD", "report"]
    experiment.unlabeled = []
    assert names(experiment) == ["teacher", "SAD", "report"]


def test_each_step_depends_on_those_before(experiment):
    steps = {step.name: step for step in experiment.steps()}
    teacher = experiment.weights("teacher")
    assert teacher in steps["label"].made_from.values()
    assert {teacher, experiment.pseudo_labels} <= set(steps["SAD"].made_from.values())
    assert experiment.weights("SAD") in steps["student_long"].made_from.values()
    assert {teacher, experiment.weights("SAD")} <= set(steps["report"].made_from.values())
    experiment.teacher_weights = "/elsewhere.pth"
    steps = {step.name: step for step in experiment.steps()}
    assert "/elsewhere.pth" in steps["SAD"].made_from.values()


def metrics(experiment, name, *lines):
    folder = experiment.paths.run(name)
    path = f"{folder}/metrics.json"
    import os

    os.makedirs(folder)
    with open(path, "w") as file:
        file.write("".join(f"{json.dumps(line)}\n" for line in lines))


def test_ap_of_a_finished_run(experiment):
    assert experiment.ap("student") is None
    last = {"iteration": 9, "val/bbox/AP": 3.0, "test/bbox/AP": 5.0, "time": 2.0}
    metrics(experiment, "student", last)
    metrics(experiment, "SAD", {"iteration": 9, "bbox/AP": float("nan"), "time": 3.0})
    assert experiment.ap("student") == 5.0
    assert experiment.ap("SAD") == 0.0  # nothing was found


def test_the_long_baseline_takes_as_long(experiment, tmp_path):
    metrics(experiment, "student", {"iteration": 9, "time": 2.0})
    metrics(experiment, "SAD", {"iteration": 9, "time": 3.0})
    (tmp_path / "configs").mkdir()
    student = REPOSITORY / "configs" / "digits" / "student.yaml"
    (tmp_path / "configs" / "student.yaml").write_text(f"_BASE_: {student}\n")
    experiment._plan_long()
    cfg = get_sad_cfg(experiment.configs["student_long"])
    assert cfg.SOLVER.MAX_ITER == 3000 and cfg.OUTPUT_DIR == experiment.paths.run("student_long")
