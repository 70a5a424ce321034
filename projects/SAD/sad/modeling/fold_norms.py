"""Batch norms of a frozen network, folded into the convolutions before them."""

import copy
import logging
from collections import Counter
from collections.abc import Iterator

import torch
from detectron2.layers import Conv2d
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .timm_backbone import TimmBackbone

logger = logging.getLogger(__name__)

# By name, since timm may not be installed: of torch, Detectron2, torchvision and timm. Others, such
# as convolutions that normalise their weights, stay as they are.
CONVOLUTIONS = ("Conv2d", "Conv2dSame")
NORMS = (
    "BatchNorm2d",
    "SyncBatchNorm",
    "NaiveSyncBatchNorm",
    "FrozenBatchNorm2d",
    "BatchNormAct2d",
    "SyncBatchNormAct",
    "FrozenBatchNormAct2d",
)
TOLERANCE = 0.01  # of the largest value of a map; TF32 rounds to 0.001


def fold_norms(model: nn.Module) -> None:
    """Give the work of batch norms to the convolutions before them.

    gamma (W x + b - mean) / sqrt(var + eps) + beta is a convolution, too, with other weights. Its
    outputs differ by rounding. A norm that has no convolution to itself before it stays.

    Args:
        model: a detector in eval mode that nobody trains. It is changed, and so are the names of
            its parameters.
    """
    for module in list(model.modules()):
        if type(module) is Conv2d and _is_batch_norm(module.norm):
            _fold(module, module.norm)
            module.norm = None
        elif isinstance(module, TimmBackbone):
            module.net = _folded(module.net, module.image_channels)


def _folded(net: nn.Module, channels: int) -> nn.Module:
    """One of timm's networks, where convolution and norm are modules beside each other; itself
    where its maps would change.

    Args:
        channels: of its images.
    """
    folded = copy.deepcopy(net)
    for conv, name in list(_pairs(folded)):
        norm = folded.get_submodule(name)
        _fold(folded.get_submodule(conv), norm)
        parent, _, child = name.rpartition(".")
        rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
        setattr(folded.get_submodule(parent), child, nn.Sequential(*rest))
    weights = next(net.parameters())
    if weights.is_meta:
        return folded
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels, 64, 64, generator=generator).to(weights)
    with torch.no_grad():
        for ours, theirs in zip(folded(image), net(image), strict=True):
            if not (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max():
                logger.warning("A teacher's batch norms stay: folding them changes its maps")
                return net
    return folded


def _pairs(net: nn.Module) -> Iterator[tuple[str, str]]:
    """The names of each convolution whose output goes to a batch norm and nowhere else, and of this
    norm, both used once.
    """
    try:
        calls = [node for node in _Tracer().trace(net).nodes if node.op == "call_module"]
    except Exception as error:  # whatever a network's code makes of a tensor without values
        logger.info(f"A teacher's batch norms stay, since its code cannot be followed: {error}")
        return
    uses = Counter(call.target for call in calls)
    for call in calls:
        if not _is_batch_norm(net.get_submodule(call.target)):
            continue
        (source,) = call.all_input_nodes
        if (
            source.op == "call_module"
            and _is_convolution(net.get_submodule(source.target))
            and len(source.users) == uses[source.target] == uses[call.target] == 1
        ):
            yield source.target, call.target


class _Tracer(fx.Tracer):
    """Sees convolutions and batch norms as one step each."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        whole = _is_convolution(module) or _is_batch_norm(module)
        return whole or super().is_leaf_module(module, name)


def _is_convolution(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and type(module).__name__ in CONVOLUTIONS


def _is_batch_norm(module: nn.Module | None) -> bool:
    """Whether a module scales each channel by statistics that it has collected."""
    known = type(module).__name__ in NORMS and not module.training
    return known and module.running_mean is not None


def _fold(conv: nn.Conv2d, norm: nn.Module) -> None:
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
