"""A detector as a program of torch.export (.pt2), which torch and torchvision run alone.

To load it without this project:

    import torch, torchvision
    program = torch.export.load("student.pt2").module(check_guards=False)
    boxes, scores, labels, num, *_ = program(images)  # (N, 3, H, W), uint8 or float as exported

The other outputs are what the detections are chosen of, see the graphs of `sad.export`.

What is traced holds for any batch and size. torch guards it against images of which a feature map
has a single row or column, on which the memory's order is not what it was; no number depends on
that (the proof has such images), so the guards are left out.
"""

import io
import warnings

import torch

from ..exported.card import Card
from ..exported.program_file import CARD
from ..utils.errors import UserError, reason
from .detection_graph import DetectionGraph
from .onnx_file import DTYPES
from .same_padding import fixed_padding


def to_program(graph: DetectionGraph, card: Card, dtype: str = "uint8") -> bytes:
    """
    Args:
        dtype: of the images, a name in DTYPES.
    Raises:
        UserError: torch cannot export the model.
    """
    side = 4 * max(graph.strides)  # no map has a single row
    example = torch.zeros(2, 3, side + 1, side + graph.stride + 3, dtype=DTYPES[dtype])
    any_size = torch.export.Dim.DYNAMIC
    try:
        with warnings.catch_warnings(), torch.no_grad(), fixed_padding():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                graph,
                (example.to(graph.model.device),),
                dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
            )
            _forget_places(program)
            file = io.BytesIO()
            torch.export.save(program, file, extra_files={CARD: card.text()})
    except Exception as error:  # torch raises anything of what it cannot trace
        raise UserError(f"torch.export cannot export this model: {reason(error)}") from error
    return file.getvalue()


def _forget_places(program: torch.export.ExportedProgram) -> None:
    """Leave out of which file and line each node is: they name the folders of whoever exports."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
