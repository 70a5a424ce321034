"""What an ONNX file is: ONNX's own operators, its numbers in it, for any batch and size."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from exported_files import KINDS, batch, random_model, tame_teacher
from sad.export.dense_graph import DenseGraph
from sad.export.graph import graph_of
from sad.export.onnx_file import PLAIN, to_onnx, with_inner
from sad.exported.card import KEY, Card
from sad.exported.describe import describe
from sad.exported.onnx_file import without_images
from sad.exported.runs import OUTPUTS
from sad.utils.errors import UserError

SIZES = [(1, 64, 64), (2, 50, 70), (3, 33, 200), (8, 1, 1), (1, 200, 16)]


def _images(n, height, width) -> torch.Tensor:
    return torch.stack([x["image"] for x in batch(*[(height, width)] * n)])


@pytest.fixture(scope="module")
def pair(toy):
    model, cfg = tame_teacher(toy)
    card = describe(model, cfg)
    graph = graph_of(model)
    return graph, to_onnx(graph, card), card


@pytest.mark.slow
def test_any_batch_and_size_gives_what_the_graph_does(pair):
    graph, file, _ = pair
    session = onnxruntime.InferenceSession(with_inner(file, graph.INNER).SerializeToString())
    assert [x.name for x in session.get_outputs()] == [*OUTPUTS, *graph.INNER]
    found = 0
    for size in SIZES:
        images = _images(*size)
        wanted = graph(images)
        for one, other in zip(session.run(None, {"images": images.numpy()}), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=5e-3)
        found += int(wanted[3].sum())
    assert found > 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["FCOS", "up to P7", "few candidates", "GN"])
def test_other_detectors(toy, kind):
    model, cfg = random_model(toy, KINDS[kind])
    graph = graph_of(model)
    file = with_inner(to_onnx(graph, describe(model, cfg)), graph.INNER)
    session = onnxruntime.InferenceSession(file.SerializeToString())
    for size in SIZES:
        images = _images(*size)
        found = session.run(list(graph.INNER), {"images": images.numpy()})
        for one, other in zip(found, graph(images)[4:], strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=5e-3)


def test_the_file_is_one_of_plain_onnx(pair):
    _, file, card = pair
    assert [x.domain for x in file.opset_import] == [""]
    assert file.opset_import[0].version >= 17
    assert {node.domain for node in file.graph.node} == {""}
    assert without_images(file) == []
    assert sum(node.op_type == "NonMaxSuppression" for node in file.graph.node) == 1
    assert [x.name for x in file.graph.output] == list(OUTPUTS)
    shapes = [
        [x.dim_param or x.dim_value for x in value.type.tensor_type.shape.dim]
        for value in [*file.graph.input, *file.graph.output]
    ]
    assert shapes == [["N", 3, "H", "W"], ["N", 100, 4], ["N", 100], ["N", 100], ["N"]]
    assert file.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert {x.key: Card.read(x.value) for x in file.metadata_props} == {KEY: card}


def test_a_file_may_take_floats_and_end_before_the_suppression(pair):
    graph, _, card = pair
    dense = graph_of(graph.model, nms=False)
    file = to_onnx(dense, card, "float32")
    assert not [x for x in file.graph.node if x.op_type in ("NonMaxSuppression", "TopK")]
    session = onnxruntime.InferenceSession(file.SerializeToString())
    assert [x.name for x in session.get_outputs()] == list(PLAIN)
    for size in SIZES:
        images = _images(*size) + 0.25
        wanted = dense(images)
        for one, other in zip(session.run(None, {"images": images.numpy()}), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=5e-3)


class Broken(DenseGraph):
    def forward(self, images):
        return images.reshape(-1, 7, 11, 13)  # which torch itself refuses


class OneOutput(DenseGraph):
    def forward(self, images):
        return images.float()


@pytest.mark.parametrize("kind", [Broken, OneOutput])
def test_what_torch_cannot_trace_is_said_in_a_sentence(pair, kind):
    with pytest.raises(UserError, match="torch cannot export this model to ONNX: .*Error"):
        to_onnx(kind(pair[0].model), pair[2])


def test_what_is_no_onnx_is_said_in_a_sentence(pair, monkeypatch):
    def refuse(model):
        check(onnx.ModelProto())

    check = onnx.checker.check_model
    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(UserError, match="cannot export this model to ONNX: ValidationError"):
        to_onnx(graph_of(pair[0].model, nms=False), pair[2])


def test_the_model_stays_as_it_was(pair):
    graph, _, _ = pair
    assert not any(module.training for module in graph.model.modules())
