"""The json of pseudo-labels."""

import json

import numpy as np
from pycocotools.coco import COCO

from sad.pseudo_labels import coco_file
from sad.pseudo_labels.coco_file import to_annotations, write_pseudo_labels
from sad.pseudo_labels.detections import DETECTION
from sad.pseudo_labels.image_table import ImageTable

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
IMAGES = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 80} for i in (10, 11, 12)]


def detections(*rows):
    return np.array(
        [(image, box, category, round(score * 1e6)) for image, box, category, score in rows],
        DETECTION,
    )


def test_json_goes_through_pycocotools(tmp_path):
    found = detections(
        (0, (1.234, 2.344, 11.239, 22.339), 1, 0.75),
        (2, (0, 0, 100, 80), 0, 0.5),
        (2, (99.996, 10, 100, 20), 0, 0.25),
    )
    path = str(tmp_path / "labels.json")
    images = ImageTable.write(str(tmp_path), IMAGES)
    write_pseudo_labels(path, images, CATEGORIES, found, {"threshold": 0.25})
    coco = COCO(path)
    assert coco.dataset["info"] == {"threshold": 0.25}
    assert coco.dataset["categories"] == CATEGORIES
    assert sorted(coco.imgs) == [10, 12]  # image 11 has no instance
    assert coco.imgs[12] == IMAGES[2]
    assert coco.anns[1] == {
        "id": 1,
        "image_id": 10,
        "category_id": 7,
        "bbox": [1.23, 2.34, 10.01, 20.0],
        "area": 200.2,
        "iscrowd": 0,
        "score": 0.75,
    }
    assert [a["score"] for a in coco.imgToAnns[12]] == [0.5, 0.25]
    # Rounding does not push a box out of its image.
    assert all(a["bbox"][0] + a["bbox"][2] <= 100 for a in coco.imgToAnns[12])


def test_json_does_not_depend_on_how_much_is_written_at_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    found = np.zeros(50, DETECTION)
    found["image"], found["score"] = np.sort(rng.integers(0, 3, 50)), rng.integers(0, 10**6, 50)
    found["box"] = rng.random((50, 4)) * 40 + [0, 0, 50, 40]
    images = ImageTable.write(str(tmp_path), IMAGES)
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    write_pseudo_labels(str(one), images, CATEGORIES, found, {})
    monkeypatch.setattr(coco_file, "ITEMS_AT_ONCE", 7)
    write_pseudo_labels(str(many), images, CATEGORIES, found, {})
    assert one.read_bytes() == many.read_bytes()
    content = json.loads(one.read_text())
    assert one.read_text() == json.dumps(content)
    image_ids = [IMAGES[position]["id"] for position in found["image"]]
    assert content["annotations"] == to_annotations(found, image_ids, CATEGORIES)
    assert [a["id"] for a in content["annotations"]] == list(range(1, 51))
