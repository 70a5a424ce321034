"""How the project gets at the parts, outputs and losses of each kind of detector."""

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
