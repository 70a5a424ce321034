"""The json of what was found, as others read it."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from sad.data.coco_json import CocoJson
from sad.predict.detections import Detections
from sad.predict.predictions_file import PredictionsFile

NAMES = ["cat", "Hund ü"]


def found(boxes, scores, labels):
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32),
        np.array(labels, np.int64), NAMES)  # fmt: skip


@pytest.fixture
def file(tmp_path):
    file = PredictionsFile(str(tmp_path), NAMES)
    yield file
    file.close()


def test_what_pycocotools_and_this_project_read(tmp_path, file):
    file.add("a/1.jpg", (640, 480), found([[1, 2, 11.5, 22.25], [0, 0, 5, 5]], [0.9, 0.25], [1, 0]))
    file.add("empty.png", (64, 48), found([], [], []))
    file.add("clip.mp4", (64, 48), found([[3, 4, 9, 9]], [0.5], [0]), frame=7)
    path = tmp_path / "predictions.json"
    file.write(str(path), {"image_root": "/photos"})
    coco = COCO(str(path))
    assert coco.dataset["info"] == {"image_root": "/photos"}
    assert coco.loadImgs([1, 2, 3]) == [
        {"id": 1, "file_name": "a/1.jpg", "width": 640, "height": 480},
        {"id": 2, "file_name": "empty.png", "width": 64, "height": 48},
        {"id": 3, "file_name": "clip.mp4", "width": 64, "height": 48, "frame": 7},
    ]
    assert [category["name"] for category in coco.loadCats([1, 2])] == NAMES
    first = coco.loadAnns([1])[0]
    assert first["bbox"] == [1, 2, 10.5, 20.25] and first["area"] == 10.5 * 20.25
    assert (first["image_id"], first["category_id"], first["score"]) == (1, 2, 0.9)
    assert coco.getAnnIds(imgIds=[2]) == [] and len(coco.getAnnIds(imgIds=[3])) == 1
    assert len(coco.loadRes(json.loads(path.read_text())["annotations"]).anns) == 3
    ours = CocoJson(str(path))
    assert len(list(ours.images())) == 3
    sizes = {1: (640, 480), 2: (64, 48), 3: (64, 48)}
    assert [label["bbox"] for label in ours.labels(sizes)][0] == [1, 2, 10.5, 20.25]
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]


def test_a_file_of_nothing(tmp_path, file):
    file.write(str(tmp_path / "p.json"), {})
    content = json.loads((tmp_path / "p.json").read_text())
    assert content["images"] == content["annotations"] == [] and len(content["categories"]) == 2


def test_slivers_are_left_out_and_no_box_leaves_its_image(tmp_path, file):
    boxes = [[5, 5, 5.001, 9], [0.004, 0.004, 63.996, 48]]
    file.add("a.png", (64, 48), found(boxes, [0.9, 0.8], [0, 0]))
    file.write(str(tmp_path / "p.json"), {})
    (box,) = [x["bbox"] for x in json.loads((tmp_path / "p.json").read_text())["annotations"]]
    assert box[0] + box[2] <= 64 and box[1] + box[3] <= 48
