"""How the project gets at the parts, outputs and losses of each kind of detector."""

from ...config.defaults import detector_name
from ...utils.errors import UserError
from .fcos import FCOSAdapter
from .rcnn import FasterRCNNAdapter
from .retinanet import RetinaNetAdapter

ADAPTERS = {
    "RetinaNet": RetinaNetAdapter(),
    "FCOS": FCOSAdapter(),
    "GeneralizedRCNN": FasterRCNNAdapter(),
}


def adapter_of(model):
    """That of a detector, by its class."""
    return ADAPTERS[type(model).__name__]


def adapter_of_config(cfg, config_file: str):
    """That of the detector a yaml describes, be it a distiller's student or alone.

    Raises:
        UserError: it is none of ADAPTERS, or has a part that its adapter does not know.
    """
    name = detector_name(cfg)
    if name not in ADAPTERS:
        raise UserError(
            f"{config_file} describes a {name}, it must be one of {', '.join(ADAPTERS)}"
        )
    try:
        ADAPTERS[name].check(cfg)
    except UserError as error:
        raise UserError(f"{config_file}: {error}") from error
    return ADAPTERS[name]
