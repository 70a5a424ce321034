"""From labels, images and wishes to data and configs in a folder; nothing is trained yet."""

import json
import logging
import os
from dataclasses import dataclass, field
from itertools import count

from ..config.defaults import detector_name
from ..config.load import config_path, get_sad_cfg
from ..data.datasets import register_coco_set
from ..inspection.labeled_set import DataSet
from ..inspection.run import inspect_data
from ..modeling.build import load_detector
from ..utils.errors import UserError
from ..utils.files import lock_folder, make_folder, write_json
from .configs import (
    Paths,
    data_settings,
    write_base,
    write_distilled,
    write_given_teacher,
    write_network,
)
from .data import Data, leave_out_known, read_data, split_off, unlabeled_root, write_data
from .estimate import seconds_per_iteration, total_seconds
from .facts import Facts, Machine
from .flips import may_flip
from .networks import Network, default_teacher, find_network, write_weights
from .request import Request
from .settings import (
    STUDENT,
    accumulation,
    base_settings,
    followed_settings,
    teacher_iterations,
)
from .yaml_text import Setting

logger = logging.getLogger(__name__)

# What is to be done again where one of these changed; where anything else did, all of it.
AFFECTED = {
    "--student": "student, SAD and student_long",
    "--unlabeled": "label, SAD and student_long",
    "the unlabelled images": "label, SAD and student_long",
}


@dataclass
class Plan:
    """plan.json: what data and configs were made from, and what is to be kept in mind.

    Attributes:
        inputs: {flag, or what it names: its value, or a hash of its content}.
    """

    inputs: dict
    notes: list[str] = field(default_factory=list)
    unlabeled_root: str | None = None
    val_is_test: bool = False

    @classmethod
    def read(cls, paths: Paths) -> "Plan | None":
        path = os.path.join(paths.folder, "plan.json")
        if not os.path.exists(path):
            return None
        with open(path, encoding="utf-8") as file:
            return cls(**json.load(file))


def make_plan(request: Request, paths: Paths) -> Plan:
    """Write data and configs below the folder, unless they are there.

    Raises:
        UserError: what is asked for cannot be had; or it differs from what was planned here before.
    """
    networks, teacher = _networks(request)
    data = read_data(
        data=request.data,
        labeled=request.labeled,
        images=request.images,
        unlabeled=request.unlabeled,
        val=request.val,
        test=request.test,
        layout=request.layout,
        classes=teacher and teacher.class_names,
    )
    inputs = request.settings() | data.digests()
    plan = Plan.read(paths)
    if plan and plan.inputs == inputs:
        return plan
    if plan and not request.redo:
        _refuse(plan.inputs, inputs)
    split_off(data, request.seed)
    leave_out_known(data)
    return _write(request, paths, data, networks, teacher, inputs)


def _refuse(before: dict, now: dict) -> None:
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    again = {AFFECTED.get(key, "everything") for key in changed}
    again = "everything" if "everything" in again or len(again) > 1 else again.pop()
    raise UserError(
        f"{', '.join(changed)} changed since this folder was planned; to be done again: {again}. "
        "Give --redo for that (what is there is kept aside), or another --output"
    )


@dataclass
class GivenTeacher:
    config: str
    weights: str
    class_names: list[str]
    cfg: object


def _networks(request: Request) -> tuple[list[Network], GivenTeacher | None]:
    """The networks to train, the student last; and the teacher that is there already."""
    student = find_network(request.student)
    if not request.teacher_weights:
        return [find_network(request.teacher or default_teacher()), student], None
    config = config_path(request.teacher)
    model, cfg = load_detector(config, request.teacher_weights, "meta")
    if not model.class_names:
        raise UserError(
            f"--teacher-weights {request.teacher_weights} do not name their classes: set "
            f"SAD.TEACHER.CLASS_NAMES in {request.teacher}, in the order of the network's outputs"
        )
    weights = os.path.abspath(request.teacher_weights)
    return [student], GivenTeacher(config, weights, model.class_names, cfg)


