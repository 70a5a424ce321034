"""The four yamls of an experiment: what is common, teacher, student, and the student
with SAD or TAR.

Once written they are the only truth: who edits one changes the experiment.
"""

import os
from collections.abc import Sequence

from ..utils.files import atomic_write
from .detectors import kind_of
from .networks import Network
from .paths import Paths
from .yaml_text import Setting, as_settings, to_yaml

EVALUATIONS = 5  # on the validation set, in the course of a training


def teacher_name(number: int) -> str:
    """Of config and run, after so many rounds of self-training."""
    return f"teacher_{number}" if number else "teacher"


def registered(name: str, json_file: str, images: str) -> list[Setting]:
    return [
        Setting(f"DATASETS.REGISTER.{name}.JSON", json_file),
        Setting(f"DATASETS.REGISTER.{name}.IMAGES", images),
    ]


def data_settings(paths: Paths, roots: dict[str, str], val_is_test: bool) -> list[Setting]:
    """
    Args:
        roots: {set: its image folder}.
    """
    found = [
        x
        for name in ("train", "val", "test")
        for x in registered(name, paths.data(f"{name}.json"), roots[name])
    ]
    found += [Setting("DATASETS.TRAIN", ["train"])]
    if val_is_test:
        return [*found, Setting("DATASETS.TEST", ["test"]), Setting("DATASETS.VAL", [])]
    return [
        *found,
        Setting("DATASETS.TEST", ["val", "test"], "after training"),
        Setting("DATASETS.VAL", ["val"], "in its course; choices are made by it"),
    ]


def write_base(paths: Paths, settings: Sequence[Setting]) -> None:
    header = (
        "What teacher and student have in common, and why.\nIt was chosen once; change it freely."
    )
    _write(paths.config("base"), to_yaml([*settings, Setting("VERSION", 2)], header))


def write_network(
    paths: Paths, name: str, network: Network, batch: int, iterations: int, why: str
) -> None:
    """teacher.yaml or student.yaml."""
    settings = [
        x if x.key != "SOLVER.BASE_LR" else Setting(x.key, x.value * batch / 8, _of(batch))
        for x in as_settings(network.keys)
    ]
    settings += schedule(iterations, why)
    settings.append(Setting("OUTPUT_DIR", paths.run(name)))
    whose = "The teacher" if name == "teacher" else "The student, trained alone"
    _write(
        paths.config(name), to_yaml(settings, f"{whose}: the network {network.name}.", "base.yaml")
    )


def _of(batch: int) -> str:
    return f"for {batch} images a step"


def write_given_teacher(
    paths: Paths, config: str, weights: str, of_data: Sequence[Setting]
) -> None:
    """teacher.yaml of a teacher that is there already."""
    settings = [
        *of_data,
        Setting("MODEL.WEIGHTS", weights),
        Setting("OUTPUT_DIR", paths.run("teacher")),
    ]
    header = "The teacher that was given, on the data at hand."
    _write(paths.config("teacher"), to_yaml(settings, header, config))


def schedule(iterations: int, why: str) -> list[Setting]:
    period = max(1, iterations // EVALUATIONS)
    return [
        Setting("SOLVER.MAX_ITER", iterations, why),
        Setting("SOLVER.CHECKPOINT_PERIOD", period),
        Setting("SOLVER.CHECKPOINTS_TO_KEEP", 1),
        Setting("TEST.EVAL_PERIOD", period),
    ]


def write_distilled(
    paths: Paths,
    teacher_config: str,
    teacher_weights: str,
    images: str | None,
    detector: str,
    answers: Sequence[Setting] = (),
) -> None:
    """SAD.yaml or TAR.yaml.

    Args:
        detector: as MODEL.META_ARCHITECTURE names it.
        images: the folder of the unlabelled images; None where there are none.
        answers: see `KeptAnswers.settings`.
    """
    settings = [
        Setting("MODEL.META_ARCHITECTURE", "Distiller"),
        Setting("SAD.STUDENT.META_ARCHITECTURE", detector),
        Setting("SAD.TEACHER.CONFIG_FILE", teacher_config),
        Setting("SAD.TEACHER.WEIGHTS", teacher_weights),
        *answers,
        *kind_of(detector).terms(),
    ]
    if images:
        settings += registered("pseudo_labels", paths.data("pseudo_labels.json"), images)
        settings.append(
            Setting("DATASETS.UNLABELED", ["pseudo_labels"], "boxes that the teacher finds")
        )
    method = kind_of(detector).method
    settings.append(Setting("OUTPUT_DIR", paths.run(method)))
    header = "The student, taught by the teacher."
    _write(paths.config(method), to_yaml(settings, header, "student.yaml"))


def write_self_trained(
    paths: Paths, number: int, images: str, detector: str, iterations: int
) -> None:
    """teacher_1.yaml and so on: the teacher's network on its own pseudo-labels, too.

    Args:
        number: of the round, from 1 on.
        images: the folder of the unlabelled images.
        detector: as MODEL.META_ARCHITECTURE names it.
        iterations: of the round.
    """
    labels = f"pseudo_labels_{number}"
    settings = [
        Setting("MODEL.META_ARCHITECTURE", "Distiller"),
        Setting("SAD.STUDENT.META_ARCHITECTURE", detector),
        Setting("SAD.DISTILL.TERMS", [], "it learns from boxes alone"),
        *registered(labels, paths.data(f"{labels}.json"), images),
        Setting("DATASETS.UNLABELED", [labels], "boxes that the teacher before it finds"),
        *schedule(iterations, "it has more images to learn from"),
        Setting("OUTPUT_DIR", paths.run(teacher_name(number))),
    ]
    header = "The teacher anew, on all images."
    _write(paths.config(teacher_name(number)), to_yaml(settings, header, "teacher.yaml"))


def write_long(paths: Paths, iterations: int, method: str) -> None:
    """student_long.yaml: the student alone for the time that its distillation takes."""
    settings = schedule(iterations, f"as long as {method}.yaml was trained")
    settings.append(Setting("OUTPUT_DIR", paths.run("student_long")))
    header = "The student alone, for as long as its distillation takes."
    _write(paths.config("student_long"), to_yaml(settings, header, "student.yaml"))


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with atomic_write(path) as file:
        file.write(text)
