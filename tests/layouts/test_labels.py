"""Labels of one set: what they say of themselves, and what training reads of their json."""

import pytest

from sad.data.datasets import load_coco_set
from sad.layouts.labels import Labels, counted


@pytest.fixture
def labels(tmp_path):
    return Labels(
        *("COCO json", "labels.json", str(tmp_path), ["cat", "dog"]),
        [{"id": 1, "file_name": "ü 1.png", "width": 64, "height": 48}],
        [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 2,
                "bbox": [1, 2, 30, 20],
                "area": 600,
                "iscrowd": 0,
            }
        ],
        {"boxes clipped to their image": ["a", "b"]},
        {"repeated boxes": ["c"]},
        ["2.png"],
    )


def test_one_line(labels):
    text = labels.describe()
    assert "\n" not in text
    for part in ("labels.json", "COCO json", "1 images", "1 boxes", "2 classes", "2 boxes clipped"):
        assert part in text
    assert counted(labels.left_out) == "1 repeated boxes (c)"


def test_json_is_what_training_reads(labels, tmp_path):
    labels.write(str(tmp_path / "out.json"))
    (image,) = load_coco_set("labels_written", str(tmp_path / "out.json"), str(tmp_path))
    assert image["file_name"] == str(tmp_path / "ü 1.png")
    (annotation,) = image["annotations"]
    assert annotation["category_id"] == 1 and annotation["bbox"] == [1, 2, 30, 20]
