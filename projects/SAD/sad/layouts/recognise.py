"""Which layout the labels at a path have, and where the files of it lie."""

import os

from ..data.coco_json import CocoJson
from ..data.image_files import SUFFIXES
from ..utils.errors import UserError
from .data_yaml import CLASS_FILES, YAMLS, leads_somewhere, names_in
from .files import Tree, listed, read_lines
from .image_index import ImageIndex

LAYOUTS = ("coco", "yolo", "voc")
NAMES = {"coco": "a COCO json", "yolo": "YOLO's txts or data.yaml", "voc": "Pascal VOC's xmls"}
ENDINGS = {".json": "coco", ".yaml": "yolo", ".yml": "yolo", ".xml": "voc"}
LOOKED_FOR = 100  # images of a json, of which one is there
IMAGE_FOLDERS = ("images", "JPEGImages", "imgs", "img", "data")


def recognise(path: str, layout: str | None = None) -> str:
    """The layout of a file by its ending, of a folder by the files below it.

    Args:
        layout: what the user says it is; None leaves it to the files.
    Raises:
        UserError: there are no labels, those of several layouts, or of another than the user says.
    """
    if layout not in (None, *LAYOUTS):
        raise UserError(f"--layout is {layout!r}, it must be one of {', '.join(LAYOUTS)}")
    if not os.path.exists(path):
        raise UserError(f"labels {path} do not exist: name a json, a data.yaml or a folder")
    if os.path.isfile(path):
        found = [ENDINGS.get(os.path.splitext(path)[1].lower())]
        if not found[0]:
            raise UserError(f"labels {path} are no json, yaml, xml or folder: name one of these")
    else:
        found = _layouts_in(path)
    if layout and layout not in found:
        there = f", it looks like {NAMES[found[0]]}" if found else ""
        raise UserError(
            f"--layout is {layout}, but {path} holds no {NAMES[layout].removeprefix('a ')}{there}"
        )
    if len(found) > 1 and not layout:
        raise UserError(
            f"{path} holds labels of several layouts, {' and '.join(NAMES[x] for x in found)}: say "
            f"which with --layout {' or --layout '.join(found)}"
        )
    return layout or found[0]


def _layouts_in(folder: str) -> list[str]:
    tree = Tree(folder)
    jsons = coco_jsons(folder)
    found = ["coco"] if jsons else []
    if holds_txts(tree) or lists_images(folder):
        found.append("yolo")
    if tree.paths(".xml"):
        found.append("voc")
    if not found:
        if others := _jsons(folder):
            CocoJson.content_of(others[0])  # says what it is instead
        raise UserError(f"there are no labels in {folder}: neither {', nor '.join(NAMES.values())}")
    return found


def holds_txts(tree: Tree) -> bool:
    """Whether any txt there is one of YOLO's."""
    return any(map(_is_label, tree.paths(".txt")))


def _is_label(path: str) -> bool:
    """Whether a txt begins as YOLO's do, or is one of an image without objects."""
    if os.path.basename(path) in CLASS_FILES:
        return False
    try:
        lines = read_lines(path)
        numbers = [float(x) for x in lines[0].split()] if lines else []
    except (UserError, ValueError):
        return False
    return len(numbers) >= 5 or (not lines and "labels" in path.split(os.sep))


def lists_images(folder: str) -> str | None:
    """The data.yaml in a folder that names classes and lists images of which some are here."""
    path = names_in(folder)
    return path if path and path.lower().endswith(YAMLS) and leads_somewhere(path) else None


def _jsons(folder: str) -> list[str]:
    places = (folder, os.path.join(folder, "annotations"))
    return [
        os.path.join(place, name)
        for place in places
        if os.path.isdir(place)
        for name in sorted(os.listdir(place))
        if name.lower().endswith(".json") and not name.startswith(".")
    ]


def coco_jsons(folder: str) -> list[str]:
    """Paths of the COCO jsons with annotations, in a folder or in annotations/ there."""

    def is_coco(path: str) -> bool:
        try:
            return "annotations" in CocoJson.content_of(path)
        except UserError:
            return False

    return [path for path in _jsons(folder) if is_coco(path)]


def index_listed(path: str, content: dict) -> ImageIndex:
    """The images of the folder that the file_names of a COCO json start at.

    Raises:
        UserError: none of the first of them is there, nor any image.
    """
    images = content["images"] if isinstance(content["images"], list) else []
    names = [str(x.get("file_name")) for x in images if isinstance(x, dict)]
    beside = os.path.dirname(os.path.abspath(path))
    above = os.path.dirname(beside)
    stem = os.path.splitext(os.path.basename(path))[0].removeprefix("instances_")
    named = (stem, *IMAGE_FOLDERS, f"images/{stem}")
    places = [beside, *(os.path.join(x, name) for x in (beside, above) for name in named), above]
    first = [name.replace("\\", "/").lstrip("/") for name in names[:LOOKED_FOR]]
    for name in [*first, *map(os.path.basename, first)]:
        for place in places:
            if os.path.isfile(os.path.join(place, name)):
                return ImageIndex(place)
    absolute = {os.path.dirname(x) for x in names if os.path.isabs(x) and os.path.isfile(x)}
    if absolute:
        return ImageIndex(os.path.commonpath(absolute), sorted(absolute))
    for place in places[:-1]:  # in folders below, or by names in another spelling
        if has_images(place):
            return ImageIndex(place)
    such = f", the first is {names[0]}," if names else ""
    raise UserError(
        f"the images of {path}{such} lie neither beside it nor in a folder images there: name "
        "their folder with --images"
    )


def has_images(folder: str) -> bool:
    return os.path.isdir(folder) and bool(Tree(folder).paths(*SUFFIXES))


def images_for(folder: str) -> str:
    """The folder of the images whose txts or xmls a folder holds.

    Raises:
        UserError: there is none.
    """
    place = os.path.abspath(folder)
    parts = place.split(os.sep)
    places = [place]
    for name in ("labels", "Annotations"):
        if name in parts:  # labels/train goes with images/train
            last = len(parts) - 1 - parts[::-1].index(name)
            swapped = ([*parts[:last], x, *parts[last + 1 :]] for x in IMAGE_FOLDERS)
            places += [os.sep.join(x) for x in swapped]
    above = os.path.dirname(place)
    places += [*(os.path.join(above, name) for name in IMAGE_FOLDERS), above]
    for candidate in places:
        if has_images(candidate):
            return candidate
    raise UserError(
        f"there are no images in {folder} or beside it ({listed(SUFFIXES, 9)}): name their folder "
        "with --images"
    )
