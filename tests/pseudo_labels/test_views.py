"""Detections of several views of an image, fused; against the same by hand."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given
from hypothesis import strategies as st

from labelling import run_labelling
from sad.config.load import get_sad_cfg
from sad.data.images import read_picture
from sad.data.mapper import ReadingMapper
from sad.modeling.adapters import adapter_of
from sad.modeling.build import load_detector
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.views import (
    NO_OTHERS,
    SAME,
    ViewMapper,
    Views,
    check_views,
    detect_in_views,
    fuse,
)
from sad.utils.errors import UserError


def found(*rows) -> Instances:
    """Of rows (x0, y0, x1, y1, score, class)."""
    rows = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Instances(
        (100, 200),
        pred_boxes=Boxes(rows[:, :4]),
        scores=rows[:, 4],
        pred_classes=rows[:, 5].long(),
    )


def rows(instances: Instances) -> list[list[float]]:
    columns = instances.pred_boxes.tensor, instances.scores[:, None]
    table = torch.cat([*columns, instances.pred_classes[:, None].float()], dim=1)
    return [pytest.approx(row, abs=1e-4) for row in table.tolist()]


def test_boxes_of_one_object_become_their_weighted_mean():
    one = found((10, 10, 50, 50, 0.75, 0), (80, 10, 120, 50, 0.5, 1))
    other = found((14, 10, 54, 50, 0.25, 0), (80, 10, 120, 50, 0.5, 0))
    assert rows(fuse([one, other])) == [
        [11, 10, 51, 50, 0.5, 0],
        # Another class is another object; what one view of two sees is half as sure.
        [80, 10, 120, 50, 0.25, 1],
        [80, 10, 120, 50, 0.25, 0],
    ]


def test_a_view_that_sees_a_box_twice_counts_once():
    one = found((10, 10, 50, 50, 0.8, 0), (10, 10, 50, 46, 0.4, 0))
    assert rows(fuse([one, found()])) == [[10, 10, 50, (50 * 0.8 + 46 * 0.4) / 1.2, 0.4, 0]]


def test_nothing_is_found():
    assert len(fuse([found(), found()])) == 0


box = st.tuples(
    *(st.integers(0, 60), st.integers(0, 60), st.integers(5, 40), st.integers(5, 40)),
    *(st.integers(1, 100), st.integers(0, 1)),
)


@given(st.lists(st.lists(box, max_size=6), min_size=1, max_size=3))
def test_fused_boxes_lie_among_those_they_are_made_of(views):
    parts = [
        found(*((x, y, x + w, y + h, s / 100, c) for x, y, w, h, s, c in view)) for view in views
    ]
    fused = fuse(parts)
    every = Instances.cat(parts)
    assert (fused.scores.diff() <= 0).all() and (fused.scores <= 1).all()
    for each, class_ in zip(fused.pred_boxes.tensor, fused.pred_classes, strict=True):
        same = every.pred_boxes.tensor[every.pred_classes == class_]
        assert (each >= same.amin(0) - 1e-3).all() and (each <= same.amax(0) + 1e-3).all()
    for class_ in (0, 1):
        assert (class_ in fused.pred_classes) == (class_ in every.pred_classes)


@pytest.fixture
def teacher(scene):
    return load_detector(scene["config_file"], scene["weights"], "cpu", [])


def items(scene, mapper, numbers) -> list[dict]:
    images = [f"{scene['image_root']}/{number}.png" for number in numbers]
    sizes = [read_picture(image, "RGB", 1e9)[0].shape for image in images]
    return [
        mapper({"file_name": image, "height": size[0], "width": size[1]})
        for image, size in zip(images, sizes, strict=True)
    ]


def test_no_other_views_are_the_detections_themselves(scene, teacher):
    model, cfg = teacher
    batch = items(scene, ViewMapper(cfg, NO_OTHERS), [0, 3, 8])
    plain = adapter_of(model).detect(model, batch, "float32")
    for one, other in zip(
        detect_in_views(model, batch, "float32", NO_OTHERS, 100), plain, strict=True
    ):
        assert torch.equal(one.pred_boxes.tensor, other.pred_boxes.tensor)
        assert torch.equal(one.scores, other.scores)


@pytest.mark.slow
def test_views_are_those_of_other_sizes_and_mirrored(scene, teacher):
    """Image by image and view by view, each resized by a config of its own."""
    model, cfg = teacher
    views = Views.of([0.5, 1, 1.5], flip=True)
    batch = items(scene, ViewMapper(cfg, views), [0, 2, 3])
    got = detect_in_views(model, batch, "float32", views, 1000)
    few = detect_in_views(model, batch, "float32", views, 3)
    assert [len(x) for x in few] == [min(3, len(x)) for x in got]
    assert all(torch.equal(x.scores, y.scores[:3]) for x, y in zip(few, got, strict=True))
    for number, fused in zip([0, 2, 3], got, strict=True):
        parts = []
        for scale in (1, 0.5, 1.5):
            sizes = [round(scale * x) for x in (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)]
            opts = ["INPUT.MIN_SIZE_TEST", sizes[0], "INPUT.MAX_SIZE_TEST", sizes[1]]
            own = get_sad_cfg(scene["config_file"], opts)
            (item,) = items(scene, ReadingMapper(own, is_train=False), [number])
            parts += adapter_of(model).detect(model, [item], "float32")
            mirrored = {**item, "image": item["image"].flip(2)}
            (instances,) = adapter_of(model).detect(model, [mirrored], "float32")
            boxes = instances.pred_boxes.tensor[:, [2, 1, 0, 3]]
            boxes[:, [0, 2]] = item["width"] - boxes[:, [0, 2]]
            instances.pred_boxes = Boxes(boxes)
            parts.append(instances)
        expected = fuse(parts)
        assert len(fused) == len(expected) > 10
        torch.testing.assert_close(fused.scores, expected.scores, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_labels_of_views_do_not_depend_on_the_batch_size(scene):
    views = Views.of([1, 1.25], flip=True)
    one, _ = run_labelling(scene, views=views, batch_size=1, threshold=0.4)
    three, _ = run_labelling(scene, views=views, batch_size=3, threshold=0.4)
    plain, _ = run_labelling(scene, batch_size=3, threshold=0.4)
    boxes = [[a["bbox"] for a in coco["annotations"]] for coco in (one, three, plain)]
    assert len(boxes[0]) == len(boxes[1]) > 20 and boxes[1] != boxes[2]
    table = [np.array(sorted(map(tuple, some))) for some in boxes[:2]]
    np.testing.assert_allclose(*table, atol=0.011)


@pytest.mark.slow
def test_an_unreadable_image_has_no_views(scene, teacher):
    mapper = ViewMapper(teacher[1], Views((2.0,), True))
    item = mapper({"file_name": f"{scene['image_root']}/absent.png", "height": 9, "width": 9})
    assert "unreadable" in item and "scaled_images" not in item


def test_what_is_refused(scene, tmp_path):
    with pytest.raises(UserError, match="--scales are 0.5, 2: 1 must be among them"):
        Views.of([0.5, 2], False)
    cfg = get_sad_cfg(scene["config_file"], ["INPUT.RANDOM_FLIP", "none"])
    with pytest.raises(UserError, match="--flip .* INPUT.RANDOM_FLIP none"):
        check_views(Views((), True), cfg)
    cfg = get_sad_cfg(scene["config_file"], ["INPUT.MIN_SIZE_TEST", 0])
    with pytest.raises(UserError, match="--scales .* INPUT.MIN_SIZE_TEST is 0"):
        check_views(Views((2.0,), False), cfg)
    with pytest.raises(UserError, match="INPUT.MIN_SIZE_TEST is 0"):
        prepare(**scene, views=Views((2.0,)), opts=["INPUT.MIN_SIZE_TEST", "0"])
    assert not (tmp_path / "out").exists()


def test_one_scale_twice_is_once():
    assert Views.of([1.0, 2.0, 2.0, 1.0], False) == Views((2.0,), False)
    assert SAME == 0.6
