"""COCO jsons as arrays, and boxes that are there twice or as large as their image."""

import json

import numpy as np
import pytest
from pycocotools import mask

from planted import CLASSES, noise, write_set
from sad.inspection.labeled_set import read_set
from sad.utils.errors import UserError


def read(tmp_path, content, **options):
    return read_set("train", write_set(tmp_path, "train", content, **options))


def test_boxes_and_images(tmp_path):
    one = read(
        tmp_path,
        {
            "a.png": (noise(0), [("dog", 90, 10, 8, 20), ("crowd cat", 0, 0, 50, 50)]),
            "b.png": (noise(1, 40, 30), []),
            "c.png": (noise(2), [("fish", 1, 2, 3, 4), ("cat", 5, 6, 7, 8.5)]),
        },
    )
    np.testing.assert_array_equal(
        one.boxes, [(90, 10, 96, 30), (1, 2, 4, 6), (5, 6, 12, 14.5)]
    )  # the first clipped
    assert one.image_of.tolist() == [0, 2, 2] and one.class_of.tolist() == [1, 3, 0]
    assert one.class_names == CLASSES and one.crowds == 1 and one.negatives == [1]
    np.testing.assert_array_equal(one.sizes, [(64, 96), (30, 40), (64, 96)])
    np.testing.assert_allclose(one.sides, np.sqrt([6 * 20, 3 * 4, 7 * 8.5]))
    assert [one.count_of(name) for name in (*CLASSES, "unknown")] == [1, 1, 0, 1, 0]
    assert one.boxes_on(2).tolist() == [1, 2] and one.place(1) == "train: b.png"


def test_an_image_of_unusable_annotations_is_no_negative(tmp_path):
    flat, good = ("cat", 5, 5, 0, 10), ("cat", 1, 1, 9, 9)
    one = read(tmp_path, {"a.png": (noise(0), [flat, good, good]), "b.png": (noise(1), [flat])})
    assert one.negatives == [] and one.unusable == ["2 without area"] and len(one.boxes) == 2


def test_repeated_boxes_against_all_pairs_of_pycocotools(tmp_path):
    rng = np.random.default_rng(0)
    content = {}
    for number in range(5):
        corner, size = rng.integers(0, 20, (6, 2)), rng.integers(10, 30, (6, 2))
        boxes = np.concatenate([corner, size], axis=1)
        boxes = np.concatenate([boxes, boxes + rng.integers(0, 2, boxes.shape)]).tolist()
        content[f"{number}.png"] = (noise(number), [("cat", *box) for box in boxes])
    one = read(tmp_path, content)
    xywh = np.concatenate([one.boxes[:, :2], one.boxes[:, 2:] - one.boxes[:, :2]], axis=1)
    expected = {
        (i, j)
        for i in range(len(xywh))
        for j in range(i + 1, len(xywh))
        if one.image_of[i] == one.image_of[j] and mask.iou(xywh[[i]], xywh[[j]], [0])[0, 0] >= 0.9
    }
    found = [tuple(pair) for pair in one.repeated().tolist()]
    assert set(found) == expected and len(found) == len(expected) > 5


def test_boxes_that_fill_their_image(tmp_path):
    boxes = [("cat", 0, 0, 96, 64), ("cat", 0, 0, 92, 64), ("cat", 0, 0, 91, 64)]
    one = read(tmp_path, {"a.png": (noise(0, 200, 200), boxes), "b.png": (noise(1), boxes)})
    assert one.filling().tolist() == [3, 4]  # 0.95 of 96 x 64 is 91.2 x 64


@pytest.mark.parametrize("content", [{}, {"a.png": (noise(0), [])}])
def test_without_boxes(tmp_path, content):
    source = write_set(tmp_path, "train", content)
    if not content:
        with pytest.raises(UserError, match="lists no images"):
            read_set("train", source)
        return
    one = read_set("train", source)
    assert one.boxes.shape == (0, 4) and one.repeated().shape == (0, 2) and not len(one.filling())


def test_mistakes_name_the_set(tmp_path):
    source = write_set(tmp_path, "train", {"a.png": (noise(0), [("cat", 1, 1, 9, 9)])})
    with pytest.raises(UserError, match="train.*does not exist"):
        read_set("train", source._replace(image_root=str(tmp_path / "nowhere")))
    coco = json.loads(open(source.json_file).read())
    del coco["categories"]
    (tmp_path / "bad.json").write_text(json.dumps(coco))
    with pytest.raises(UserError, match="train"):
        read_set("train", source._replace(json_file=str(tmp_path / "bad.json")))
    coco = {"images": [{**coco["images"][0], "file_name": "../a.png"}], "categories": []}
    (tmp_path / "bad.json").write_text(json.dumps(coco))
    with pytest.raises(UserError, match="outside"):
        read_set("train", source._replace(json_file=str(tmp_path / "bad.json")))
