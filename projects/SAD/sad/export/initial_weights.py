"""Starting weights that no model zoo has: narrow ResNets cut out of full ones, torchvision's.

Both end in a .pth that MODEL.WEIGHTS takes: Detectron2's checkpointer finds `res2.0.conv1.weight`
in any model whose backbone holds such a layer.

torchvision's ResNets want, in the yaml, the pixels they were trained with:

    MODEL:
      PIXEL_MEAN: [123.675, 116.28, 103.53]  # of RGB, 0 to 255
      PIXEL_STD: [58.395, 57.12, 57.375]
      RESNETS: {STRIDE_IN_1X1: False}
    INPUT: {FORMAT: RGB}
"""

import math
import os
import re

import torch
from torch import Tensor, nn

from ..checkpoint.checkpointer import SADCheckpointer
from ..checkpoint.safe_load import read_weights
from ..config.defaults import detector_name
from ..config.detector_keys import TWO_STAGES, keys_of, value_of
from ..config.load import get_sad_cfg
from ..modeling.adapters import adapter_of_config
from ..modeling.build import build_detector
from ..utils.errors import UserError
from ..utils.files import atomic_write, make_folder

BOTTOM_UP = "bottom_up."  # the ResNet below an FPN
OUTPUTS = "cls_score|bbox_pred|objectness_logits|anchor_deltas"  # layers of a channel per meaning


def slice_file(full_config: str, weights: str, narrow_config: str, output: str) -> int:
    """Cut the weights of a yaml's model down to the model of another yaml and write them.

    Args:
        full_config: yaml of the detector that the weights fit, or whose backbone they fit.
        weights: a file or URL that MODEL.WEIGHTS takes; "" for the yaml's own MODEL.WEIGHTS.
        narrow_config: yaml of one with fewer channels and otherwise the same layers.
    Returns:
        number of tensors written.
    Raises:
        UserError: the weights do not fill the full backbone, have lost their batch statistics, or
            that is no wider version of the narrow one.
    """
    _check_output(output)
    full, cfg = _build(full_config)
    weights = weights or cfg.MODEL.WEIGHTS
    if not weights:
        raise UserError(f"{full_config} has no MODEL.WEIGHTS: give --weights")
    checkpointer = _RecordingCheckpointer(full)
    names = checkpointer.load(weights).get("class_names")
    loaded = {k: x for k, x in full.state_dict().items() if k not in checkpointer.not_loaded}
    lacking = [key for key in full.state_dict() if BOTTOM_UP in key and key not in loaded]
    if lacking:
        raise UserError(
            f"{weights} does not fill the backbone of {full_config}: {len(lacking)} keys are "
            f"missing or of another shape ({', '.join(lacking[:3])})"
        )
    narrow, narrow_cfg = _build(narrow_config)
    try:
        _check_pooling(cfg, narrow_cfg)
        sliced = slice_weights(full, loaded, narrow)
    except UserError as error:
        raise UserError(f"{full_config} cannot be cut to {narrow_config}: {error}") from error
    variances = [x for k, x in loaded.items() if k.endswith(".running_var")]
    if variances and all((x == x[0]).all() for x in variances):
        # Caffe2's and MSRA's. A norm that is trained would apply the scale a second time.
        raise UserError(
            f"{weights} has its batch norm fused into a scale, which does not hold for fewer "
            "channels: give weights with batch statistics, for example "
            "detectron2://ImageNetPretrained/torchvision/R-50.pkl"
        )
    _write(sliced, output, {"class_names": names} if names else {})
    return len(sliced)


def slice_weights(full: nn.Module, loaded: dict[str, Tensor], narrow: nn.Module) -> dict:
    """The first channels of every axis; input slices times sqrt(full / kept channels).

    The factor keeps the norm of a filter, which the variance of its output depends on, and under
    batch norm the relative size of its steps. Measured on a ResNet of bottleneck blocks trained on
    handwritten digits and halved, the variance before the last batch norm was 0.03 of the stored
    one; without a factor it was 0.002, and with full / kept, which would keep the mean, 4,000. None
    is near 1: the narrow model needs a norm that is trained, whose own statistics hide any factor.

    Layers with groups keep whole groups.

    Args:
        loaded: those of the full model's weights that are trained; the others are left out.
        full, narrow: models of the same layers.
    Returns:
        name -> tensor of the narrow model's shape; names below `bottom_up.` start there.
    Raises:
        UserError: naming the layer that cannot be cut.
    """
    targets = narrow.state_dict()
    for here, there, what in ((full.state_dict(), targets, "full"), (targets, loaded, "narrow")):
        alone = [k for k in here if BOTTOM_UP in k and k not in there and not _counter(k)]
        if alone:
            raise UserError(f"{alone[0]} is in the backbone of the {what} model alone")
    full_layers, narrow_layers = (dict(model.named_modules()) for model in (full, narrow))
    sliced = {}
    for key, weight in loaded.items():
        if key not in targets:
            continue
        shape = targets[key].shape
        if any(n > m for n, m in zip(shape, weight.shape, strict=True)):
            raise UserError(f"{key} is {list(weight.shape)}, too small for {list(shape)}")
        if re.search(rf"\.({OUTPUTS})\.", key) and shape[0] != weight.shape[0]:
            raise UserError(f"{key} has {weight.shape[0]} outputs and would have {shape[0]}")
        layer = key.rpartition(".")[0]
        groups, kept_groups = (
            getattr(layers[layer], "groups", 1) for layers in (full_layers, narrow_layers)
        )
        if max(groups, kept_groups) > 1 and shape[1] != weight.shape[1]:
            raise UserError(
                f"{key} has {weight.shape[1]} channels in each of {groups} groups and would have "
                f"{shape[1]} in {kept_groups}: groups can only be kept or left out whole "
                "(MODEL.RESNETS.NUM_GROUPS)"
            )
        kept = weight[tuple(slice(n) for n in shape)].clone()
        if weight.dim() > 1:
            kept *= math.sqrt(weight.shape[1] / shape[1])
        sliced[key.split(BOTTOM_UP)[-1]] = kept
    return sliced


