"""COCO's json, also as exporters write it: ids of other types, sizes and boxes that are missing."""

from collections.abc import Sequence

from pycocotools import mask

from ..data.categories import order_of
from ..data.coco_items import flag, short
from ..data.coco_json import CocoJson
from ..utils.errors import UserError
from .image_index import ImageIndex
from .labels import Collector, Labels


def read_coco(
    path: str,
    index: ImageIndex,
    classes: Sequence[str] | None = None,
) -> Labels:
    """
    Args:
        index: of the folder that its images lie in.
        classes: the same names in the order that is wanted.
    Raises:
        UserError: it is no COCO json with categories and annotations.
    """
    content = CocoJson.content_of(path)
    categories, left_out = _categories(path, content)
    names = [category["name"] for category in categories]
    wanted = list(classes or names)
    numbers = order_of(names, wanted, path, "the other labels")
    number = {_key(x["id"]): n + 1 for x, n in zip(categories, numbers, strict=True)}
    collector = Collector("COCO json", path, index.root, wanted)
    for name in left_out:
        collector.leave_out("categories without boxes that only group others", name)
    files = _add_images(path, content, index, collector)
    for item in content.get("annotations") or []:
        if not isinstance(item, dict):
            raise UserError(f"{path}: annotations hold {short(item)}, not an object with a bbox")
        _add(collector, path, item, files, number)
    labels = collector.finish()
    listed = {file for file, *_ in files.values()}
    labels.unlabeled = [name for name in index.names if name not in listed]
    return labels


def _key(value):
    """One of an id that some tools write as a number and some as a text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _categories(path: str, content: dict) -> tuple[list[dict], list[str]]:
    """(those to learn, by id as COCO's are; names of those that only group others).

    Exporters write a project's name as category 0 and make it the super-category of the classes.
    """
    categories = content.get("categories") or []
    if not isinstance(categories, list) or not all(
        isinstance(x, dict) and "id" in x and isinstance(x.get("name"), str) for x in categories
    ):
        raise UserError(f"{path}: each of categories needs an id and a name")
    keys = [_key(category["id"]) for category in categories]
    if len(set(keys)) < len(keys):
        raise UserError(f"{path}: two categories have one id: number them apart")
    used = {
        _key(x.get("category_id")) for x in content.get("annotations") or [] if isinstance(x, dict)
    }
    groups = {
        category.get("supercategory")
        for category in categories
        if category.get("name") != category.get("supercategory")
    }
    grouping = [x for x in categories if x["name"] in groups and _key(x["id"]) not in used]
    kept = [x for x in categories if x not in grouping]
    if not kept:
        raise UserError(f"{path} names no categories: these are the classes to learn")
    number = all(key.lstrip("-").isdigit() for key in keys)
    kept.sort(key=lambda x: int(_key(x["id"])) if number else _key(x["id"]))
    return kept, [x["name"] for x in grouping]


def _add_images(path: str, content: dict, index: ImageIndex, collector: Collector) -> dict:
    """{key of an image's id: (its file, width and height of the pixels that its boxes count)}."""
    entries = content["images"]
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} lists no images")
    for entry in entries:
        if (
            not isinstance(entry, dict)
            or "id" not in entry
            or not isinstance(entry.get("file_name"), str)
        ):
            raise UserError(
                f"{path}: each of images needs an id and a file_name, not {short(entry)}"
            )
    keys = [_key(entry["id"]) for entry in entries]
    if len(set(keys)) < len(keys):
        raise UserError(f"{path}: two images have one id: number them apart")
    found = [index.find(entry["file_name"]) for entry in entries]
    if not any(found):
        raise UserError(
            f"none of the {len(entries)} images of {path} is in {index.root}, the first is "
            f"{entries[0]['file_name']}: name their folder with --images"
        )
    sizes = index.sizes({name for name in found if name})
    files = {}
    for key, entry, name in zip(keys, entries, found, strict=True):
        if name is None:
            collector.leave_out("images that are not there", entry["file_name"])
        elif isinstance(sizes[name], str):
            collector.leave_out("images that cannot be read", f"{name} ({sizes[name]})")
        elif not collector.add_image(name, sizes[name]):
            collector.leave_out("further entries of one image", name)
        else:
            files[key] = name, *_scale(entry, sizes[name], collector)
    return files


def _scale(entry: dict, size: tuple[int, int], collector: Collector) -> tuple[float, float]:
    """By what the boxes' x and y are multiplied.

    An image that was resized after it was labelled keeps its shape, and its boxes follow.
    """
    try:
        said = float(entry["width"]), float(entry["height"])
    except (KeyError, TypeError, ValueError):
        collector.mend("sizes that are missing", entry["file_name"])
        return 1.0, 1.0
    if said == size or min(said) <= 0:
        return 1.0, 1.0
    x, y = (real / claimed for real, claimed in zip(size, said, strict=True))
    if abs(x / y - 1) < 0.02 and abs(x - 1) > 0.02:
        collector.mend("boxes of images that were resized", entry["file_name"])
        return x, y
    collector.mend("sizes, which the image's file decides", entry["file_name"])
    return 1.0, 1.0


def _add(collector: Collector, path: str, item: dict, files: dict, number: dict) -> None:
    where = f"{path}: annotation {short(item.get('id'))}"
    key, category = _key(item.get("image_id")), _key(item.get("category_id"))
    if key not in files:
        return collector.leave_out("annotations of images that are not listed or left out", where)
    if category not in number:
        return collector.leave_out("annotations of categories that are not listed", where)
    name, scale_x, scale_y = files[key]
    try:
        crowd = flag(item, "iscrowd") or flag(item, "ignore")
        box = item.get("bbox") or _around(item.get("segmentation"), collector, where)
        x, y, w, h = map(float, box)
    except (TypeError, ValueError):
        return collector.leave_out("annotations without a box", where)
    corners = x * scale_x, y * scale_y, (x + w) * scale_x, (y + h) * scale_y
    collector.add_box(name, number[category], corners, where, crowd)


def _around(segmentation, collector: Collector, where: str) -> list[float]:
    """The box of a mask: polygons, or run lengths of either kind."""
    if isinstance(segmentation, dict):
        counts, (height, width) = segmentation["counts"], segmentation["size"]
        if isinstance(counts, list):
            segmentation = mask.frPyObjects(segmentation, height, width)
        box = mask.toBbox(segmentation).tolist()
    else:
        points = [value for polygon in segmentation for value in polygon]
        xs, ys = points[::2], points[1::2]
        box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    collector.mend("boxes that are missing, taken around the masks", where)
    return box
