"""Small COCO jsons, written and read."""

import json

from sad.data.coco_boxes import Limits
from sad.data.coco_json import CocoJson

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
IMAGES = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 80} for i in (10, 11, 12)]
BOX = [10, 10, 5, 5]


def annotation(image_id, category_id, box, **more):
    return {"image_id": image_id, "category_id": category_id, "bbox": box, **more}


def write(path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def read_all(path, whole=True) -> tuple[list, list]:
    """Images and labels."""
    file = CocoJson(path, whole=whole)
    images = list(file.images())
    sizes = {image["id"]: (image["width"], image["height"]) for image in images}
    return images, list(file.labels(sizes, Limits()))
