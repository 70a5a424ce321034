"""Lists of images of any length: COCO entries on disk, 20 bytes an image in memory."""

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import ThreadPool

import numpy as np
from tqdm import tqdm

from ..config.defaults import MAX_PIXELS
from ..data.coco_json import CocoJson
from ..data.image_files import absent, find_images, warn_of_repeated
from ..data.images import ImageError, read_size
from ..utils.errors import UserError
from ..utils.files import check_inside

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
                # NaN in a field that nothing here reads, but that the json to write repeats.
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

    def without(self, positions: set[int]) -> "ImageTable":
        """The list that is left; in its folder it takes the place of this one."""
        np.save(os.path.join(self.folder, INDEX), np.delete(self.index, sorted(positions)))
        return ImageTable(self.folder)


def list_json(
    folder: str,
    image_root: str,
    image_json: str,
    left_out: Callable[[list[str]], set[int]] = lambda paths: set(),
) -> tuple[ImageTable, dict[int, str]]:
    """The images of a COCO json, kept in `folder`, and {position: why it cannot be read}.

    Args:
        left_out: the positions among paths of images that are not to be listed.
    Raises:
        UserError: see `CocoJson`; also for a file outside the folder `image_root`.
    """
    entries = CocoJson(image_json, whole=False).images()
    images, paths = ImageTable.write(folder, entries), []
    for entry in images.entries(slice(None)):
        paths.append(os.path.join(image_root, entry["file_name"]))
        check_inside(image_root, paths[-1], image_json)
    warn_of_repeated(image_json, paths)
    if out := left_out(paths):
        images = images.without(out)
        paths = [path for position, path in enumerate(paths) if position not in out]
    return images, dict.fromkeys(absent(paths), "no such file")


def list_folder(
    folder: str,
    image_root: str,
    left_out: Callable[[list[str]], set[int]] = lambda paths: set(),
    max_pixels: float = MAX_PIXELS,
) -> tuple[ImageTable, dict[int, str]]:
    """All images below `image_root` by name, numbered from 1; otherwise as `list_json`.

    Args:
        max_pixels: see DATALOADER.MAX_IMAGE_PIXELS.
    Raises:
        UserError: there are none.
    """
    names = find_images(image_root)
    out = left_out([os.path.join(image_root, name) for name in names])
    names = [name for position, name in enumerate(names) if position not in out]
    unreadable = {}

    def size(name: str) -> tuple[int, int] | str:
        try:
            return read_size(os.path.join(image_root, name), max_pixels)
        except ImageError as error:
            return str(error)

    def entries():
        with ThreadPool(16) as pool:
            sizes = tqdm(pool.imap(size, names, 64), "reading sizes", len(names), leave=False)
            for position, (name, found) in enumerate(zip(names, sizes, strict=True)):
                entry = {"id": position + 1, "file_name": name}
                if isinstance(found, str):
                    unreadable[position] = found
                else:
                    entry["width"], entry["height"] = found
                yield entry

    return ImageTable.write(folder, entries()), unreadable
