"""Detectors in ONNX files, run by onnxruntime; a file from a stranger is looked through first."""

import importlib
import math

import torch
from torch import Tensor

from ..utils.errors import UserError, reason
from .card import KEY, Card
from .runs import OUTPUTS, GraphDetector, as_input

INSTALL = "install it by: pip install -e '.[export]' in the clone of this project"
INPUT = "images"
# Nodes that may do without the image: what they give is hardly larger than what the file holds.
OF_NO_IMAGE = ("Constant", "DequantizeLinear")


def open_onnx(path: str, device: str = "cpu") -> GraphDetector:
    """
    Raises:
        UserError: onnxruntime is missing, or the file is none of this project's, forged or broken,
            or made for another program. So does the detector where the graph fails on an image.
    """
    content, card, outputs = check_onnx(path)
    if outputs != list(OUTPUTS):
        raise UserError(
            f"{path} holds no non-maximum suppression (--nms none), it is for other programs: "
            "export with --nms graph"
        )
    session = make_session(content, device, path)

    def answer(images: Tensor) -> tuple[Tensor, ...]:
        try:
            return run(session, images)
        except UserError:
            raise
        except Exception as error:  # its own errors have no common class
            raise UserError(f"{path} cannot be run by onnxruntime ({reason(error)})") from error

    return GraphDetector(card, answer, "cpu")


def run(session, images: Tensor, names: list[str] | None = None) -> tuple[Tensor, ...]:
    """The outputs of a session, all or those of some names.

    Args:
        images: (N, 3, H, W).
    """
    dtype = {"tensor(uint8)": torch.uint8}.get(session.get_inputs()[0].type, torch.float32)
    found = session.run(names, {INPUT: as_input(images, dtype).numpy()})
    return tuple(map(torch.from_numpy, found))


def make_session(content: bytes, device: str, path: str):
    """
    Args:
        path: what messages call it.
    """
    onnxruntime = need("onnxruntime", path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    providers = [x for x in wanted if x in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=[*providers, "CPUExecutionProvider"]
        )
    except Exception as error:  # its own errors have no common class
        raise UserError(f"{path} cannot be run by onnxruntime ({reason(error)})") from error


def read_card(path: str) -> Card:
    """That of an ONNX file, which is looked through first; see `open_onnx`."""
    return check_onnx(path)[1]


def check_onnx(path: str) -> tuple[bytes, Card, list[str]]:
    """Look through an ONNX file before anything of it is run.

    Returns:
        its bytes, its card and the names of its outputs.
    Raises:
        UserError: it is broken or without a card; or it refers to other files, calls operators
            that are not ONNX's own, holds a graph within a graph, declares tensors that the file
            does not hold, or computes any before there is an image.
    """
    onnx = need("onnx", path)
    try:
        with open(path, "rb") as file:
            content = file.read()
        model = onnx.load_model_from_string(content)
        texts = {x.key: x.value for x in model.metadata_props}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # of protobuf
        raise UserError(f"{path} is no ONNX file ({reason(error)})") from error
    if KEY not in texts:
        raise UserError(f"{path} has no card: it is no file of this project's export")
    try:
        card = Card.read(texts[KEY])
        _check_nodes(model)
        for tensor in [*model.graph.initializer, *_attribute_tensors(model)]:
            _check_tensor(onnx, tensor)
        _check_input(onnx, model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return content, card, [x.name for x in model.graph.output]


def _check_input(onnx, model) -> None:
    """It must be images of any number and size: (N, 3, H, W), uint8 or float32."""
    if [x.name for x in model.graph.input] != [INPUT]:
        raise UserError(f"its inputs must be `{INPUT}` alone")
    images = model.graph.input[0].type.tensor_type
    if images.elem_type not in (onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT):
        raise UserError(f"its `{INPUT}` must be uint8 or float32")
    sides = [x.dim_value if x.HasField("dim_value") else None for x in images.shape.dim]
    if sides != [None, 3, None, None]:
        raise UserError(f"its `{INPUT}` must be N x 3 x H x W with N, H and W left open")


def _check_nodes(model) -> None:
    domains = {x.domain for x in model.opset_import} | {x.domain for x in model.graph.node}
    if strange := sorted(domains - {"", "ai.onnx"}):
        raise UserError(f"it calls operators of {strange[0]!r}, which are not ONNX's own")
    if len(model.functions) or len(model.graph.sparse_initializer):
        raise UserError("it holds functions or sparse tensors, which no export writes")
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g") or len(attribute.graphs):
                raise UserError(f"it holds a graph within its node {node.op_type}")
            if attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors):
                raise UserError(f"it holds a sparse tensor in its node {node.op_type}")
    for node in without_images(model):
        if node.op_type not in OF_NO_IMAGE:
            raise UserError(f"its node {node.op_type} computes what no image has a say in")


def without_images(model) -> list:
    """The nodes of an onnx.ModelProto whose values are the same for all images."""
    found, of_images = [], {INPUT}
    for node in model.graph.node:
        if of_images.isdisjoint(node.input):
            found.append(node)
        else:
            of_images.update(node.output)
    return found


def _attribute_tensors(model):
    for node in model.graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t


def _check_tensor(onnx, tensor) -> None:
    """Its numbers must be in the file, and as many as its shape says."""
    if len(tensor.external_data) or tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise UserError(f"its tensor {tensor.name[:100]} lies in another file")
    try:
        held = onnx.numpy_helper.to_array(tensor).size if _is_small_enough(tensor) else -1
    except Exception:  # of numpy or onnx, by what is wrong
        held = -1
    if held != math.prod(tensor.dims):
        raise UserError(
            f"its tensor {tensor.name[:100]} declares the shape {list(tensor.dims)[:8]}, and the "
            "file does not hold so many numbers"
        )


def _is_small_enough(tensor) -> bool:
    """Whether a shape can be true: no number takes less than 4 bits."""
    return 0 <= math.prod(tensor.dims) <= 2 * tensor.ByteSize()


def need(name: str, who: str):
    """Import onnx or onnxruntime.

    Args:
        who: needs it, for the message.
    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{who} needs {name}: {INSTALL}") from error
