"""YOLO's data.yaml, or another file that names the classes: what it says, and where that lies."""

import os

import yaml

from ..data.coco_items import UNPRINTABLE
from ..utils.errors import UserError, reason
from .files import listed, read_lines
from .image_index import ImageIndex

YAMLS = (".yaml", ".yml")
CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels")
PARTS = ("train", "val", "test")


def read_yaml(path: str) -> dict:
    """A yaml's content, every value a text: `no` is a class's name as well.

    Raises:
        UserError: it is no yaml with keys.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        content = _parse(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as yaml ({reason(error)}): mend it") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no keys such as names and train: mend it")
    return content


def _parse(text: str):
    """Texts, lists and dicts alone. Windows' paths in double quotes are no escapes, though they
    look like some.
    """
    slashes = text.replace("\\", "/")
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        if slashes == text:
            raise
        return yaml.load(slashes, Loader=yaml.BaseLoader)
    if UNPRINTABLE.search(" ".join(map(str, _texts(content)))):
        return yaml.load(slashes, Loader=yaml.BaseLoader)
    return content


def _texts(content):
    if isinstance(content, dict):
        content = [*content.values()]
    if isinstance(content, list):
        for item in content:
            yield from _texts(item)
    else:
        yield content


def read_names(path: str) -> dict[int, str]:
    """{number: class} of a data.yaml, or of a text file with one name a line.

    Raises:
        UserError: it cannot be read, or names none.
    """
    names = read_yaml(path).get("names") if path.lower().endswith(YAMLS) else read_lines(path)
    if isinstance(names, list):
        names = dict(enumerate(names))
    try:
        names = {int(number): name.strip() for number, name in names.items()}
    except (AttributeError, TypeError, ValueError):  # other than texts
        names = None
    if not names:
        raise UserError(
            f"{path} names no classes: it needs names, a list, or numbers with their names"
        )
    return names


def has_keypoints(path: str) -> bool:
    """Whether a data.yaml says that lines hold keypoints behind their box."""
    return path.lower().endswith(YAMLS) and bool(read_yaml(path).get("kpt_shape"))


def names_in(folder: str) -> str | None:
    """The file that names YOLO's classes, in a folder or in labels/ there.

    Raises:
        UserError: there are several yamls that do.
    """
    for place in (folder, os.path.join(folder, "labels")):
        files = sorted(os.listdir(place)) if os.path.isdir(place) else []
        yamls = [x for x in files if x.lower().endswith(YAMLS) and _has_names(place, x)]
        if len(yamls) > 1 and "data.yaml" not in yamls:
            raise UserError(
                f"{place} holds several yamls with names, {listed(yamls)}: name the one to read"
            )
        texts = [name for name in CLASS_FILES if name in files]
        for name in [x for x in yamls if x == "data.yaml"] + yamls + texts:
            return os.path.join(place, name)
    return None


def names_for(folder: str) -> str:
    """The same, also of one of the two folders above.

    Raises:
        UserError: there is none.
    """
    place = os.path.abspath(folder)
    for _ in range(3):
        if found := names_in(place):
            return found
        place = os.path.dirname(place)
    raise UserError(
        f"nothing names the classes of {folder}: put a data.yaml with names, or a classes.txt with "
        "one name a line, beside its labels"
    )


def _has_names(folder: str, name: str) -> bool:
    try:
        return "names" in read_yaml(os.path.join(folder, name))
    except UserError:
        return False


def images_of(path: str, part: str) -> tuple[ImageIndex, list[str], list[str]]:
    """The images that a data.yaml lists under train, val or test.

    Returns:
        an index of the folders that hold them, which of its names they are, and what is listed but
        not there.
    Raises:
        UserError: what it lists is not there, or is what it lists for another part, too.
    """
    content, places = read_yaml(path), _places(path, part)
    for other in PARTS[: PARTS.index(part)]:
        if content.get(other) != content[part] and is_there(path, other):
            if _places(path, other) == places:
                raise UserError(
                    f"{path}: {other} and {part} both lead to {places[0]} here: mend their paths"
                )
    folders, lines = _folders_and_lines(places)
    looked_in = list(folders)
    if len(folders) < len(places):
        looked_in.append(os.path.dirname(os.path.abspath(path)))
        looked_in += {os.path.dirname(x) for x in lines if os.path.isabs(x) and os.path.isfile(x)}
    index = ImageIndex(os.path.commonpath(looked_in), looked_in)
    others = []
    for other in PARTS:
        if lines and other != part and is_there(path, other):
            of_other, its_lines = _folders_and_lines(_places(path, other))
            others += its_lines + [name for folder in of_other for name in index.below(folder)]
    found = index.find_all(lines, others)
    among = {name for name in found.values() if name}
    among.update(name for folder in folders for name in index.below(folder))
    return index, sorted(among), [line for line, name in found.items() if not name]


def _folders_and_lines(places: list[str]) -> tuple[list[str], list[str]]:
    """Those that are folders, and what the lists among them hold."""
    folders = [place for place in places if os.path.isdir(place)]
    return folders, [x for place in places if place not in folders for x in read_lines(place)]


def is_there(path: str, part: str) -> bool:
    """Whether a data.yaml lists images under a part, and they are here."""
    try:
        return bool(_places(path, part))
    except UserError:
        return False


def leads_somewhere(path: str) -> bool:
    """Whether any of the images that a data.yaml lists are here."""
    return any(is_there(path, part) for part in PARTS)


def is_listed(path: str, part: str) -> bool:
    """Whether a data.yaml lists images under a part, be they here or not."""
    return bool(read_yaml(path).get(part))


def _places(path: str, part: str) -> list[str]:
    content = read_yaml(path)
    entries = content.get(part) or []
    entries = entries if isinstance(entries, list) else [entries]
    root = content.get("path") if isinstance(content.get("path"), str) else ""
    return [_place(str(entry), root, path, part) for entry in entries]


def _place(entry: str, root: str, path: str, part: str) -> str:
    """Where a path of a data.yaml leads here; it may have been written on another machine."""
    beside = os.path.dirname(os.path.abspath(path))
    plain = entry.replace("\\", "/")
    parts = [x for x in plain.split("/") if x not in ("", ".", "..") and not x.endswith(":")]
    tries = [os.path.join(root.replace("\\", "/"), plain), plain]
    # The last parts of the path, the longest first, beside the yaml.
    tries += [os.path.join(*parts[n:]) for n in range(len(parts))]
    for text in tries:
        place = os.path.normpath(os.path.join(beside, text))
        if os.path.exists(place):
            return place
    raise UserError(
        f"{path}: {part} is {entry}, which is not there, nor are its last parts beside the yaml: "
        "mend the path"
    )
