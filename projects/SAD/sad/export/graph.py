"""A detector as a function of tensors: what export turns into a graph of another program."""

from .dense_graph import DenseGraph
from .detection_graph import DetectionGraph
from .region_graph import RegionGraph


def graph_of(model, nms: bool = True) -> DetectionGraph:
    """
    Args:
        model: a detector of Detectron2's, in eval mode.
        nms: whether the graph ends in detections.
    Raises:
        UserError: it has parts that no graph here knows.
    """
    if type(model).__name__ == "GeneralizedRCNN":
        return RegionGraph(model, nms)
    return DenseGraph(model, nms)
