"""What is taken of Detectron2 that it does not promise to keep, each with its reason."""

# The box loss of dense detectors; RetinaNet and FCOS call it from the middle of their `losses`,
# which find the number to divide by on their own.
from detectron2.modeling.box_regression import (
    _dense_box_regression_loss as dense_box_regression_loss,  # noqa: F401
)
