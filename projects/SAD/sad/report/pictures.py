"""The images of the page and what each run finds on them, as report.json has them."""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import BoxMode, Instances

from ..data.categories import order_of
from .choice import (
    agreement,
    choose,
    choose_gained,
    convert,
    found_by_one,
    match_images,
    shown_from,
)


def of_results(results: list[dict], test_set: str) -> list[dict]:
    """COCO's results, their categories as the numbers of the classes."""
    place_of = MetadataCatalog.get(test_set).thing_dataset_id_to_contiguous_id
    return [box | {"category_id": place_of[box["category_id"]]} for box in results]


def of_instances(detections: Sequence[Instances], records: list[dict]) -> list[dict]:
    """Likewise of what a model has just found on images."""
    pairs = zip(detections, records, strict=True)
    return [x for found, record in pairs for x in instances_to_coco_json(found, record["image_id"])]


def in_order_of(
    class_names: list[str], detections: Sequence[Instances], names: list[str] | None, run: str
) -> Sequence[Instances]:
    """Detections with the class numbers of the test set, whose `class_names` these are.

    Args:
        names: of the classes of the run that found them; None where nobody knows them.
    """
    if names:
        places = torch.tensor(order_of(names, class_names, f"“{run}”", "the test set"))
        for found in detections:
            found.pred_classes = places[found.pred_classes]
    return detections


def best_threshold(records: list[dict], found: list[dict], num_classes: int) -> float:
    """The score from which on boxes on some images are shown, see `shown_from`."""
    matches = match_images(records, found, num_classes)
    scores = np.array([score for match in matches for score in match["scores"]])
    right = np.array([is_right for match in matches for is_right in match["right"]], bool)
    return shown_from(scores, right, ~right, count_objects(records))


def count_objects(records: list[dict]) -> int:
    return sum(not a.get("iscrowd", 0) for record in records for a in record["annotations"])


def describe_pictures(
    records: list[dict],
    found: dict[str, list[dict]],
    thresholds: dict[str, float],
    num_classes: int,
    number: int,
    pair: tuple[str, str] | None,
) -> dict:
    """The entry "pictures" of report.json.

    Args:
        records: the images to choose from.
        found: name of a run -> its detections, see `match_images`.
        thresholds: name of a run -> score from which on they are shown.
        number: of images of each kind.
        pair: names of the distilled run and of the student alone.
    Returns:
        "from": number of images chosen from; "number"; "thresholds"; "agreement" of the pair, see
        `sad.report.choice.agreement`, or None; "images": first those on which all runs differ most,
        then those on which one of the pair finds most that the other does not. Each has
        "file_name", "width", "height", "labels" ({"box" (corners), "class"}), "runs" (see
        `match_images`), and "gained" and "lost": objects that the first or the second of the pair
        alone finds.
    """
    matches = {
        name: match_images(
            records, [b for b in boxes if b["score"] >= thresholds[name]], num_classes
        )
        for name, boxes in found.items()
    }
    of_images = list(zip(*matches.values(), strict=True))
    chosen, agreed = choose(of_images, number), None
    gained = lost = np.zeros(len(records), int)
    if pair:
        first, second = (matches[name] for name in pair)
        gained, lost = found_by_one(first, second), found_by_one(second, first)
        agreed = agreement(first, second, count_objects(records))
        chosen += choose_gained(gained, lost, number) + choose_gained(lost, gained, number)
    images = [
        {
            **{key: records[i][key] for key in ("file_name", "width", "height")},
            "labels": [_label(annotation) for annotation in records[i]["annotations"]],
            "runs": list(of_images[i]),
            "gained": int(gained[i]),
            "lost": int(lost[i]),
        }
        for i in dict.fromkeys(chosen)
    ]
    return {
        "from": len(records),
        "number": number,
        "thresholds": thresholds,
        "agreement": agreed,
        "images": images,
    }


def _label(annotation: dict) -> dict:
    box = convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
    return {"box": box, "class": annotation["category_id"]}
