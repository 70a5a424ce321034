"""Lists of images of any length: COCO entries on disk, 20 bytes an image in memory."""

import json
import os
from array import array
from collections.abc import Iterable, Iterator
from multiprocessing.pool import ThreadPool

import numpy as np
from PIL import ExifTags, Image
from tqdm import tqdm

from .coco_json import CocoJson
from .errors import UserError, reason
from .files import inside

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
ENTRIES, INDEX = "images.jsonl", "images.npy"
SHARED_FOLDER = "the folder of --output must be one that all machines share"
INDEX_ROW = np.dtype(
    [
        ("start", np.int64),  # of the entry's text in ENTRIES, bytes
        ("length", np.int32),
        ("height", np.int32),  # pixels; 0 where it could not be read
        ("width", np.int32),
    ]
)


class ImageTable:
    """COCO image entries in the order of their ids; pickled, it is the name of its folder."""

    def __init__(self, folder: str):
        self.folder = folder
        try:
            self.index = np.load(os.path.join(folder, INDEX))
        except FileNotFoundError as error:
            raise UserError(f"{error.filename} is missing: {SHARED_FOLDER}") from error

    def __reduce__(self):
        return ImageTable, (self.folder,)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, position: int) -> dict:
        return next(self.entries([position]))

    def entries(self, positions) -> Iterator[dict]:
        """The images' entries as they were given, at these positions in the list."""
        rows = self.index[positions]
        with open(os.path.join(self.folder, ENTRIES), "rb") as file:
            for start, length in zip(rows["start"].tolist(), rows["length"].tolist(), strict=True):
                file.seek(start)
                # NaN in a field that nothing here reads, but that goes into the hard targets' json.
                yield json.loads(file.read(length), parse_constant=lambda _: None)

    @classmethod
    def write(cls, folder: str, entries: Iterable[dict]) -> "ImageTable":
        """Write the files in `folder` that make a list of these entries."""
        ids, starts, heights, widths = [], array("q", [0]), array("i"), array("i")
        with open(os.path.join(folder, ENTRIES), "wb") as file:
            for entry in entries:
                text = json.dumps(entry).encode() + b"\n"
                file.write(text)
                ids.append(entry["id"])
                starts.append(starts[-1] + len(text))
                heights.append(int(entry.get("height", 0)))
                widths.append(int(entry.get("width", 0)))
        index = np.empty(len(ids), INDEX_ROW)
        index["start"], index["length"] = starts[:-1], np.diff(starts)
        index["height"], index["width"] = heights, widths
        # An image's place, and so its batch, depends on the ids alone, not on the json's order.
        order = sorted(range(len(ids)), key=ids.__getitem__)
        np.save(os.path.join(folder, INDEX), index[order])
        return cls(folder)


def list_json(folder: str, image_root: str, image_json: str) -> tuple[ImageTable, dict[int, str]]:
    """The images of a COCO json, kept in `folder`, and {position: why it cannot be read}.

    Raises:
        UserError: see `CocoJson`; also for a file outside the folder `image_root`.
    """
    entries = CocoJson(image_json, whole=False).images()
    images, unreadable = ImageTable.write(folder, entries), {}
    for position, entry in enumerate(images.entries(slice(None))):
        path = os.path.join(image_root, entry["file_name"])
        if not inside(image_root, path):
            raise UserError(
                f"{image_json} lists {entry['file_name']}, which lies outside {image_root}; move "
                "the image there, or link to it, and mend its file_name"
            )
        if not os.path.isfile(path):
            unreadable[position] = "no such file"
    return images, unreadable


def list_folder(folder: str, image_root: str) -> tuple[ImageTable, dict[int, str]]:
    """All images below `image_root` by name, numbered from 1; otherwise as `list_json`.

    Raises:
        UserError: there are none.
    """
    names = sorted(
        os.path.relpath(os.path.join(parent, name), image_root)
        for parent, _, files in os.walk(image_root)
        for name in files
        if name.lower().endswith(IMAGE_SUFFIXES)
    )
    if not names:
        raise UserError(f"there are no images in {image_root} ({', '.join(IMAGE_SUFFIXES)})")
    unreadable = {}

    def entries():
        paths = (os.path.join(image_root, name) for name in names)
        with ThreadPool(16) as pool:
            sizes = tqdm(pool.imap(_size, paths, 64), "reading sizes", len(names), leave=False)
            for position, (name, size) in enumerate(zip(names, sizes, strict=True)):
                entry = {"id": position + 1, "file_name": name}
                if isinstance(size, str):
                    unreadable[position] = size
                else:
                    entry["width"], entry["height"] = size
                yield entry

    return ImageTable.write(folder, entries()), unreadable


def _size(path: str) -> tuple[int, int] | str:
    """(width, height) after the EXIF rotation that Detectron2 applies too, or what is wrong."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except Exception as error:  # decoders raise anything, from OSError to struct.error
        return reason(error)
    return (height, width) if turned else (width, height)
