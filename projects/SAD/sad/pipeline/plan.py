"""From labels, images and wishes to data and configs in a folder; nothing is trained yet."""

import logging
import os
import tempfile
from bisect import bisect_right
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace

from ..config.defaults import detector_name
from ..config.load import get_sad_cfg
from ..inspection.labeled_set import DataSet
from ..inspection.run import JSON, PAGE, inspect_data
from ..utils.errors import UserError
from ..utils.files import write_json
from .choice import Choice, choose, contents, find_networks
from .configs import (
    data_settings,
    teacher_name,
    write_base,
    write_distilled,
    write_given_teacher,
    write_network,
    write_self_trained,
)
from .data import Data, read_data, unlabeled_root, write_data
from .estimate import seconds_per_iteration, total_seconds
from .kept_answers import KeptAnswers
from .networks import write_weights
from .paths import Paths, read_own
from .request import Request
from .settings import ROUND, ROUNDS, student_iterations, teacher_iterations
from .split import split_off
from .taught import find_taught
from .unlabeled import sift_unlabeled

logger = logging.getLogger(__name__)

FILE = "plan.json"

# What is to be done again where one of these changed; where anything else did, all of it.
AFFECTED = {
    "--student": "student, calibration, {method} and student_long, and the teacher if base.yaml "
    "changes with it",
    "the unlabelled images": "calibration, label, {method} and student_long",
}


@dataclass
class Plan:
    """plan.json: what data and configs were made from, and what is to be kept in mind.

    Attributes:
        wishes: {flag: its value, or a hash of the file that it names}.
        labels, images: hashes of what the user's files hold, see `Data`.
        share_asked: of the images that the distillation shows, see `KeptAnswers`.
        rounds: of the teacher's self-training.
    """

    wishes: dict
    labels: dict[str, str]
    images: dict[str, str]
    notes: list[str] = field(default_factory=list)
    unlabeled_root: str | None = None
    share_asked: float = 1.0
    rounds: int = 0

    @property
    def inputs(self) -> dict:
        return self.wishes | self.labels | self.images


def make_plan(request: Request, paths: Paths) -> Plan:
    """Write data and configs below the folder, unless they are there.

    Raises:
        UserError: what is asked for cannot be had; or it differs from what was planned here before.
            Nothing is written then.
    """
    networks, teacher = find_networks(request)
    data = read_data(
        data=request.data,
        labeled=request.labeled,
        images=request.images,
        unlabeled=request.unlabeled,
        val=request.val,
        test=request.test,
        layout=request.layout,
        classes=teacher and teacher.model.class_names,
    )
    if folder := _looked_through(data):
        request.check_apart(folder, f"{folder}, whose images are taken for unlabelled ones")
    wishes = request.settings() | contents(networks, teacher)
    plan = Plan(wishes, data.label_digests(), data.image_digests())
    before = _read(paths)
    if before and before.inputs == plan.inputs:
        _check_roots(paths, data)
        return before
    if before and not request.redo:
        _refuse(before.inputs, plan.inputs, networks[-1].detector.method)
    taught = find_taught(data, teacher.cfg) if teacher else set()
    split_off(data, request.seed, taught, fixed_camera=request.fixed_camera)
    sift_unlabeled(data, fixed_camera=request.fixed_camera)
    rounds = _rounds(request, data)
    choice = choose(request, data, networks, teacher)
    iterations = _iterations(request, data, choice, rounds)
    paths.take()
    if before:
        of_data = (paths.data(f"{name}.json") for name in ("train", "val", "test", "unlabeled"))
        of_all = (paths.of(name) for name in ("configs", JSON, PAGE, FILE))
        paths.keep([*of_data, *of_all])
    _write(paths, data, choice, *iterations, rounds)
    plan.share_asked = _kept_answers(paths, choice).share_asked(iterations[0])
    _inspect(paths, data, request.fixed_camera)
    plan.rounds = rounds
    plan.notes = data.notes
    plan.unlabeled_root = unlabeled_root(data) if data.unlabeled else None
    write_json(paths.of(FILE), asdict(plan), indent=1)
    return plan


def _check_roots(paths: Paths, data: Data) -> None:
    """
    Raises:
        UserError: the images are the same, and lie elsewhere than the configs say.
    """
    registered = get_sad_cfg(paths.config("student")).DATASETS.REGISTER
    for name, labels in data.sets.items():
        before = registered[name].IMAGES if name in registered else labels.image_root
        if os.path.realpath(before) != os.path.realpath(labels.image_root):
            raise UserError(
                f"the images of {name} lay in {before} when this folder was planned, and lie in "
                f"{labels.image_root} now: move them back, put a link in the old place, or give "
                "another --output"
            )


def _looked_through(data: Data) -> str | None:
    """The folder whose images are taken for unlabelled ones where they have no labels.

    Of a COCO json none: it lists its images, so that an output may lie beside it.
    """
    train = data.sets["train"]
    return data.folder or (None if train.layout == "COCO json" else train.image_root)


