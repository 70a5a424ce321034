"""COCO's json as exporters write it."""

import json

import pytest

from sad.data.coco_json import CocoJson
from sad.layouts.coco import read_coco
from sad.layouts.image_index import ImageIndex
from sad.utils.errors import UserError
from users_data import CLASSES, boxes_of, make_images, write_coco


@pytest.fixture
def made(tmp_path):
    truth = make_images(tmp_path / "images", 8, seed=5)
    path = write_coco(tmp_path / "labels.json", truth)
    return truth, tmp_path, json.loads(path.read_text())


def read(folder, content, classes=None, encoding="utf-8"):
    path = folder / "labels.json"
    path.write_bytes(json.dumps(content).encode(encoding))
    index = ImageIndex(str(folder / "images"))
    return read_coco(str(path), CocoJson.content_of(str(path)), index, classes)


def check(labels, truth):
    assert boxes_of(labels) == {name: sorted(boxes) for name, boxes in truth.items()}
    assert labels.layout == "COCO json" and labels.classes == CLASSES


def test_boxes(made):
    truth, folder, content = made
    labels = read(folder, content)
    check(labels, truth)
    assert not labels.mended and not labels.left_out and not labels.unlabeled


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(made, encoding):
    truth, folder, content = made
    check(read(folder, content, encoding=encoding), truth)


def test_ids_of_other_types(made):
    truth, folder, content = made
    for image in content["images"]:
        image["id"] = str(image["id"])
    for annotation in content["annotations"]:
        annotation["image_id"] = float(annotation["image_id"])
        annotation["category_id"] = str(annotation["category_id"])
    check(read(folder, content), truth)


def test_a_category_that_only_groups_others(made):
    truth, folder, content = made
    content["categories"] = [
        {"id": 0, "name": "shapes", "supercategory": "none"},
        *({**category, "supercategory": "shapes"} for category in content["categories"]),
    ]
    labels = read(folder, content)
    check(labels, truth)
    assert list(labels.left_out.values()) == [["shapes"]]


def test_sizes_and_names_that_are_wrong(made):
    truth, folder, content = made
    for key in ("width", "height"):
        del content["images"][0][key]
    content["images"][1]["width"] = 640
    content["images"][2]["file_name"] = "/home/me/IMAGES/" + content["images"][2]["file_name"]
    content["images"][3]["file_name"] = content["images"][3]["file_name"].upper()
    labels = read(folder, content)
    check(labels, truth)
    assert len(labels.mended) >= 2


def test_boxes_that_are_taken_around_masks(made):
    truth, folder, content = made
    for annotation in content["annotations"]:
        x, y, w, h = annotation.pop("bbox")
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    whole = [0] * 64 * 64  # by columns
    x, y, w, h = (int(v) for v in (10, 20, 5, 6))
    for column in range(x, x + w):
        whole[column * 64 + y : column * 64 + y + h] = [1] * h
    runs, value = [0], 0
    for pixel in whole:
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    content["annotations"].append(
        {
            "image_id": 0,
            "category_id": 1,
            "segmentation": {"counts": runs, "size": [64, 64]},
            "iscrowd": 1,
        }
    )
    labels = read(folder, content)
    first = next(iter(truth))
    assert boxes_of(labels)[first] == sorted([*truth[first], ("dark", 10, 20, 15, 26)])
    assert sum(x["iscrowd"] for x in labels.annotations) == 1


def test_what_cannot_be_used(made):
    truth, folder, content = made
    content["annotations"] += [
        {"id": 90, "image_id": 77, "category_id": 1, "bbox": [1, 1, 5, 5]},
        {"id": 91, "image_id": 0, "category_id": 9, "bbox": [1, 1, 5, 5]},
        {"id": 92, "image_id": 0, "category_id": 1},
        {"id": 93, "image_id": 0, "category_id": 1, "bbox": [1, 1, 0, 5]},
        {"id": 94, "image_id": 0, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": "perhaps"},
    ]
    content["images"].append({"id": 99, "file_name": "absent.png"})
    labels = read(folder, content)
    check(labels, truth)
    assert sum(map(len, labels.left_out.values())) == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"categories": []}, "names no categories"),
        ({"annotations": None}, "has no annotations"),
        ({"images": [{"id": 1}]}, "no file_name"),
        ({"images": [{"id": 1, "file_name": "x.png"}]}, "none of the 1 images"),
        ({"images": [{"id": 1, "file_name": "5_000.png"}] * 2}, "the id 1"),
    ],
)
def test_mistakes(made, change, said):
    _, folder, content = made
    with pytest.raises(UserError, match=said):
        read(folder, content | change)
