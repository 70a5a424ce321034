"""Labels of whatever layout: recognised by what lies there, and read."""

import logging
import os
from collections.abc import Sequence
from functools import partial

from ..data.coco_json import CocoJson
from ..utils.errors import UserError
from .coco import read_coco
from .data_yaml import (
    YAMLS,
    has_keypoints,
    images_of,
    is_listed,
    is_there,
    leads_somewhere,
    names_for,
    read_names,
)
from .files import Tree, listed
from .image_index import ImageIndex
from .labels import Labels
from .parts import SETS, image_sets, part_folders, part_jsons
from .recognise import (
    LAYOUTS,
    coco_jsons,
    has_images,
    holds_txts,
    images_for,
    index_listed,
    lists_images,
    recognise,
)
from .voc import read_voc
from .yolo import read_yolo

__all__ = ["LAYOUTS", "part_of", "read_folder", "read_labels"]

logger = logging.getLogger(__name__)


def read_labels(
    path: str,
    images: str | None = None,
    layout: str | None = None,
    classes: Sequence[str] | None = None,
    part: str = "train",
) -> Labels:
    """Read the labels of one set.

    Args:
        path: a COCO json, YOLO's data.yaml, or a folder that holds one of them, txts or xmls.
        images: the folder of the images, where the labels do not say it.
        layout: one of LAYOUTS; None recognises it.
        classes: names that the labels must have, in the order that is wanted; None takes theirs.
        part: train, val or test, which of the sets that a data.yaml lists.
    Raises:
        UserError: there are no labels that can be read, or they could be of several layouts.
    """
    kind, folder = recognise(path, layout), None
    if os.path.isdir(path):
        listing = lists_images(path) if kind == "yolo" and not images else None
        if not listing and len(found := part_folders(path).keys() & set(SETS)) > 1:
            raise UserError(
                f"{path} holds {' and '.join(sorted(found))} sets: name the folder of one of them, "
                "or all of it with --data"
            )
        if listing and not has_images(path) and holds_txts(Tree(path)):
            folder = path
        path = listing or path
    if kind == "coco":
        return _coco(path, images, classes)
    if kind == "voc":
        return _voc(path, images, classes)
    return _yolo(path, images, part, classes, folder)


def part_of(path: str, name: str) -> str:
    """Which of its sets a data.yaml gives for train, val or test: that, if it lists images there,
    else what it lists to train on.
    """
    listing = lists_images(path) if os.path.isdir(path) else path
    is_yaml = bool(listing) and listing.lower().endswith(YAMLS) and os.path.isfile(listing)
    return name if is_yaml and leads_somewhere(listing) and is_listed(listing, name) else "train"


def _coco(path: str, images: str | None, classes: Sequence[str] | None) -> Labels:
    if os.path.isdir(path):
        jsons = coco_jsons(path)
        if len(jsons) > 1:
            raise UserError(
                f"{path} holds {len(jsons)} COCO jsons, "
                f"{listed([os.path.relpath(x, path) for x in jsons])}: name the one to read"
            )
        path = jsons[0]
    content = CocoJson.content_of(path)
    index = ImageIndex(images) if images else index_listed(path, content)
    return read_coco(path, content, index, classes)


def _yolo(
    path: str,
    images: str | None,
    part: str,
    classes: Sequence[str] | None,
    folder: str | None = None,
) -> Labels:
    """
    Args:
        folder: of labels alone, that was named and holds the data.yaml at `path`.
    """
    named = names_for(path) if os.path.isdir(path) else path
    read = partial(
        read_yolo, names=read_names(named), classes=classes, keypoints=has_keypoints(named)
    )
    if os.path.isdir(path):
        return read(path, ImageIndex(images or images_for(path)), folder=path)
    if not images and leads_somewhere(path):
        if not is_listed(path, part):
            raise UserError(f"{path} lists no images under {part}: add that, or name another file")
        index, among, absent = images_of(path, part)
        return read(f"{path} ({part})", index, among=among, absent=absent, folder=folder)
    folder = os.path.dirname(os.path.abspath(path))
    txts = folder if holds_txts(Tree(folder)) else None  # else a yaml apart from what it names
    if not images and is_listed(path, part):
        logger.warning(f"{path} lists images that are not here: all that lie beside it are read")
    return read(path, ImageIndex(images or images_for(folder)), folder=txts)


def _voc(
    path: str,
    images: str | None,
    classes: Sequence[str] | None,
    among: Sequence[str] | None = None,
) -> Labels:
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    xmls = Tree(path).paths(".xml") if os.path.isdir(path) else [path]
    return read_voc(path, folder, xmls, ImageIndex(images or images_for(folder)), classes, among)


def read_folder(path: str, layout: str | None = None) -> dict[str, Labels | str]:
    """Read a folder that holds train, valid and test sets, and perhaps unlabelled images.

    A data.yaml, Pascal VOC's ImageSets, folders or jsons of these names say what belongs to which.

    Args:
        path: also of the data.yaml in it.
    Returns:
        "train", "val", "test": labels; "unlabeled": a folder. A folder without such parts is one
        labelled set, "train".
    Raises:
        UserError: see `read_labels`.
    """
    if os.path.isfile(path) and path.lower().endswith(YAMLS):
        listing = path if leads_somewhere(path) else None
        path = os.path.dirname(os.path.abspath(path))
    elif os.path.isdir(path):
        listing = lists_images(path) if layout in (None, "yolo") else None
    else:
        raise UserError(
            f"--data {path} is no folder: name the one that holds train, valid and test"
        )
    folders = part_folders(path)
    unlabeled = folders.pop("unlabeled", None)
    readers = _readers(path, layout, listing, folders)
    if readers and "train" not in readers:
        raise UserError(f"{path} holds {' and '.join(readers)}, but no train: add its labels")
    found, classes = {}, None
    for name in SETS:
        if name in readers:
            found[name] = readers[name](classes)
            classes = found[name].classes
    if not found:
        found["train"] = read_labels(path, None, layout)
    return {**found, "unlabeled": unlabeled} if unlabeled else found


def _readers(path: str, layout: str | None, listing: str | None, folders: dict) -> dict:
    """{set: a function that reads it in an order of classes}, by the first that tells of any."""
    if listing:
        readers = {x: partial(_yolo, listing, None, x) for x in SETS if is_listed(listing, x)}
        if "test" in readers and not is_there(listing, "test"):  # as a hub's exports may have it
            del readers["test"]
            if "test" not in folders:
                logger.warning(f"{listing} lists a test set that is not there: it is left out")
        others = {name: folder for name, folder in folders.items() if name not in readers}
        return readers | {x: partial(_part, folder, layout) for x, folder in others.items()}
    if layout in (None, "voc") and (lists := image_sets(path)):
        return {x: partial(_voc, path, None, among=stems) for x, stems in lists.items()}
    if folders:
        return {x: partial(_part, folder, layout) for x, folder in folders.items()}
    jsons = part_jsons(path) if layout in (None, "coco") else {}
    return {x: partial(_coco, json, None) for x, json in jsons.items()}


def _part(folder: str, layout: str | None, classes: Sequence[str] | None) -> Labels:
    above, name = os.path.split(folder)
    labels = os.path.join(os.path.dirname(above), "labels", name)
    has_own_labels = os.path.basename(above) == "images" and os.path.isdir(labels)
    if has_own_labels and layout in (None, "yolo"):
        return _yolo(labels, folder, "", classes)
    return read_labels(folder, None, layout, classes)