def convert_torchvision_file(weights: str, output: str) -> int:
    """Write the state dict of a torchvision ResNet or ResNeXt under Detectron2's names.

    Returns:
        number of tensors written.
    Raises:
        UserError: the file cannot be read or holds something else.
    """
    _check_output(output)
    state = read_weights(weights)["model"]
    try:
        renamed = convert_torchvision(state)
    except UserError as error:
        raise UserError(f"weights {weights}: {error}") from error
    _write(renamed, output)
    return len(renamed)


TORCHVISION_NAMES = (
    (r"conv1\.", "stem.conv1."),
    (r"bn1\.", "stem.conv1.norm."),
    (r"layer(\d)\.(\d+)\.conv(\d)\.", "res{}.{}.conv{}."),
    (r"layer(\d)\.(\d+)\.bn(\d)\.", "res{}.{}.conv{}.norm."),
    (r"layer(\d)\.(\d+)\.downsample\.0\.", "res{}.{}.shortcut."),
    (r"layer(\d)\.(\d+)\.downsample\.1\.", "res{}.{}.shortcut.norm."),
)


def convert_torchvision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's names -> Detectron2's; the classifier is left out.

    Raises:
        UserError: naming a key that no torchvision ResNet has, or that is missing.
    """
    for key in ("conv1.weight", "layer4.0.conv1.weight", "layer4.0.bn1.running_var"):
        if key not in state:
            raise UserError(f"no state dict of a torchvision ResNet, {key} is missing")
    return {
        _detectron2_name(key): tensor
        for key, tensor in state.items()
        if not key.startswith("fc.") and not _counter(key)
    }


def _detectron2_name(key: str) -> str:
    for pattern, name in TORCHVISION_NAMES:
        if match := re.match(pattern, key):
            stage, *rest = match.groups() or (0,)
            return name.format(int(stage) + 1, *rest) + key[match.end() :]
    raise UserError(f"no state dict of a torchvision ResNet, it has {key}")


def _counter(key: str) -> bool:
    """Batch norm counts its batches; a frozen one does not, and nothing here reads the count."""
    return key.endswith(".num_batches_tracked")


class _RecordingCheckpointer(SADCheckpointer):
    """Keeps the names of what the file did not fill."""

    not_loaded = ()

    def _log_incompatible_keys(self, incompatible) -> None:
        misshapen = {key for key, *_ in incompatible.incorrect_shapes}
        self.not_loaded = {*incompatible.missing_keys, *misshapen}


def _build(config_file: str):
    cfg = get_sad_cfg(config_file)
    adapter_of_config(cfg, config_file)  # which refuses what is unknown
    cfg.MODEL.META_ARCHITECTURE = detector_name(cfg)
    cfg.MODEL.DEVICE = "cpu"
    return build_detector(cfg), cfg


def _check_pooling(full, narrow) -> None:
    """A box head's first layer sees a channel as so many places: half of them are no channels."""
    key = "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"
    pooled = [value_of(cfg, key) for cfg in (full, narrow)]
    if keys_of(full) == keys_of(narrow) == TWO_STAGES and pooled[0] != pooled[1]:
        raise UserError(f"{key} is {pooled[0]} and would be {pooled[1]}")


def _check_output(output: str) -> None:
    if not output.endswith(".pth"):
        raise UserError(f"--output is {output}, Detectron2 reads this format from a .pth alone")
    if os.path.isdir(output):
        raise UserError(f"--output {output} is a folder: name the .pth to write in it")


def _write(weights: dict[str, Tensor], output: str, more: dict | None = None) -> None:
    make_folder(os.path.dirname(os.path.abspath(output)), "--output in")
    with atomic_write(output, "wb") as file:
        torch.save({"model": weights, "matching_heuristics": True, **(more or {})}, file)
