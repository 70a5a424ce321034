"""Pascal VOC: a folder with an xml for each image."""

import os
import re
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import NamedTuple
from xml.etree import ElementTree

from ..data.coco_boxes import Limits
from ..utils.errors import UserError, reason
from .collector import Collector
from .image_index import THREADS, ImageIndex
from .labels import Labels

FORM = "Pascal VOC's xmin, ymin, xmax and ymax are pixels"
DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


class Object(NamedTuple):
    name: str
    corners: list[float] | None
    difficult: bool


def read_voc(
    source: str,
    folder: str,
    xmls: Sequence[str],
    index: ImageIndex,
    classes: Sequence[str] | None = None,
    among: Sequence[str] | None = None,
) -> Labels:
    """Read xmls as `Labels`. One without objects stands for an image that shows none of them.

    An object that is marked difficult becomes a crowd: it is neither learned nor counted as missed.
    Coordinates are taken as they are. VOC's own begin at 1, those of most tools at 0, and no file
    tells which: labelImg writes what is 0 as 1.

    Args:
        folder: that holds the xmls, perhaps in folders below.
        xmls: their paths.
        classes: in this order; None takes the names that occur, sorted.
        among: names of the images that belong to the set, without their ending; None is all.
    Raises:
        UserError: no xml is one of VOC, one declares a document type or names a class that is not
            among `classes`, or `Collector.finish` says.
    """
    if among is not None:
        among = set(among)
        xmls = [path for path in xmls if _stem(path) in among]
    with ThreadPool(THREADS) as pool:
        roots = pool.map(_parse, xmls, 64)
    parsed = {os.path.relpath(x, folder): root for x, root in zip(xmls, roots, strict=True)}
    found = {path: root for path, root in parsed.items() if not isinstance(root, str)}
    faults = [f"{path}: {why}" for path, why in parsed.items() if isinstance(why, str)]
    if not found:
        raise UserError(f"there are no Pascal VOC xmls in {source}{'; '.join(['', *faults[:1]])}")
    objects = {x: [_read_object(node) for node in root.iter("object")] for x, root in found.items()}
    names = sorted({x.name for of_image in objects.values() for x in of_image if x.name})
    _check_names(source, names, classes)
    collector = Collector("Pascal VOC", source, index.root, classes or names)
    for fault in faults:
        collector.leave_out("xmls that are none of Pascal VOC", fault)
    images = _find_images(found, index, collector)
    sizes = index.sizes({name for name in images.values() if name})
    for path, name in images.items():
        if name is None:
            collector.leave_out("xmls without an image", path)
        elif collector.add_image(name, sizes[name], declared := _declared_size(found[path])):
            if not declared:
                collector.mend("sizes that are missing, the image's file decides", path)
            _add_objects(collector, name, path, objects[path])
    labels = collector.finish(Limits(), FORM)
    used = set(images.values())
    of_set = index.names if among is None else [x for x in index.names if _stem(x) in among]
    labels.unlabeled = [name for name in of_set if name not in used]
    return labels


def _check_names(source: str, names: list[str], classes: Sequence[str] | None) -> None:
    if not names and not classes:
        raise UserError(f"{source} has no object with a name in any xml: label some")
    if foreign := [name for name in names if classes and name not in classes]:
        raise UserError(
            f"{source} has the class {foreign[0]!r}, which is not among those of the other labels, "
            f"{', '.join(map(repr, classes))}: mend its name, or label it there, too"
        )


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _parse(path: str) -> ElementTree.Element | str:
    """The xml, or why it is none of Pascal VOC."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        if DECLARATION.search(content.replace(b"\0", b"")):  # also in UTF-16
            raise UserError(
                f"{path} declares a document type or an entity, which labels do not need and "
                "which can make much of little: remove the declaration"
            )
        root = ElementTree.fromstring(content)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        return reason(error)
    return root if root.tag == "annotation" else f"it begins with <{root.tag}>, not <annotation>"


def _read_object(node) -> Object:
    name = (node.findtext("name") or "").strip()
    difficult = (node.findtext("difficult") or "").strip().lower() in ("1", "true")
    try:
        keys = ("xmin", "ymin", "xmax", "ymax")
        corners = [float(node.findtext(f"bndbox/{key}")) for key in keys]
    except (TypeError, ValueError):
        corners = None
    return Object(name, corners, difficult)


def _add_objects(collector: Collector, name: str, where: str, objects: list[Object]) -> None:
    number = {label: n for n, label in enumerate(collector.labels.classes, start=1)}
    for label, corners, difficult in objects:
        place = f"{where}: {label}"
        if not label:
            collector.leave_out_box("objects without a name", where)
        elif corners is None:
            collector.leave_out_box("objects without a box of four numbers", place)
        else:
            collector.add_box(name, number[label], corners, place, int(difficult))


def _find_images(xmls: dict, index: ImageIndex, collector: Collector) -> dict[str, str | None]:
    """By the xmls' own names, which tools keep right, or else by the <filename>s in them.

    Those found by their own names come first, and so keep an image that others name, too.

    Args:
        xmls: {path from the folder of all: root}
    """
    stems = {path: os.path.splitext(path)[0] for path in xmls}
    inner = {path: (root.findtext("filename") or "").strip() for path, root in xmls.items()}
    by_stem, by_xml = index.find_all(stems.values()), index.find_all(inner.values())
    found = {path: image for path, stem in stems.items() if (image := by_stem[stem])}
    for path, image in found.items():
        if inner[path] and image != by_xml[inner[path]]:
            collector.mend("<filename>s that are wrong, the xml's own name decides", path)
    return found | {path: by_xml[inner[path]] for path in xmls if path not in found}


def _declared_size(root) -> tuple[float, float] | None:
    try:
        size = tuple(float(root.findtext(f"size/{key}")) for key in ("width", "height"))
    except (TypeError, ValueError):
        return None
    return size if all(0 < side < float("inf") for side in size) else None
