"""An ONNX file whose convolutions compute in 8 bits: onnxruntime's static quantisation.

Weights are signed, with a scale for each channel; activations unsigned, with scales found on
unlabelled images. The last convolutions of the head and all decoding stay in float: the logits of
all classes would share one scale, and most of them lie near the bias that says "background". So
does a Faster R-CNN's box head: its input is what was pooled, not what a convolution gave.
"""

import os
import tempfile
from collections.abc import Iterable

import torch

from ..exported.onnx_file import INPUT, need

LAST = ("cls_score", "bbox_pred", "ctrness", "objectness_logits", "anchor_deltas")  # of the heads
TYPES = ("Conv", "Relu", "Add", "MaxPool", "Resize")


def quantize(model, images: Iterable[torch.Tensor]):
    """
    Args:
        model: onnx.ModelProto as of `to_onnx`.
        images: (3, H, W) uint8 each, resized as for the detector.
    Returns:
        onnx.ModelProto with the same inputs, outputs and card.
    Raises:
        UserError: onnxruntime is missing.
    """
    onnx = need("onnx", "an export to int8")
    quantization = need("onnxruntime.quantization", "an export to int8")
    prepare = need("onnxruntime.quantization.shape_inference", "an export to int8")
    kind = model.graph.input[0].type.tensor_type.elem_type
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "float.onnx")
        onnx.save_model(model, path)
        # Onnxruntime's own simplifications first: scales and shifts go into the convolutions.
        simple = os.path.join(folder, "simple.onnx")
        prepare.quant_pre_process(path, simple, skip_symbolic_shape=True)
        network = _network(onnx.load_model(simple))
        path = os.path.join(folder, "int8.onnx")
        quantization.quantize_static(
            simple,
            path,
            _Reader(images, onnx.helper.tensor_dtype_to_np_dtype(kind)),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # 7 bits of a weight: sums of 8 overflow on CPUs without VNNI
            op_types_to_quantize=list(TYPES),
            nodes_to_quantize=network,
        )
        quantized = onnx.load_model(path)
    used = {node.domain for node in quantized.graph.node}
    imports = [x for x in quantized.opset_import if x.domain in used]
    del quantized.opset_import[:]
    quantized.opset_import.extend(imports)
    onnx.helper.set_model_props(quantized, {x.key: x.value for x in model.metadata_props})
    return quantized


def _network(model) -> list[str]:
    """Names of the nodes from the normalised image to what the last convolutions read."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    last = [x for x in model.graph.node if x.op_type == "Conv" and _is_last(x)]
    waiting = [node.input[0] for node in last]
    found = {}
    while waiting:
        node = made_by.get(waiting.pop())
        if node is not None and node.name not in found:
            found[node.name] = node
            # The others of most nodes are weights, or sizes, computed in whole numbers.
            waiting += node.input if node.op_type in ("Add", "Mul", "Concat") else node.input[:1]
    return [name for name, node in found.items() if node.op_type in TYPES]


def _is_last(node) -> bool:
    return any(f".{layer}." in name for name in node.input for layer in LAST)


class _Reader:
    """What onnxruntime's calibration asks for one image after the other."""

    def __init__(self, images: Iterable[torch.Tensor], dtype):
        self.images = iter(images)
        self.dtype = dtype

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {INPUT: image[None].numpy().astype(self.dtype)}
