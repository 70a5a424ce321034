"""Batch norms of a frozen network, folded into the convolutions before them."""

import logging
from collections import Counter
from collections.abc import Iterator

from detectron2.layers import Conv2d
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from .timm_backbone import TimmBackbone

logger = logging.getLogger(__name__)

# Of torch, Detectron2, torchvision and timm, which may not be installed.
NORMS = (
    "BatchNorm2d",
    "SyncBatchNorm",
    "NaiveSyncBatchNorm",
    "FrozenBatchNorm2d",
    "BatchNormAct2d",
    "SyncBatchNormAct",
    "FrozenBatchNormAct2d",
)


def fold_norms(model: nn.Module) -> None:
    """Give the work of batch norms to the convolutions before them.

    gamma (W x + b - mean) / sqrt(var + eps) + beta is a convolution, too, with other weights. Its
    outputs differ by rounding. A norm that has no convolution to itself before it stays.

    Args:
        model: a detector in eval mode that nobody trains. It is changed, and so are the names of
            its parameters.
    """
    for module in list(model.modules()):
        if isinstance(module, Conv2d) and _is_batch_norm(module.norm):
            _fold(module, module.norm)
            module.norm = None
        elif isinstance(module, TimmBackbone):
            _fold_siblings(module.net)


def _fold_siblings(net: nn.Module) -> None:
    """Of one of timm's networks, where convolution and norm are modules beside each other."""
    for conv, name in list(_pairs(net)):
        norm = net.get_submodule(name)
        _fold(net.get_submodule(conv), norm)
        parent, _, child = name.rpartition(".")
        rest = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]
        setattr(net.get_submodule(parent), child, nn.Sequential(*rest))


def _pairs(net: nn.Module) -> Iterator[tuple[str, str]]:
    """The names of each convolution whose output goes to a batch norm and nowhere else, and of this
    norm, both used once.
    """
    try:
        calls = [node for node in _Tracer().trace(net).nodes if node.op == "call_module"]
    except (fx.proxy.TraceError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        logger.info(f"The teacher's batch norms are computed by themselves: {error}")
        return
    uses = Counter(call.target for call in calls)
    for call in calls:
        if not _is_batch_norm(net.get_submodule(call.target)):
            continue
        (source,) = call.all_input_nodes
        if (
            source.op == "call_module"
            and isinstance(net.get_submodule(source.target), nn.Conv2d)
            and len(source.users) == uses[source.target] == uses[call.target] == 1
        ):
            yield source.target, call.target


class _Tracer(fx.Tracer):
    """Sees convolutions and batch norms of any kind as one step each."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        whole = isinstance(module, nn.Conv2d) or _is_batch_norm(module)
        return whole or super().is_leaf_module(module, name)


def _is_batch_norm(module: nn.Module | None) -> bool:
    """Whether a module scales each channel by statistics that it has collected."""
    return type(module).__name__ in NORMS and module.running_mean is not None


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
