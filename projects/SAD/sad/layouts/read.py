"""Labels of whatever layout: recognised by what lies there, and read."""

import os
from collections.abc import Sequence

from ..data.coco_json import CocoJson
from ..utils.errors import UserError
from .coco import read_coco
from .image_index import ImageIndex
from .labels import Labels
from .voc import read_voc
from .yolo import CLASS_FILES, read_names, read_yaml, read_yolo

LAYOUTS = ("coco", "yolo", "voc")
PARTS = {  # set -> names of its folder
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
    "unlabeled": ("unlabeled", "unlabelled"),
}
IMAGE_FOLDERS = ("images", "JPEGImages", "imgs", ".")


def read_labels(
    path: str,
    images: str | None = None,
    layout: str | None = None,
    classes: Sequence[str] | None = None,
) -> Labels:
    """Read the labels of one set.

    Args:
        path: a COCO json, YOLO's data.yaml, or a folder that holds one of them, txts or xmls.
        images: the folder of the images, where the labels do not say it.
        layout: one of LAYOUTS; None recognises it.
        classes: names that the labels must have, in the order that is wanted; None takes theirs.
    Raises:
        UserError: there are no labels that can be read, or they could be of several layouts.
    """
    if not os.path.exists(path):
        raise UserError(f"labels {path} do not exist: name a json, a data.yaml or a folder")
    kind = layout or recognise(path)
    if kind == "coco":
        return _coco(_the_json(path), images, classes)
    if kind == "yolo":
        return _yolo(path, images, classes)
    if kind == "voc":
        return _voc(path, images, classes)
    raise UserError(f"--layout is {layout!r}, it must be one of {', '.join(LAYOUTS)}")


def recognise(path: str) -> str:
    """The layout of a file by its ending, of a folder by the files below it.

    Raises:
        UserError: there is none, or more than one.
    """
    if os.path.isfile(path):
        ending = os.path.splitext(path)[1].lower()
        found = {".json": "coco", ".yaml": "yolo", ".yml": "yolo", ".xml": "voc"}.get(ending)
        if found is None:
            raise UserError(f"labels {path} are no json, yaml or folder: name one of these")
        return found
    found = [name for name, test in TESTS.items() if test(path)]
    if not found:
        raise UserError(
            f"there are no labels in {path}: neither a COCO json, nor YOLO's txts (or data.yaml) "
            "nor Pascal VOC's xmls"
        )
    if len(found) > 1:
        raise UserError(
            f"{path} holds labels of several layouts, {' and '.join(found)}: say which with "
            f"--layout {found[0]}"
        )
    return found[0]


def files_below(folder: str, endings: tuple[str, ...]) -> list[str]:
    """Paths of files below a folder by their ending, hidden ones left out; sorted."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(x for x in folders if not x.startswith("."))
        found += [
            os.path.join(root, x)
            for x in names
            if x.lower().endswith(endings) and not x.startswith(".")
        ]
    return sorted(found)


def _jsons(folder: str) -> list[str]:
    places = (folder, os.path.join(folder, "annotations"))
    paths = [
        os.path.join(place, x)
        for place in places
        if os.path.isdir(place)
        for x in sorted(os.listdir(place))
        if x.lower().endswith(".json") and not x.startswith(".")
    ]
    return [path for path in paths if _is_coco(path)]


def _is_coco(path: str) -> bool:
    try:
        content = CocoJson.content_of(path)
    except UserError:
        return False
    return "annotations" in content


def _is_yolo(folder: str) -> bool:
    if _class_file(folder):
        return True
    folders = {os.path.basename(os.path.dirname(x)) for x in files_below(folder, (".txt",))}
    return "labels" in folders or any("labels" in x.split(os.sep) for x in folders)


TESTS = {
    "coco": lambda folder: bool(_jsons(folder)),
    "yolo": _is_yolo,
    "voc": lambda folder: bool(files_below(folder, (".xml",))),
}


def _the_json(path: str) -> str:
    if os.path.isfile(path):
        return path
    found = _jsons(path)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"there is no COCO json in {path}: name the json itself")
    raise UserError(
        f"{path} holds {len(found)} COCO jsons, {', '.join(map(os.path.basename, found[:3]))}: "
        "name the one to read"
    )


def _coco(path: str, images: str | None, classes) -> Labels:
    return read_coco(path, ImageIndex(images or _images_of_json(path)), classes)


def _images_of_json(path: str) -> str:
    """The folder in which the first image that a json lists lies."""
    entries = CocoJson.content_of(path)["images"]
    first = entries[0].get("file_name") if entries and isinstance(entries[0], dict) else None
    beside = os.path.dirname(os.path.abspath(path))
    stem = os.path.splitext(os.path.basename(path))[0].removeprefix("instances_")
    above = os.path.dirname(beside)
    places = [beside, os.path.join(beside, "images"), above, os.path.join(above, "images")]
    places += [os.path.join(above, stem), os.path.join(above, "images", stem)]
    if isinstance(first, str):
        name = first.replace("\\", "/")
        for place in places:
            for candidate in (name, os.path.basename(name)):
                if os.path.isfile(os.path.join(place, candidate)):
                    return place
    raise UserError(
        f"the images of {path}, the first is {first}, lie neither beside it nor in a folder images "
        "there: name their folder with --images"
    )


def _class_file(folder: str) -> str | None:
    """The yaml or text that names YOLO's classes, in the folder or in labels/."""
    for place in (folder, os.path.join(folder, "labels")):
        if not os.path.isdir(place):
            continue
        names = sorted(os.listdir(place))
        for name in names:
            if name.endswith((".yaml", ".yml")) and _has_names(os.path.join(place, name)):
                return os.path.join(place, name)
        for name in CLASS_FILES:
            if name in names:
                return os.path.join(place, name)
    return None


