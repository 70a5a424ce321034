"""Which steps an experiment has, and what each of them is made from."""

import json
import os

import pytest

from sad.config.load import get_sad_cfg
from sad.pipeline.detectors import FASTER_RCNN
from sad.pipeline.experiment import Experiment
from sad.pipeline.paths import Paths
from sad.pipeline.steps import Record, stale_steps

ALL = ["teacher", "student", "calibration", "label", "SAD", "student_long", "report"]
YAML = {"teacher.yaml": "SEED: 1\nVERSION: 2", "student.yaml": "SEED: 1\nVERSION: 2"}
YAML |= dict.fromkeys(("SAD.yaml", "student_long.yaml"), "_BASE_: student.yaml")
TAUGHT = ["calibration", "label", "SAD", "student_long", "report"]


def experiment(folder, **changes) -> Experiment:
    paths = Paths(str(folder))
    return Experiment(
        **{
            "paths": paths,
            "configs": {x: paths.config(x) for x in ("teacher", "student", "SAD", "student_long")},
            "data_files": [paths.data("train.json"), paths.data("test.json")],
            "unlabeled": ["--images", "/more"],
            "labeled": ["--labeled-json", paths.data("train.json")],
            "pseudo_labels": paths.data("pseudo_labels.json"),
            "val": (paths.data("val.json"), "/images"),
            "labels": {"the labels of train": "1"},
            "images": {"the unlabelled images": "2"},
            **changes,
        }
    )


def names(steps) -> list[str]:
    return [step.name for step in steps]


@pytest.mark.parametrize(
    ("changes", "left_out"),
    [
        ({}, []),
        ({"baselines": ()}, ["student", "student_long"]),
        ({"baselines": ("student",)}, ["student_long"]),
        ({"val": None}, ["calibration"]),
        ({"unlabeled": []}, ["calibration", "label"]),
        ({"teacher_weights": "/t.pth"}, []),
    ],
)
def test_steps(changes, left_out, tmp_path):
    steps = experiment(tmp_path, **changes).steps()
    assert names(steps) == [name for name in ALL if name not in left_out]
    assert len({step.title for step in steps}) == len(steps)


def test_rounds_of_self_training(tmp_path):
    """Each teacher labels for the next; the last one is judged, labels and teaches."""
    paths = Paths(str(tmp_path))
    teachers = ["teacher", "teacher_1", "teacher_2"]
    configs = {x: paths.config(x) for x in (*teachers, "student", "SAD", "student_long")}
    found = experiment(tmp_path, configs=configs, rounds=2)
    steps = {step.name: step for step in found.steps()}
    assert list(steps) == [
        *("teacher", "student", "label_1", "teacher_1", "label_2", "teacher_2"),
        *ALL[2:],
    ]
    weights = [paths.weights(name) for name in teachers]
    for number in (1, 2):
        labels = paths.data(f"pseudo_labels_{number}.json")
        assert steps[f"label_{number}"].made_from["the teacher's weights"] == weights[number - 1]
        assert steps[f"label_{number}"].result == [labels]
        assert steps[f"teacher_{number}"].made_from["the pseudo-labels"] == labels
    for name in ("calibration", "label", "SAD"):
        assert steps[name].made_from["the teacher's weights"] == weights[2]
    assert set(weights) < set(steps["report"].made_from.values())


def test_steps_of_a_faster_rcnn_pair(tmp_path):
    paths = Paths(str(tmp_path))
    configs = {x: paths.config(x) for x in ("teacher", "student", "TAR", "student_long")}
    found = experiment(tmp_path, configs=configs, detector=FASTER_RCNN)
    steps = {step.name: step for step in found.steps()}
    assert list(steps) == [name.replace("SAD", "TAR") for name in ALL]
    assert steps["TAR"].result == [found.weights("TAR"), found.configs["student_long"]]
    assert paths.weights("TAR") in steps["report"].made_from.values()
    assert steps["student_long"].made_from["TAR.yaml's run"] == paths.weights("TAR")


def test_warnings_of_the_calibration_are_said_at_once(tmp_path):
    (step,) = [x for x in experiment(tmp_path).steps() if x.name == "calibration"]
    lines = [{"level": "good", "text": "Fine."}, {"level": "warning", "text": "Take a better one."}]
    os.makedirs(step.folder)
    for shown, said in ((lines, True), (lines[:1], False)):
        with open(step.result[0], "w") as file:
            json.dump({"advice": {"lines": shown}}, file)
        text = step.after()
        assert os.path.join(step.folder, "calibration.html") in text and "Fine" not in text
        assert text.endswith("Take a better one.") is said


def write_yamls(tmp_path):
    (tmp_path / "configs").mkdir(exist_ok=True)
    for name, text in YAML.items():
        (tmp_path / "configs" / name).write_text(text)


