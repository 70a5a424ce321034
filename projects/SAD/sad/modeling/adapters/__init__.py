"""How a distiller gets at the outputs, targets and losses of each kind of detector."""

from .fcos import FCOSAdapter
from .retinanet import RetinaNetAdapter

ADAPTERS = {"RetinaNet": RetinaNetAdapter(), "FCOS": FCOSAdapter()}


def adapter_of(model):
    """That of a detector, by its class."""
    return ADAPTERS[type(model).__name__]
