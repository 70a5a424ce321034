"""Padding of timm's "SAME" layers by numbers: the same maps, and graphs of them for any size."""

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from timm.layers.padding import get_same_padding
from timm.layers.pool2d_same import MaxPool2dSame

from exported_files import random_model
from sad.export.graph import graph_of
from sad.export.onnx_file import to_onnx
from sad.export.same_padding import fixed_padding
from sad.export.torch_program import to_program
from sad.exported.describe import describe
from sad.exported.onnx_file import make_session, run
from sad.exported.program_file import load_program


@pytest.mark.parametrize(("height", "width"), [(64, 96), (8, 8), (320, 32)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (1, 2), (7, 4), (3, 1), (2, 2)])
def test_where_the_stride_divides_the_map_nothing_is_another_number(height, width, kernel, stride):
    torch.manual_seed(0)
    x = torch.randn(2, 3, height, width)
    for layer in (Conv2dSame(3, 4, kernel, stride), MaxPool2dSame(kernel, stride)):
        wanted = layer(x)
        with fixed_padding():
            assert torch.equal(layer(x), wanted)


def test_it_ends_with_the_graph():
    with pytest.raises(KeyboardInterrupt), fixed_padding():
        raise KeyboardInterrupt
    assert timm.layers.padding.get_same_padding is get_same_padding


@pytest.mark.slow
def test_a_detector_on_such_a_network_is_exported(toy):
    """With padding that is computed from the size torch.export takes more than 20 minutes."""
    name = ["MODEL.BACKBONE.NAME", "build_timm_fpn_backbone", "MODEL.TIMM.NAME"]
    model, cfg = random_model(toy, [*name, "tf_efficientnet_lite0"])
    graph, card = graph_of(model, nms=False), describe(model, cfg)
    program = load_program(to_program(graph, card), "cpu", "x.pt2")
    session = make_session(to_onnx(graph, card).SerializeToString(), "cpu", "x.onnx")
    for size in ((1, 64, 64), (2, 50, 70), (1, 200, 16)):
        images = torch.randint(256, (size[0], 3, *size[1:]), dtype=torch.uint8)
        boxes, scores = graph(images)
        for found in (program(images), run(session, images)):
            torch.testing.assert_close(found[0], boxes, rtol=1e-4, atol=1e-2)
            torch.testing.assert_close(found[1], scores, rtol=1e-4, atol=1e-5)
