"""A COCO json of two images, to be changed."""

NAME = "set_under_test"


def annotation(number=1, **changes) -> dict:
    return {
        "id": number,
        "image_id": 7,
        "category_id": 3,
        "bbox": [5, 5, 10, 10],
        "area": 100,
        "iscrowd": 0,
        **changes,
    }


def coco(boxes=(), **changes) -> dict:
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 40, "height": 30},
            {"id": 2, "file_name": "a.png", "width": 20, "height": 20},
        ],
        "categories": [{"id": 9, "name": "cat"}, {"id": 3, "name": "ant"}],
        "annotations": [annotation(i, bbox=list(box)) for i, box in enumerate(boxes, start=1)],
        **changes,
    }
