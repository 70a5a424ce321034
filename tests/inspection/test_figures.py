"""Images with boxes at their place, and plots that show every box."""

import numpy as np
import pytest

from planted import CLASSES, noise, write_set
from sad.inspection.figures import draw_image, draw_labels, plot_classes, plot_shapes, plot_sides
from sad.inspection.labeled_set import read_set
from sad.utils.drawing import DPI, class_colors

ANCHORS = {"sizes": [[16, 24], [32]], "aspect_ratios": [[0.5, 2.0], [1.0]], "strides": [8, 16]}


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    boxes = [("cat", 10, 10, 30, 20), ("dog", 50, 20, 24, 36)]
    large = [("dog", 100, 200, 600, 400)]  # of a JPEG that is read at a fraction of its size
    content = {"a.png": (noise(0), boxes), "b.jpg": (noise(1, 1600, 900), large)}
    return read_set("train", write_set(tmp_path_factory.mktemp("figures"), "train", content))


def corners(figure) -> list:
    """Of the boxes drawn, in shares of the image's size."""
    (axes,) = figure.axes
    x0, x1, y1, y0 = axes.images[0].get_extent()
    return [
        [p.get_x() / x1, p.get_y() / y1, p.get_width() / x1, p.get_height() / y1]
        for p in axes.patches
    ]


def test_boxes_are_at_their_place_in_the_color_of_their_class(labeled):
    figure = draw_labels(labeled, 0, CLASSES)
    expected = np.array([(10, 10, 30, 20), (50, 20, 24, 36)]) / (96, 64, 96, 64)
    np.testing.assert_allclose(corners(figure), expected)
    texts = figure.axes[0].texts
    assert [text.get_text() for text in texts] == ["cat", "dog"]
    backs = [text.get_bbox_patch().get_facecolor() for text in texts]
    assert backs[0] != backs[1] and len({*class_colors(len(CLASSES))}) == len(CLASSES)
    figure = draw_labels(labeled, 1, CLASSES)
    np.testing.assert_allclose(
        corners(figure), [np.array([100, 200, 600, 400]) / ([1600, 900] * 2)]
    )
    assert max(figure.get_size_inches() * DPI) == pytest.approx(360)


def test_chosen_boxes_alone_or_none(labeled):
    assert len(corners(draw_labels(labeled, 0, CLASSES, [1]))) == 1
    assert corners(draw_image(labeled.images[0]["file_name"])) == []


def test_every_class_of_every_set_has_a_bar(labeled):
    figure = plot_classes([labeled, labeled], CLASSES)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(widths, [100 / 3, 200 / 3, 0, 0] * 2)


@pytest.mark.parametrize("anchors", [None, ANCHORS])
def test_all_boxes_are_in_the_plots(anchors):
    sides = {"train": np.array([0.0, 5, 80, 300]), "val": np.empty(0), "test": np.array([7.0])}
    (axes,) = plot_sides(sides, anchors, "in training").axes
    filled = [patch.get_height() for patch in axes.patches if not hasattr(patch, "get_xy") or
              patch.__class__.__name__ == "Rectangle"]  # fmt: skip
    assert sum(filled) == pytest.approx(100)
    strides = [text.get_text() for text in axes.texts]
    assert strides == (["stride 8", "stride 16"] if anchors else [])
    shapes = np.array([(0.0, 4), (30, 60), (30, 60), (200, 100)])
    (axes,) = plot_shapes(shapes, anchors, "in training").axes
    assert axes.collections[0].get_array().sum() == 4
    if anchors:
        found = axes.collections[1].get_offsets()
        areas, ratios = found.prod(axis=1) ** 0.5, found[:, 1] / found[:, 0]
        np.testing.assert_allclose(areas, [16, 16, 24, 24, 32])
        np.testing.assert_allclose(ratios, [0.5, 2, 0.5, 2, 1])