def _write(
    request: Request,
    paths: Paths,
    data: Data,
    networks: list[Network],
    teacher: GivenTeacher | None,
    inputs: dict,
) -> Plan:
    own_folder(paths.folder)
    _set_aside(paths.folder)
    write_data(data, paths.data(""))
    roots = {name: labels.image_root for name, labels in data.sets.items()}
    register_coco_set("train", paths.data("train.json"), roots["train"])
    facts = Facts.of("train", len(data.unlabeled))
    machine = Machine.this(request.num_gpus)
    flips = may_flip(facts.class_names)
    if request.flips is not None:
        flips = request.flips, "as --flips asks for"
    for network in networks:
        write_weights(network, os.path.join(paths.folder, "weights"))
    if teacher:
        settings = followed_settings(teacher.cfg, facts, machine, flips=flips)
    else:
        settings = base_settings(facts, machine, networks, flips=flips)
    settings.append(accumulation(settings, networks[0], machine))
    settings.append(Setting("SEED", request.seed))
    val_is_test = data.sets["val"] is data.sets["test"]
    of_data = data_settings(paths, roots, val_is_test)
    write_base(paths, [*settings, *of_data])
    batch = next(x.value for x in settings if x.key == "SOLVER.IMS_PER_BATCH")
    if teacher:
        write_given_teacher(paths, teacher.config, teacher.weights, of_data)

    def write_networks(iterations: int, why: str) -> None:
        if not teacher:
            write_network(paths, "teacher", networks[0], batch, iterations, why)
        why = f"{STUDENT} times the teacher's: it has more images to learn from"
        write_network(paths, "student", networks[-1], batch, STUDENT * iterations, why)

    root = unlabeled_root(data) if data.unlabeled else None
    weights = teacher.weights if teacher else paths.weights("teacher")
    detector = detector_name(teacher.cfg) if teacher else "RetinaNet"
    write_distilled(paths, paths.config("teacher"), weights, root, detector)
    write_networks(*teacher_iterations(facts, machine))
    if request.iterations:
        write_networks(request.iterations, "--iterations")
    elif request.minutes:
        configs = {name: paths.config(name) for name in ("teacher", "student", "SAD")}
        seconds = seconds_per_iteration(configs, {})
        one = {"teacher": 1, "student": STUDENT, "SAD": STUDENT}
        iterations = round(60 * request.minutes / total_seconds(seconds, one, request.baseline))
        iterations = max(1, iterations)
        write_networks(iterations, f"so that everything takes about {request.minutes:g} minutes")
    _inspect(paths, data, request)
    plan = Plan(inputs, data.notes, root, val_is_test)
    write_json(os.path.join(paths.folder, "plan.json"), plan.__dict__, indent=1)
    return plan


def _inspect(paths: Paths, data: Data, request: Request) -> None:
    """Write inspection.html and say what is suspicious."""
    sets = {
        name: DataSet(
            paths.data(f"{name}.json"),
            labels.image_root,
            labels.source,
            labels.mended,
            labels.left_out,
        )
        for name, labels in data.sets.items()
        if name != "val" or labels is not data.sets["test"]
    }
    summary = inspect_data(
        sets, paths.folder, unlabeled=data.unlabeled, cfg=get_sad_cfg(paths.config("student"))
    )
    for finding in summary["findings"]:
        if finding["level"] == "warning":
            logger.warning(finding["text"])


def own_folder(folder: str) -> None:
    """Keep the output folder to this process until it ends.

    Raises:
        UserError: it cannot be written to, or another process has it.
    """
    make_folder(folder, "--output")
    lock_folder(folder, "--output")


def _set_aside(folder: str) -> None:
    """Move data and configs that were planned before to old/plan1, old/plan2 and so on."""
    found = [
        name
        for name in ("configs", "data", "plan.json")
        if os.path.exists(os.path.join(folder, name))
    ]
    if not found:
        return
    kept = next(
        x for n in count(1) if not os.path.exists(x := os.path.join(folder, "old", f"plan{n}"))
    )
    os.makedirs(kept)
    for name in found:
        os.rename(os.path.join(folder, name), os.path.join(kept, name))
    logger.warning(f"{', '.join(found)} of before lie in {kept}")