def _read(paths: Paths) -> Plan | None:
    names = {x.name for x in fields(Plan)}
    found = read_own(paths.of(FILE), lambda found: found.keys() == names)
    return Plan(**found) if found else None


def _refuse(before: dict, now: dict, method: str) -> None:
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    again = {AFFECTED.get(key, "everything") for key in changed}
    again = "everything" if len(again) > 1 else again.pop().format(method=method)
    raise UserError(
        f"{', '.join(changed)} changed since this folder was planned; to be done again: {again}. "
        "Give --redo for that (what is there is kept aside), or another --output"
    )


def _rounds(request: Request, data: Data) -> int:
    """Of the teacher's self-training.

    Raises:
        UserError: some are asked for, and there is nothing to learn from.
    """
    if request.rounds and not data.unlabeled:
        raise UserError(
            f"--rounds is {request.rounds}, but there are no unlabelled images that the teacher "
            "could label: give --unlabeled, or leave it out"
        )
    if request.rounds is not None:
        return request.rounds
    return ROUNDS if data.unlabeled and not request.teacher_weights else 0


def _iterations(request: Request, data: Data, choice: Choice, rounds: int) -> tuple[int, str]:
    """Of the students; and why so many."""
    if request.iterations:
        return request.iterations, "--iterations"
    if not request.minutes:
        return student_iterations(choice.facts, choice.machine)
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(folder)
        _write(paths, data, choice, 1, "")
        method = choice.networks[-1].detector.method
        names = ("student", method) if choice.teacher else ("teacher", "student", method)
        configs = {name: paths.config(name) for name in names}
        seconds = seconds_per_iteration(configs, {}, request.num_gpus)
        answers = _kept_answers(paths, choice)

    first = choice.networks[0]  # timm's weights are looked for when all is written
    is_pretrained = bool(choice.teacher or first.starts_from or first.of_timm)

    def time_of(iterations: int) -> float:
        of_teacher = teacher_iterations(iterations, is_pretrained)[0] * (1 + rounds * ROUND)
        each = {"teacher": of_teacher, "student": iterations, method: iterations}
        return total_seconds(seconds, each, request.baselines, answers.share_asked(iterations))

    iterations = bisect_right(range(1, 10**9), 60 * request.minutes, key=time_of)
    return max(1, iterations), f"so that everything takes about {request.minutes:g} minutes"


def _write(
    paths: Paths, data: Data, choice: Choice, iterations: int, why: str, rounds: int = 0
) -> None:
    """Data, weights to start from, and the configs.

    Args:
        iterations: of the students.
        rounds: of the teacher's self-training.
    """
    write_data(data, paths.data(""))
    roots = {name: labels.image_root for name, labels in data.sets.items()}
    of_data = data_settings(paths, roots, data.sets["val"] is data.sets["test"])
    write_base(paths, [*choice.settings, *of_data])
    batch = next(x.value for x in choice.settings if x.key == "SOLVER.IMS_PER_BATCH")
    networks = [replace(x, keys=deepcopy(x.keys)) for x in choice.networks]  # weights get a place
    for network in networks:
        write_weights(network, paths.of("weights"))
    weights = paths.weights("teacher")
    detector = networks[-1].detector.architecture
    is_pretrained = bool(choice.teacher or networks[0].starts_from)
    of_teacher, why_teacher = teacher_iterations(iterations, is_pretrained)
    if teacher := choice.teacher:
        weights, detector = teacher.weights, detector_name(teacher.cfg)
        write_given_teacher(paths, teacher.config, weights, of_data)
    else:
        write_network(paths, "teacher", networks[0], batch, of_teacher, why_teacher)
    write_network(paths, "student", networks[-1], batch, iterations, why)
    root = unlabeled_root(data) if data.unlabeled else None
    answers = _kept_answers(paths, choice).settings(iterations, paths.run("teacher_answers"))
    for number in range(1, rounds + 1):
        write_self_trained(paths, number, root, detector, ROUND * of_teacher)
        weights = paths.weights(teacher_name(number))
    write_distilled(paths, paths.config(teacher_name(rounds)), weights, root, detector, answers)


def _kept_answers(paths: Paths, choice: Choice) -> KeptAnswers:
    """After student.yaml is written."""
    facts, gpus = choice.facts, choice.machine.gpus
    return KeptAnswers.of(paths.config("student"), facts.num_labeled, facts.num_unlabeled, gpus)


def _inspect(paths: Paths, data: Data, fixed_camera: bool) -> None:
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
        sets,
        paths.folder,
        unlabeled=data.unlabeled,
        cfg=get_sad_cfg(paths.config("student")),
        fixed_camera=fixed_camera,
    )
    for finding in summary["findings"]:
        if finding["level"] == "warning":
            logger.warning(finding["text"])
    data.notes += [x["text"] for x in summary["findings"] if x["what"] == "leak"]
