"""A detector as a program of torch.export or as machine code (.pt2), which torch and torchvision
run alone.

To load it without this project:

    import torch, torchvision
    program = torch.export.load("student.pt2").module(check_guards=False)
    program = torch._inductor.aoti_load_package("student.pt2")  # of --format aotinductor
    boxes, scores, labels, num, *_ = program(images)

with contiguous images (N, 3, H, W), uint8 or float32 as exported: machine code does not look.

The other outputs are what the detections are chosen of, see the graphs of `sad.export`.

What is traced holds for any batch and size. torch guards it against images of which a feature map
has a single row or column, on which the memory's order is not what it was; no number depends on
that (the proof has such images), so the guards are left out.
"""

import io
import warnings

import torch

from ..exported.card import Card
from ..exported.program_file import CARD, CODE, describe_code
from ..exported.runs import DTYPES
from ..utils.compat import compiled_package
from ..utils.errors import UserError, reason
from .detection_graph import DetectionGraph
from .same_padding import fixed_padding


def to_program(graph: DetectionGraph, card: Card, dtype: str = "uint8") -> bytes:
    """
    Args:
        dtype: of the images, a name in DTYPES.
    Raises:
        UserError: torch cannot export the model.
    """
    program, file = _program(graph, dtype), io.BytesIO()
    torch.export.save(program, file, extra_files={CARD: card.text()})
    return file.getvalue()


def to_package(graph: DetectionGraph, card: Card, dtype: str = "uint8") -> bytes:
    """What AOTInductor compiles of the program, for CPUs that can do what this one can.

    Args:
        dtype: of the images, a name in DTYPES.
    Raises:
        UserError: torch cannot export the model or compile it.
    """
    extra_files = {CARD: card.text(), CODE: describe_code(dtype)}
    program = _program(graph, dtype)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return compiled_package(program, extra_files)
    except Exception as error:  # of the compiler, or of what torch writes for it
        raise UserError(f"AOTInductor cannot compile this model: {reason(error)}") from error


def _program(graph: DetectionGraph, dtype: str) -> torch.export.ExportedProgram:
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
    except Exception as error:  # torch raises anything of what it cannot trace
        raise UserError(f"torch.export cannot export this model: {reason(error)}") from error
    _forget_places(program)
    return program


def _forget_places(program: torch.export.ExportedProgram) -> None:
    """Leave out of which file and line each node is: they name the folders of whoever exports."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
