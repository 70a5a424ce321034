"""Teachers and students by name, as the keys of their yaml."""

import logging
import os
from dataclasses import dataclass

import torch
import yaml
from detectron2.config import CfgNode

from ..config.defaults import detector_name
from ..config.load import config_path, get_sad_cfg
from ..export.timm_weights import PACKAGES, convert_timm_file, installed_weights
from ..modeling.timm_backbone import INSTALL, TimmBackbone, create, pixel_statistics
from ..utils.errors import UserError, did_you_mean
from .detectors import DETECTORS, RETINANET, Detector, kind_of

logger = logging.getLogger(__name__)

PLAIN = ("tiny", "small", "R18", "R50")  # files of the detectors' folders
LITE = {f"lite{number}": name for number, name in enumerate(PACKAGES)}
# What the data decides, whatever a yaml of the user says.
OF_DATA = (
    ("MODEL", "ANCHOR_GENERATOR"),
    ("MODEL", "META_ARCHITECTURE"),
    ("MODEL", "FPN", "IN_FEATURES"),
    ("MODEL", "FPN", "LAST_LEVEL"),
    ("MODEL", "RESNETS", "OUT_FEATURES"),
)
OWN_BUILDERS = ("build_small_resnet_fpn_backbone", "build_timm_fpn_backbone")


@dataclass
class Network:
    name: str
    keys: dict  # as in a yaml: MODEL, INPUT.FORMAT and SOLVER.BASE_LR (for a batch of 8)
    detector: Detector = RETINANET

    @property
    def starts_from(self) -> str:
        """The weights it starts from; "" where these are random."""
        return self.keys["MODEL"].get("WEIGHTS", "")

    @property
    def of_timm(self) -> str:
        """Its name there; "" where it is not timm's."""
        return self.keys["MODEL"].get("TIMM", {}).get("NAME", "")

    @property
    def has_all_levels(self) -> bool:
        """Whether its FPN always goes to P7, as Detectron2's own do."""
        return self.keys["MODEL"].get("BACKBONE", {}).get("NAME") not in OWN_BUILDERS


def default_teacher() -> str:
    """lite0 where its weights are installed, else small; a line says what is lost then."""
    try:
        create(LITE["lite0"])
        if installed_weights(LITE["lite0"]):
            return "lite0"
    except UserError:
        pass
    logger.warning(
        "The teacher starts from random weights, with which it learns much less from few labels: "
        f"{INSTALL} brings a network that was trained on ImageNet"
    )
    return "small"


def find_network(name: str, detector: Detector = RETINANET) -> Network:
    """
    Args:
        name: one of `names()`, timm:NAME for any network of timm, or a yaml.
        detector: of which it is the network.
    Raises:
        UserError: there is no such network, or the yaml is of another detector.
    """
    if name in PLAIN:
        return _read(name, detector, name)
    if name in LITE or name.startswith("timm:"):
        return _of_timm(name, detector, LITE.get(name) or name.removeprefix("timm:"))
    if name.endswith((".yaml", ".yml")):
        return _of_yaml(name, detector)
    nearest = did_you_mean(name, names())
    raise UserError(
        f"there is no network {name!r}: give one of {', '.join(names())}, timm:NAME for any of "
        f"timm's, or a yaml{nearest}"
    )


def write_weights(network: Network, folder: str) -> None:
    """Write the ImageNet weights of one of timm's networks, and name them in its keys.

    Where they cannot be had, the network starts from random ones, which is said.
    """
    if not network.of_timm or network.starts_from:
        return
    weights = os.path.join(folder, f"{network.of_timm}.pth")
    try:
        convert_timm_file(network.of_timm, "", weights)
        network.keys["MODEL"]["WEIGHTS"] = weights
    except UserError as error:
        logger.warning(f"{network.name} starts from random weights, a great loss: {error}")


def names() -> list[str]:
    return [*PLAIN, *LITE]


def _read(name: str, detector: Detector, file: str) -> Network:
    path = config_path(f"{detector.networks}/{file}.yaml")
    return _trimmed(name, detector, CfgNode.load_yaml_with_base(path))


def _of_timm(name: str, detector: Detector, of_timm: str) -> Network:
    with torch.device("meta"):
        TimmBackbone(of_timm)  # says what is wrong with the name, or with the network
    network = _read(name, detector, "timm")
    model = network.keys["MODEL"]
    model["TIMM"]["NAME"] = of_timm
    model["PIXEL_MEAN"], model["PIXEL_STD"] = pixel_statistics(of_timm)
    return network


def _of_yaml(path: str, detector: Detector) -> Network:
    cfg = get_sad_cfg(path)  # says what is wrong with it
    content = CfgNode.load_yaml_with_base(path)
    if "META_ARCHITECTURE" in content.get("MODEL", {}):
        check_kind(path, detector_name(cfg), detector)
    return _trimmed(path, detector, content)


def check_kind(path: str, architecture: str, detector: Detector) -> None:
    """
    Raises:
        UserError: a yaml is of the other kind of detector than teacher and student are to be.
    """
    if kind_of(architecture) is not detector:
        flag = next(flag for flag, found in DETECTORS.items() if found is detector)
        raise UserError(
            f"{path} describes a {architecture}, but teacher and student are to be {flag} "
            "(--detector decides, or a teacher that is given): give a yaml of that, or another "
            "--detector"
        )


def _trimmed(name: str, detector: Detector, content: dict) -> Network:
    """What a yaml says of a network, without what the data decides and the detector ignores."""
    keys = detector.keys.num_classes, detector.keys.score_threshold, *detector.level_keys
    others = [x for d in DETECTORS.values() if d is not detector for x in d.keys.sections]
    for *sections, key in (*OF_DATA, *(key.strip(".").split(".") for key in (*keys, *others))):
        node = content
        for section in sections:
            node = node.get(section, {})
        node.pop(key, None)
    kept = {"MODEL": content.get("MODEL", {})}
    for section, key in (("INPUT", "FORMAT"), ("SOLVER", "BASE_LR")):
        if key in content.get(section, {}):
            kept[section] = {key: content[section][key]}
    return Network(name, yaml.safe_load(CfgNode(kept).dump()), detector)
