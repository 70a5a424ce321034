"""A detector as one ONNX file, for onnxruntime and whatever else reads ONNX.

Written by torch's exporter of traces (`dynamo=False`): it needs no package beside onnx, and puts
one NonMaxSuppression for all images and classes where `sad.export.suppression` says so. The
exporter that torch takes by default since 2.9 needs onnxscript.
"""

import io
import warnings

import torch

from ..exported.card import KEY, Card
from ..exported.onnx_file import INPUT, make_session, need, without_images
from ..exported.runs import DTYPES, OUTPUTS
from ..utils.errors import UserError, reason
from .detection_graph import DetectionGraph
from .same_padding import fixed_padding

OPSET = 17
PLAIN = ("boxes", "scores")  # of a file that ends before the suppression


def to_onnx(graph: DetectionGraph, card: Card, dtype: str = "uint8"):
    """
    Args:
        dtype: of the images, a name in DTYPES.
    Returns:
        onnx.ModelProto: input `images` (N, 3, H, W); outputs as of `DetectionGraph`, by the names
        of OUTPUTS, or PLAIN without suppression.
    Raises:
        UserError: onnx is missing, or torch cannot export the model.
    """
    onnx = need("onnx", "an export to ONNX")
    names = [*OUTPUTS, *graph.INNER] if graph.nms else [*PLAIN]
    # Neither side alike, and none a multiple of the stride: what is traced must hold for all.
    example = torch.zeros(2, 3, 3 * graph.stride + 1, 4 * graph.stride + 3, dtype=DTYPES[dtype])
    file = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad(), fixed_padding():
            warnings.simplefilter("ignore")  # of what a trace cannot see; the proof can
            torch.onnx.export(
                graph,
                (example.to(graph.model.device),),
                file,
                dynamo=False,
                autograd_inlining=False,  # torch fails to inline a second suppression
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=names,
                dynamic_axes={INPUT: {0: "N", 2: "H", 3: "W"}, **{x: {0: "N"} for x in names}},
            )
        model = onnx.load_model_from_string(file.getvalue())
        del model.graph.output[:]
        model.graph.output.extend(_outputs(onnx, graph))
        _compute_constants(onnx, model)
        model.producer_name = "sad"
        set_card(model, card)
        onnx.checker.check_model(model)
    except Exception as error:  # tracing, exporter and checker each raise their own
        raise UserError(f"torch cannot export this model to ONNX: {reason(error)}") from error
    return model


def _outputs(onnx, graph: DetectionGraph) -> list:
    """Names, kinds of numbers and sizes, which a trace does not tell."""
    number, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    if not graph.nms:
        values = ((PLAIN[0], number, ("R", 4)), (PLAIN[1], number, ("R", graph.model.num_classes)))
    else:
        many, kinds = graph.detections, (number, number, whole, whole)
        values = zip(OUTPUTS, kinds, ((many, 4), (many,), (many,), ()), strict=True)
    return [
        onnx.helper.make_tensor_value_info(name, kind, ("N", *size)) for name, kind, size in values
    ]


def _compute_constants(onnx, model) -> None:
    """Put the values of nodes in which no image has a say in the nodes' place."""
    nodes, graph = without_images(model), model.graph
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.input[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(nodes)
    made = {name for node in nodes for name in node.output}
    others = [node for node in graph.node if node.output[0] not in made]
    wanted = sorted(made.intersection(name for node in others for name in node.input))
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    values = make_session(part.SerializeToString(), "cpu", "the export").run(wanted, {})
    del graph.node[:]
    graph.node.extend(others)
    read = {name for node in others for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.initializer.extend(map(onnx.numpy_helper.from_array, values, wanted))


def set_card(model, card: Card) -> None:
    """Let a model's metadata be this card."""
    need("onnx", "an export to ONNX").helper.set_model_props(model, {KEY: card.text()})


def with_inner(model, names: tuple[str, ...]):
    """A copy of a file's model that also gives out these values: a graph's INNER."""
    onnx = need("onnx", "an export to ONNX")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name in names:
        copy.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    return copy