def finished(tmp_path, **changes) -> Experiment:
    """All of it done: every input and result is a file that says its own path."""
    found = experiment(tmp_path, **changes)
    record = Record(str(tmp_path))
    write_yamls(tmp_path)
    if "student_long" not in found.baselines:
        (tmp_path / "configs" / "student_long.yaml").unlink()
    for step in found.steps():
        for path in filter(os.path.isabs, [*step.made_from.values(), *step.result]):
            if path.startswith(str(tmp_path)) and not os.path.exists(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w") as file:
                    file.write(path)
        record.begin(step)
        record.finish(step)
    return found


@pytest.mark.parametrize(
    ("file", "text", "again"),
    [
        ("configs/teacher.yaml", "SEED: 3", ["teacher", *TAUGHT]),
        ("configs/student.yaml", "SEED: 3", [x for x in ALL if x not in ("teacher", "label")]),
        ("configs/SAD.yaml", "SEED: 3", ["SAD", "student_long", "report"]),
        ("configs/student_long.yaml", "SEED: 3", ["student_long", "report"]),
        ("data/train.json", "{}", ALL),
        ("data/test.json", "{}", ALL),
        ("data/pseudo_labels.json", "{}", ["SAD", "student_long", "report"]),
        ("runs/teacher/model_final.pth", "better", TAUGHT),
    ],
)
def test_what_a_changed_file_makes_stale(file, text, again, tmp_path):
    found = finished(tmp_path)
    record = Record(str(tmp_path))
    assert all(map(record.is_done, found.steps()))
    (tmp_path / file).write_text(text)
    assert names(stale_steps(found.steps(), record)) == again


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"labels": {"the labels of train": "other pixels"}}, ALL),
        ({"images": {"the unlabelled images": "more"}}, TAUGHT),
        ({"opts": {"student": ["SEED", 4]}}, ["student", "calibration", "report"]),
        ({"notes": ["other images"]}, ["report"]),
        ({"num_gpus": 2, "command": "sad distill --num-gpus 2"}, []),
        ({"baselines": ()}, []),
    ],
)
def test_what_changed_wishes_make_stale(changes, again, tmp_path):
    finished(tmp_path)
    changed = experiment(tmp_path, **changes)
    record = Record(str(tmp_path))
    assert names(stale_steps(changed.steps(), record)) == again


def test_a_baseline_that_is_asked_for_later(tmp_path):
    finished(tmp_path, baselines=())
    record, steps = Record(str(tmp_path)), experiment(tmp_path).steps()
    assert not stale_steps(steps, record)
    undone = [step.name for step in steps if not record.is_done(step)]
    assert undone == ["student", "calibration", "SAD", "student_long", "report"]


def test_a_teacher_s_own_weights_are_not_in_the_runs(tmp_path):
    found = experiment(tmp_path, teacher_weights="/mine/t.pth")
    assert found.weights("teacher") == "/mine/t.pth"
    assert found.weights("SAD") == str(tmp_path / "runs" / "SAD" / "model_final.pth")
    (tmp_path / "t.pth").write_text("mine")
    found = finished(tmp_path, teacher_weights=str(tmp_path / "t.pth"))
    (tmp_path / "t.pth").write_text("another")
    again = names(stale_steps(found.steps(), Record(str(tmp_path))))
    assert again == ["teacher", *TAUGHT]


def write_metrics(tmp_path, name, *lines):
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize(
    ("seconds", "iterations"), [((0.75, 0.5), 300), ((0.5, 0.5), 200), ((0.0001, 9), 1)]
)
def test_the_longer_baseline_is_as_long_by_the_clock(seconds, iterations, tmp_path):
    """SAD was trained for 200 iterations, fewer than its config says; the config follows."""
    found = experiment(tmp_path)
    for name, time in zip(("SAD", "student"), seconds, strict=True):
        line = {"iteration": 200, "time": time, "test/bbox/AP": 5.0}
        write_metrics(tmp_path, name, line)
    (tmp_path / "configs").mkdir()
    for name in ("SAD", "student"):
        (tmp_path / "configs" / f"{name}.yaml").write_text("SOLVER: {MAX_ITER: 900}")
    (tmp_path / "runs" / "SAD" / "model_final.pth").touch()
    step = next(step for step in found.steps() if step.name == "SAD")
    step.work()
    long = get_sad_cfg(str(tmp_path / "configs" / "student_long.yaml"))
    assert long.SOLVER.MAX_ITER == iterations
    assert long.OUTPUT_DIR == str(tmp_path / "runs" / "student_long")
    assert set(step.result) == {found.weights("SAD"), found.configs["student_long"]}
    assert step.after() == ", AP 5.0"


def test_a_run_without_an_ap_says_none(tmp_path):
    step = experiment(tmp_path).steps()[0]
    assert step.after() == ""
    write_metrics(tmp_path, "teacher", {"iteration": 3, "bbox/AP": float("nan")})
    assert step.after() == ", AP 0.0"
