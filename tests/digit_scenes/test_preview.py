"""The sheet of scenes: each image in its tile, with its own boxes."""

import numpy as np
import pytest
from PIL import Image

from sad.digit_scenes.preview import draw_preview

CATEGORIES = [{"id": 1, "name": "0"}, {"id": 2, "name": "1"}]


@pytest.fixture
def coco(tmp_path):
    """30 images of 20 x 10 pixels, each of another grey; a box on every second one."""
    images, annotations = [], []
    for number in range(30):
        name = f"{number}.png"
        Image.new("RGB", (20, 10), (8 * number,) * 3).save(tmp_path / name)
        images.append({"id": number + 1, "file_name": name, "width": 20, "height": 10})
        if number % 2:
            box = {"bbox": [number % 5, 2, 6, 4], "category_id": 1 + number % 4 // 2}
            annotations.append({"id": len(annotations) + 1, "image_id": number + 1, **box})
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def test_the_first_24_images_with_their_boxes_and_labels(coco, tmp_path):
    figure = draw_preview(tmp_path, coco)
    assert len(figure.axes) == 24
    for number, axes in enumerate(figure.axes):
        assert (np.asarray(axes.images[0].get_array()) == 8 * number).all()
        boxes = [(*x.get_xy(), x.get_width(), x.get_height()) for x in axes.patches]
        labels = [text.get_text() for text in axes.texts]
        assert boxes == ([(number % 5, 2, 6, 4)] if number % 2 else [])
        assert labels == ([str(number % 4 // 2)] if number % 2 else [])


def test_a_split_of_few_images(coco, tmp_path):
    coco["images"] = coco["images"][:2]
    figure = draw_preview(tmp_path, coco)  # annotations of images that are not shown are passed by
    assert [len(axes.patches) for axes in figure.axes if axes.images] == [0, 1]