def _has_names(path: str) -> bool:
    try:
        return "names" in read_yaml(path)
    except UserError:
        return False


def _names_for(folder: str) -> list[str]:
    """YOLO's classes, of the folder or one of the two above it."""
    place = os.path.abspath(folder)
    for _ in range(3):
        if found := _class_file(place):
            return read_names(found)
        place = os.path.dirname(place)
    raise UserError(
        f"nothing names the classes of {folder}: put a data.yaml with names, or a classes.txt with "
        "one name a line, beside its labels"
    )


def _yolo(path: str, images: str | None, classes) -> Labels:
    if os.path.isdir(path):
        return _yolo_folder(path, images, _names_for(path), classes, path)
    names = read_names(path)
    if images:
        return read_yolo(path, ImageIndex(images), names, classes)
    for key in ("train", "val", "test"):
        if read_yaml(path).get(key):
            return yolo_part(path, key, names, classes)
    return _yolo_folder(os.path.dirname(path) or ".", None, names, classes, path)


def _yolo_folder(folder: str, images: str | None, names, classes, source: str) -> Labels:
    return read_yolo(source, ImageIndex(images or folder), names, classes)


def yolo_part(path: str, key: str, names: list[str], classes=None) -> Labels:
    """What a data.yaml lists under train, val or test: a folder, several, or a txt with paths."""
    content = read_yaml(path)
    beside = os.path.dirname(os.path.abspath(path))
    entries = content[key] if isinstance(content[key], list) else [content[key]]
    places = [_place(str(entry), content.get("path"), beside, path, key) for entry in entries]
    root = os.path.commonpath([x if os.path.isdir(x) else os.path.dirname(x) for x in places])
    index = ImageIndex(root)
    among = set()
    for place in places:
        if os.path.isdir(place):
            inside = os.path.relpath(place, root)
            among |= {x for x in index.names if inside == "." or x.startswith(inside + os.sep)}
        else:
            with open(place, encoding="utf-8-sig") as file:
                among |= {index.find(line.strip()) for line in file if line.strip()} - {None}
    return read_yolo(f"{path} ({key})", index, names, classes, among)


def _place(entry: str, root, beside: str, path: str, key: str) -> str:
    """Where a path of a data.yaml leads here; it may have been written on another machine."""
    parts = [x for x in entry.replace("\\", "/").split("/") if x and not x.endswith(":")]
    tries = [entry, os.path.join(str(root or ""), entry)]
    # The last parts of the path, the longest first, beside the yaml.
    tries += [os.path.join(*parts[n:]) for n in range(len(parts))]
    for text in tries:
        place = os.path.normpath(os.path.join(beside, text))
        if os.path.exists(place):
            return place
    raise UserError(
        f"{path}: {key} is {entry}, which is not there, nor are its last parts beside the yaml: "
        "mend the path"
    )


def _voc(path: str, images: str | None, classes, among: set[str] | None = None) -> Labels:
    xmls = files_below(path, (".xml",)) if os.path.isdir(path) else [path]
    if not xmls:
        raise UserError(f"there are no xmls in {path}: name the folder that holds them")
    if not images:
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        above = os.path.dirname(os.path.abspath(folder))
        places = [folder, *(os.path.join(above, x) for x in IMAGE_FOLDERS)]
        images = next((x for x in places if os.path.isdir(x) and _has_images(x)), folder)
    return read_voc(path, xmls, ImageIndex(images), classes, among)


def _has_images(folder: str) -> bool:
    from ..data.image_files import SUFFIXES

    return bool(files_below(folder, SUFFIXES))


def read_folder(path: str, layout: str | None = None) -> dict[str, Labels | str]:
    """Read a folder that holds train, valid and test sets, and perhaps unlabelled images.

    Returns:
        "train", "val", "test": labels; "unlabeled": a folder. A folder without such parts is one
        labelled set, "train".
    Raises:
        UserError: see `read_labels`.
    """
    if not os.path.isdir(path):
        raise UserError(
            f"--data {path} is no folder: name the one that holds train, valid and test"
        )
    parts = {
        name: os.path.join(path, entry)
        for name, spellings in PARTS.items()
        for entry in sorted(os.listdir(path))
        if entry.lower() in spellings and os.path.isdir(os.path.join(path, entry))
    }
    found, unlabeled = {}, parts.pop("unlabeled", None)
    names = _class_file(path) if layout in (None, "yolo") else None
    if names and names.endswith((".yaml", ".yml")):
        content = read_yaml(names)
        for name in ("train", "val", "test"):
            if content.get(name):
                found[name] = yolo_part(names, name, read_names(names))
    classes = None
    for name in ("train", "val", "test"):
        if not found.get(name) and name in parts:
            found[name] = read_labels(parts[name], None, layout, classes)
        if name in found:
            classes = classes or found[name].classes
    if not found:
        found["train"] = read_labels(path, None, layout)
    return {**found, "unlabeled": unlabeled} if unlabeled else found
