"""Which networks are trained, and by which settings."""

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass

import torch
from detectron2.config import CfgNode

from ..config.defaults import detector_name
from ..config.load import config_path, get_sad_cfg
from ..data.datasets import register_coco_set
from ..layouts.labels import Labels
from ..modeling.build import build_detector, load_detector
from ..modeling.teacher import check_pair
from ..utils.errors import UserError
from ..utils.files import sha256
from .data import Data
from .detectors import RETINANET, find_detector, kind_of
from .facts import Facts, Machine
from .flips import may_flip
from .networks import Network, check_kind, default_teacher, find_network
from .request import Request
from .settings import accumulation, as_cfg, base_settings, followed_settings
from .yaml_text import Setting, as_settings


@dataclass
class GivenTeacher:
    """One that is trained already."""

    config: str
    weights: str
    model: torch.nn.Module  # without memory
    cfg: CfgNode


def find_networks(request: Request) -> tuple[list[Network], GivenTeacher | None]:
    """The networks to train, the student last; and the teacher that is there already.

    Raises:
        UserError: there is no such network or detector, the networks are of different ones, or the
            weights do not fit or name no classes.
    """
    detector = find_detector(request.detector) if request.detector else RETINANET
    if not request.teacher_weights:
        names = request.teacher or default_teacher(), request.student
        return [find_network(name, detector) for name in names], None
    config = os.path.abspath(config_path(request.teacher))  # a yaml elsewhere is based on it
    architecture = detector_name(get_sad_cfg(config))
    if request.detector:
        check_kind(config, architecture, detector)
    student = find_network(request.student, kind_of(architecture))
    model, cfg = load_detector(config, request.teacher_weights, "meta")
    if not model.class_names:
        raise UserError(
            f"--teacher-weights {request.teacher_weights} do not name their classes: set "
            f"SAD.TEACHER.CLASS_NAMES in {request.teacher}, in the order of the network's outputs"
        )
    weights = os.path.abspath(request.teacher_weights)
    return [student], GivenTeacher(config, weights, model, cfg)


def contents(networks: list[Network], teacher: GivenTeacher | None) -> dict:
    """{flag: a hash of the file that it names}, of networks that have no name."""
    found = {}
    for flag, network in zip(("--student", "--teacher"), reversed(networks), strict=False):
        if network.name.endswith((".yaml", ".yml")):
            found[flag] = _hash(json.dumps(network.keys, sort_keys=True))
    if teacher:
        found["--teacher"] = _hash(teacher.cfg.dump())
        found["--teacher-weights"] = f"{teacher.weights}, {sha256(teacher.weights)}"
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Choice:
    """Networks and settings, and what they were chosen from."""

    networks: list[Network]  # to be trained, the student last
    teacher: GivenTeacher | None
    facts: Facts
    machine: Machine
    settings: list[Setting]  # what teacher and student have in common, but for the data


def choose(
    request: Request, data: Data, networks: list[Network], teacher: GivenTeacher | None
) -> Choice:
    """What fits the labelled images that are trained on.

    Raises:
        UserError: a network cannot be built, or teacher and student are no pair.
    """
    facts = _facts(data.sets["train"], len(data.unlabeled))
    machine = Machine.this(request.num_gpus)
    flips = may_flip(facts.class_names)
    if request.flips is not None:
        flips = request.flips, "as --flips asks for"
    if teacher:
        settings = followed_settings(teacher.cfg, facts, machine, flips=flips)
    else:
        settings = base_settings(facts, machine, networks, flips=flips, size=request.size)
    models = [_build(network, settings) for network in networks]
    check_pair(models[-1], teacher.model if teacher else models[0])
    settings.append(accumulation(settings, networks[0], machine))
    settings.append(Setting("SEED", request.seed))
    return Choice(networks, teacher, facts, machine, settings)


def _build(network: Network, settings: list[Setting]) -> torch.nn.Module:
    on_meta = Setting("MODEL.DEVICE", "meta")
    try:
        return build_detector(as_cfg([*as_settings(network.keys), *settings, on_meta]))
    except UserError as error:
        raise UserError(f"network {network.name}: {error}") from error


def _facts(train: Labels, num_unlabeled: int) -> Facts:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "train.json")
        train.write(path)
        register_coco_set("train", path, train.image_root)
        return Facts.of("train", num_unlabeled)
