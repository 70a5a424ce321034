"""Labels say in one line what they are."""

import json

from sad.layouts.labels import Labels, counted


def labels(**more) -> Labels:
    images = [{"id": 1, "file_name": "a.png", "width": 4, "height": 3}]
    box = {"id": 1, "image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1], "area": 1, "iscrowd": 0}
    return Labels("YOLO", "data.yaml", "/images", ["cat", "dog"], images, [box], **more)


def test_one_line_says_what_was_recognised_mended_and_left_out():
    text = labels().describe()
    assert all(words in text for words in ("data.yaml", "YOLO", "1 image", "1 box", "2 classes"))
    assert "mended" not in text and "left out" not in text and "no labels" not in text
    text = labels(mended={"x": ["a"]}, left_out={"y": ["b", "c"]}, unlabeled=["u"]).describe()
    assert "mended: 1 x (a)" in text and "left out: 2 y (b)" in text and "1 image" in text
    assert counted({}) == ""


def test_a_json_of_coco_is_written(tmp_path):
    labels().write(str(tmp_path / "a.json"))
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert content["images"] == labels().images and content["annotations"] == labels().annotations
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
