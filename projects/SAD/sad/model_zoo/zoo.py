"""Names of trained detectors, and what belongs to them: yaml, weights, model."""

from pathlib import Path

import torch
from detectron2.config import CfgNode

from ..config.load import HOMES, config_path, get_sad_cfg
from ..exported.open import open_exported
from ..utils.errors import UserError, did_you_mean

FOLDER = "model_zoo"  # of the package, where it was installed from a wheel, or of the clone
SUFFIX = ".safetensors"


def names() -> list[str]:
    """Those of all models with weights: ["digits/SAD", ...]."""
    return sorted(_files())


def get(name: str, device: str = ""):
    """A trained detector.

    Args:
        name: one of `names`.
        device: by default a GPU where there is one, else the CPU.
    Returns:
        Detectron2's model, in eval mode and without gradients. It has `class_names`, in the order
        of its labels, and `card`, a `sad.exported.card.Card`.
    Raises:
        UserError: there is no model of this name.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return open_exported(get_checkpoint(name), device)


def get_checkpoint(name: str) -> str:
    """The file of a model's weights, with its card: what MODEL.WEIGHTS and `sad.Predictor` take.

    Raises:
        UserError: there is no model of this name.
    """
    files = _files()
    if name not in files:
        nearest = did_you_mean(name, files) or f"; it has {', '.join(sorted(files))}"
        raise UserError(f"the model zoo has no weights of {name!r}{nearest}")
    return str(files[name])


def get_config_file(name: str) -> str:
    """The yaml of a model, with weights or without: `configs/NAME.yaml`.

    Raises:
        UserError: there is no such yaml.
    """
    asked = f"configs/{name}.yaml"
    path = config_path(asked)
    if not Path(path).is_file():
        raise UserError(f"the model zoo has no config {asked}: MODEL_ZOO.md lists them")
    return path


def get_config(name: str, trained: bool = False) -> CfgNode:
    """The config of a model, not frozen.

    Args:
        trained: let MODEL.WEIGHTS be those that the model zoo has, instead of the yaml's.
    Raises:
        UserError: there is no such yaml, or there are no such weights.
    """
    cfg = get_sad_cfg(get_config_file(name))
    if trained:
        cfg.MODEL.WEIGHTS = get_checkpoint(name)
    return cfg


def _files() -> dict[str, Path]:
    """Name -> file."""
    found = {}
    for folder in (home / FOLDER for home in reversed(HOMES)):
        for path in folder.glob(f"*/*{SUFFIX}"):
            found[path.relative_to(folder).with_suffix("").as_posix()] = path
    return found
