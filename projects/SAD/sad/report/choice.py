"""What each model finds on the images of the page, and which images these are."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from detectron2.structures import BoxMode

from ..evaluation.matching import match_boxes
from ..evaluation.operating_point import best_point

NOTHING_RIGHT = 0.5  # the score from which on a model's detections are shown, all being wrong


def match_images(records: list[dict], found: list[dict], num_classes: int) -> list[dict]:
    """Which detections of a model are right, as COCO's evaluation sees it at IoU 0.5.

    Args:
        records: dicts of images, with annotations.
        found: the detections on them above a score threshold: dicts of image_id, category_id (the
            class), bbox (x, y, width, height) and score.
    Returns:
        for each record "boxes" (corners), "classes", "scores" and "right" of the detections by
        falling score, without those on crowds, and "missed": positions in the record's annotations
        of objects that are not found. All are lists.
    """
    labels, places = [], []
    for record in records:
        for place, annotation in enumerate(record["annotations"]):
            labels.append(
                {
                    "image_id": record["image_id"],
                    "category_id": annotation["category_id"],
                    "bbox": convert(annotation["bbox"], annotation["bbox_mode"]),
                    "iscrowd": annotation.get("iscrowd", 0),
                }
            )
            places.append(place)
    ids = [record["image_id"] for record in records]
    categories = [{"id": number} for number in range(num_classes)]
    right, wrong, missed = match_boxes(labels, found, ids, categories)
    on_image = defaultdict(lambda: {"found": [], "missed": []})
    scores = np.array([box["score"] for box in found])
    for position in np.argsort(-scores, kind="stable"):
        if right[position] or wrong[position]:
            on_image[found[position]["image_id"]]["found"].append(position)
    for position in np.flatnonzero(missed):
        on_image[labels[position]["image_id"]]["missed"].append(places[position])
    return [_entry(on_image[number], found, right) for number in ids]


def shown_from(
    scores: Sequence[float], right: np.ndarray, wrong: np.ndarray, objects: int
) -> float:
    """The score from which on detections are shown: that of the best F1, see `best_point`."""
    point = best_point(scores, right, wrong, objects)
    return point.threshold if point else NOTHING_RIGHT


def convert(box, mode=BoxMode.XYWH_ABS, to=BoxMode.XYWH_ABS) -> list[float]:
    return [float(side) for side in BoxMode.convert(list(box), mode, to)]


def _entry(here: dict, found: list[dict], right: np.ndarray) -> dict:
    own = [found[position] for position in here["found"]]
    return {
        "boxes": [convert(box["bbox"], to=BoxMode.XYXY_ABS) for box in own],
        "classes": [box["category_id"] for box in own],
        "scores": [box["score"] for box in own],
        "right": [bool(right[position]) for position in here["found"]],
        "missed": here["missed"],
    }


def choose(matches: Sequence[Sequence[dict]], number: int) -> list[int]:
    """Positions of the images on which the runs' numbers of errors (wrong + missed) differ most.

    Args:
        matches: for each image the entry of `match_images` of each run.
    """

    def spread(position):
        errors = [len(m["right"]) - sum(m["right"]) + len(m["missed"]) for m in matches[position]]
        return max(errors) - min(errors)

    return sorted(range(len(matches)), key=spread, reverse=True)[:number]


def found_by_one(one: Sequence[dict], other: Sequence[dict]) -> np.ndarray:
    """For each image the number of objects that one run finds and another misses."""
    pairs = zip(one, other, strict=True)
    return np.array([len({*b["missed"]} - {*a["missed"]}) for a, b in pairs], int)


def choose_gained(gained: np.ndarray, lost: np.ndarray, number: int) -> list[int]:
    """Positions of the images on which most is gained, what is lost taken off; of equals the first.

    Args:
        gained, lost: objects of each image, see `found_by_one`.
    """
    order = np.argsort(lost - gained, kind="stable")
    return [int(position) for position in order[:number] if gained[position] > lost[position]]


def agreement(one: Sequence[dict], other: Sequence[dict], objects: int) -> dict[str, int]:
    """How many of so many objects two runs find: "both", the "first" alone, the "second" alone, and
    "neither".
    """
    first, second = (int(found_by_one(*pair).sum()) for pair in ((one, other), (other, one)))
    neither = sum(len(entry["missed"]) for entry in one) - second
    both = objects - first - second - neither
    return {"both": both, "first": first, "second": second, "neither": neither}
