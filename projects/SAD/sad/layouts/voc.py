"""Pascal VOC: a folder with an xml for each image."""

import os
import re
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from xml.etree import ElementTree

from ..utils.errors import UserError, reason
from .image_index import THREADS, ImageIndex
from .labels import Collector, Labels

DECLARATION = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def read_voc(
    source: str,
    xmls: Sequence[str],
    index: ImageIndex,
    classes: Sequence[str] | None = None,
    among: set[str] | None = None,
) -> Labels:
    """
    An object that is marked difficult becomes a crowd: it is neither learned nor counted as missed.
    Coordinates are taken as they are; VOC's own start at 1, most tools' at 0, and no file says
    which.

    Args:
        xmls: their paths.
        classes: in this order; None takes the names that occur, sorted.
        among: stems of the images that belong to the set; None is all.
    Raises:
        UserError: an xml is no VOC xml, or names a class that is not among `classes`.
    """
    if among is not None:
        xmls = [path for path in xmls if _stem(path) in among]
    with ThreadPool(THREADS) as pool:
        roots = pool.map(_parse, xmls, 64)
    objects = [
        [_read_object(path, x) for x in root.iter("object")]
        for path, root in zip(xmls, roots, strict=True)
    ]
    found = sorted({name for of_image in objects for name, *_ in of_image})
    collector = Collector("Pascal VOC", source, index.root, classes or found)
    number = {name: n for n, name in enumerate(collector.labels.classes, start=1)}
    if foreign := [name for name in found if name not in number]:
        raise UserError(
            f"{source} has the class {foreign[0]!r}, which is not among those of the other labels, "
            f"{', '.join(map(repr, number))}: mend its name, or label it there, too"
        )
    images = [
        _image_of(path, root, index, collector) for path, root in zip(xmls, roots, strict=True)
    ]
    sizes = index.sizes({name for name in images if name})
    for path, root, name, of_image in zip(xmls, roots, images, objects, strict=True):
        where = os.path.basename(path)
        if name is None:
            collector.leave_out("xmls without an image", where)
        elif isinstance(sizes[name], str):
            collector.leave_out("images that cannot be read", f"{name} ({sizes[name]})")
        elif not collector.add_image(name, sizes[name]):
            collector.leave_out("further xmls of one image", where)
        else:
            if _declared_size(root) not in (sizes[name], None):
                collector.mend("sizes, which the image's file decides", where)
            for label, corners, difficult in of_image:
                if corners is None:
                    collector.leave_out("objects without a box", f"{where}: {label}")
                else:
                    collector.add_box(name, number[label], corners, f"{where}: {label}", difficult)
    labels = collector.finish()
    used = {name for name in images if name}
    labels.unlabeled = [
        x for x in index.names if x not in used and (among is None or _stem(x) in among)
    ]
    return labels


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _parse(path: str) -> ElementTree.Element:
    try:
        with open(path, "rb") as file:
            content = file.read()
        if DECLARATION.search(content):  # entities can make much of little
            raise UserError(f"{path} declares a document type, which labels do not need: remove it")
        root = ElementTree.fromstring(content)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} is no xml that can be read ({reason(error)}): mend it") from error
    if root.tag != "annotation":
        raise UserError(
            f"{path} is no Pascal VOC xml, it begins with <{root.tag}> and not <annotation>"
        )
    return root


def _read_object(path: str, node) -> tuple[str, list[float] | None, int]:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{path} has an object without a name: name its class")
    difficult = (node.findtext("difficult") or "").strip() == "1"
    box = node.find("bndbox")
    if box is None:
        return name, None, difficult
    try:
        corners = [float(box.findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax")]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: the box of {name!r} lacks a number of xmin, ymin, xmax, ymax: mend it"
        ) from error
    return name, corners, int(difficult)


def _image_of(path: str, root, index: ImageIndex, collector: Collector) -> str | None:
    """By the xml's own name, which tools keep right, or else by the <filename> in it."""
    inner = (root.findtext("filename") or "").strip()
    by_xml, by_name = index.find(_stem(path)), index.find(inner) if inner else None
    if by_xml and by_name != by_xml:
        collector.mend("<filename>s, which the xml's own name decides", os.path.basename(path))
    return by_xml or by_name


def _declared_size(root) -> tuple[int, int] | None:
    try:
        return tuple(round(float(root.findtext(f"size/{key}"))) for key in ("width", "height"))
    except (TypeError, ValueError, OverflowError):
        return None
