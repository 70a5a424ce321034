"""int8: which layers compute in 8 bits, and that it still finds the same things."""

import onnx
import onnxruntime
import pytest
import torch

from exported_files import batch, tame_teacher
from sad.export.graph import graph_of
from sad.export.int8 import quantize
from sad.export.onnx_file import to_onnx
from sad.exported.describe import describe
from sad.exported.onnx_file import check_onnx

pytestmark = pytest.mark.slow

IMAGES = torch.stack([x["image"] for x in batch(*[(64, 64)] * 4)])


@pytest.fixture(scope="module")
def pair(toy):
    model, cfg = tame_teacher(toy)
    real = to_onnx(graph_of(model), describe(model, cfg))
    return real, quantize(real, list(IMAGES[:3]))


def test_the_last_convolutions_alone_stay_float(pair):
    _, small = pair
    made_by = {output: node for node in small.graph.node for output in node.output}
    kinds = {x.name: x.data_type for x in small.graph.initializer}
    eight_bit, real = set(), set()
    for node in small.graph.node:
        if node.op_type == "Conv":
            weight = made_by.get(node.input[1])
            (real if weight is None else eight_bit).add(node.input[1])
            if weight is not None:
                assert weight.op_type == "DequantizeLinear"
                assert kinds[weight.input[0]] == onnx.TensorProto.INT8
                scales = next(x for x in small.graph.initializer if x.name == weight.input[1])
                assert len(scales.dims) == 1  # a scale for each channel
    assert {x.split(".")[-2] for x in real} == {"cls_score", "bbox_pred"}
    assert len(eight_bit) > 10
    zeros = {kinds[node.input[2]] for node in small.graph.node if node.op_type == "QuantizeLinear"}
    assert zeros == {onnx.TensorProto.UINT8}


def test_scores_are_near_and_not_the_same(pair):
    real, small = (onnxruntime.InferenceSession(x.SerializeToString()) for x in pair)
    one, other = (x.run(["scores"], {"images": IMAGES.numpy()})[0] for x in (real, small))
    difference = abs(one[:, :5] - other[:, :5]).max()
    assert 0 < difference < 0.1


def test_the_file_is_one_that_is_read(pair, tmp_path):
    real, small = pair
    path = tmp_path / "int8.onnx"
    path.write_bytes(small.SerializeToString())
    _, card, outputs = check_onnx(str(path))
    assert card.text() == real.metadata_props[0].value
    assert outputs == ["boxes", "scores", "labels", "num"]
    assert len(path.read_bytes()) < len(real.SerializeToString())
