"""COCO's json, also as exporters write it: ids of other types, sizes and boxes that are missing."""

import os
from collections.abc import Sequence

from pycocotools import mask

from ..data.coco_boxes import Limits
from ..data.coco_items import flag, short
from ..utils.errors import UserError
from .collector import Collector, number_of
from .image_index import ImageIndex
from .labels import Labels

FORM = "COCO's bbox is x, y, width, height in pixels"


def read_coco(
    path: str,
    content: dict,
    index: ImageIndex,
    classes: Sequence[str] | None = None,
) -> Labels:
    """Read a json as `Labels`. A listed image without annotations shows none of the objects.

    Args:
        content: of the json, see `CocoJson.content_of`.
        index: of the folder that its images lie in.
        classes: the same names in the order that is wanted; None takes the order of their ids.
    Raises:
        UserError: it has no categories and annotations, or `Collector.finish` says.
    """
    annotations = _section(path, content, "annotations", ())
    kept, groups = _categories(path, content, {_key(x.get("category_id")) for x in annotations})
    if classes:  # where a name that only groups others has boxes in another set
        kept += [x for x in groups if x["name"] in set(classes) - {y["name"] for y in kept}]
        groups = [x for x in groups if x not in kept]
    number = number_of([x["name"] for x in kept], classes, path)
    category_of = {_key(x["id"]): number[x["name"]] for x in kept}
    collector = Collector("COCO json", path, index.root, classes or list(number))
    for category in groups:
        collector.leave_out("categories without boxes that only group others", category["name"])
    collector.join_classes([x["name"] for x in kept])
    files = _add_images(path, content, index, collector)
    for item in annotations:
        _add(collector, item, files, category_of)
    # Images that the json does not list are no unlabelled ones: they may be those of a test set.
    return collector.finish(Limits(), FORM)


def _key(value) -> str:
    """One of an id that some tools write as 1, some as "1" and some as 1.0."""
    return str(value).strip().removesuffix(".0")


def _section(path: str, content: dict, name: str, keys: Sequence[str]) -> list[dict]:
    """The items of a section, each with these keys."""
    items = content.get(name)
    if items is None:
        raise UserError(f"{path} has no {name}, which labels need: name a json that has them")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UserError(f"{path}: {name} are {short(items)}, not a list of objects")
    for item in items:
        for key in keys:
            if item.get(key) in (None, ""):
                raise UserError(f"{path}: one of {name} has no {key}: {short(item)}; add it")
            if key != "id" and not isinstance(item[key], str):
                raise UserError(
                    f"{path}: {key} of one of {name} is {short(item[key])}, not a text: put it in "
                    "quotes"
                )
    known = [_key(item["id"]) for item in items] if keys else []
    if len(set(known)) < len(known):
        twice = next(key for n, key in enumerate(known) if key in known[:n])
        raise UserError(f"{path}: two of {name} have the id {twice}: number them apart")
    return items


def _categories(path: str, content: dict, used: set[str]) -> tuple[list[dict], list[dict]]:
    """(those to learn, by id as COCO's are; those that only group others).

    Exporters write a project's name as category 0 and make it the super-category of the classes.
    """
    categories = [
        {**category, "name": category["name"].strip()}
        for category in _section(path, content, "categories", ("id", "name"))
    ]

    def groups_others(category: dict) -> bool:
        others = (x for x in categories if x["id"] != category["id"])
        return any(x.get("supercategory") == category["name"] for x in others)

    groups = [x for x in categories if _key(x["id"]) not in used and groups_others(x)]
    kept = [x for x in categories if x not in groups]
    if not kept:
        raise UserError(f"{path} names no categories: these are the classes to learn")
    are_numbers = all(_key(x["id"]).lstrip("-").isdecimal() for x in kept)
    kept.sort(key=lambda x: int(_key(x["id"])) if are_numbers else _key(x["id"]))
    return kept, groups


def _add_images(path: str, content: dict, index: ImageIndex, collector: Collector) -> dict:
    """{key of an image's id: its file_name}, of those that are taken.

    Merged jsons list an image several times, once for each source or class: boxes are joined.
    """
    entries = _section(path, content, "images", ("id", "file_name"))
    if not entries:
        raise UserError(f"{path} lists no images")
    found = index.find_all(entry["file_name"] for entry in entries)
    if not any(found.values()):
        raise UserError(
            f"none of the {len(entries)} images of {path} is in {index.root}, the first is "
            f"{entries[0]['file_name']}: name their folder with --images"
        )
    sizes = index.sizes({name for name in found.values() if name})
    files, taken = {}, {}  # taken: {file_name: the size its boxes refer to}
    for entry in entries:
        name = found[entry["file_name"]]
        if name is None:
            collector.leave_out("images that are not there", entry["file_name"])
            continue
        declared = _declared_size(entry)
        size = declared or sizes[name]
        if taken.get(name) == size:
            files[_key(entry["id"])] = name
            collector.mend("further entries of one image, their boxes joined", name)
        elif collector.add_image(name, sizes[name], declared):
            files[_key(entry["id"])], taken[name] = name, size
            if not declared:
                collector.mend("sizes that are missing, the image's file decides", name)
            if os.path.basename(name) != entry["file_name"].replace("\\", "/").rpartition("/")[2]:
                collector.mend("names of images in another spelling", entry["file_name"])
    return files


def _declared_size(entry: dict) -> tuple[float, float] | None:
    try:
        size = float(entry["width"]), float(entry["height"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return size if all(0 < side < float("inf") for side in size) else None


def _add(collector: Collector, item: dict, files: dict, category_of: dict) -> None:
    where = f"annotation {short(item.get('id'))}"
    image, category = _key(item.get("image_id")), _key(item.get("category_id"))
    if image not in files:
        return collector.leave_out("annotations of images that are not listed or left out", where)
    if category not in category_of:
        return collector.leave_out_box("annotations of categories that are not listed", where)
    try:
        crowd = flag(item, "iscrowd") or flag(item, "ignore")
    except ValueError:
        return collector.leave_out_box("annotations whose iscrowd is neither 0 nor 1", where)
    try:
        x, y, w, h = map(float, item.get("bbox") or ())
        if not (w and h) and item.get("segmentation"):
            raise ValueError("an empty box stands for none")
    except (TypeError, ValueError, OverflowError):
        try:
            x, y, w, h = _around(item.get("segmentation"))
        except (TypeError, ValueError, KeyError, IndexError, OverflowError):
            return collector.leave_out_box("annotations without a box of four numbers", where)
        collector.mend("boxes that are missing, taken around the masks", where)
    corners, area = (x, y, x + w, y + h), item.get("area")
    collector.add_box(files[image], category_of[category], corners, where, crowd, area)


def _around(segmentation) -> list[float]:
    """The box of a mask: polygons, or run lengths of either kind."""
    if isinstance(segmentation, dict):
        counts, (height, width) = segmentation["counts"], segmentation["size"]
        if isinstance(counts, list):
            segmentation = mask.frPyObjects(segmentation, height, width)
        return mask.toBbox(segmentation).tolist()
    if isinstance(segmentation[0], (int, float)):  # one polygon, not in a list
        segmentation = [segmentation]
    points = [float(value) for polygon in segmentation for value in polygon]
    xs, ys = points[::2], points[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
