"""Which images are identical or nearly so: copies of other sizes, qualities and brightnesses.

Two images are compared by how their grey values change from cell to cell of a coarse grid: a number
that tells copies from other images of the same kind, where hashes of 64 to 256 bits overlap. Crops
of more than a percent at each side and mirrored images are others. Frames of a camera that stands
still are nearly identical, so that of these the bytes alone can tell.
"""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..data.images import ImageError, read_picture
from ..utils.files import sha256

GRID = 16  # cells a side
# The least cosine of two images that are nearly identical. Smaller, poorer, darker and by a fifth
# brighter copies have 0.94 and more. Different images have at most 0.87 among 3,349 photographs of
# street bins, 0.69 among 6,000 digit scenes and 0.40 among 364 images of blood cells.
ALIKE = 0.9
PLAIN = 8.0  # a shorter vector of changes, a third of a grey level each, is noise
BLOCK = 512  # images compared with all others at once
THREADS = 16  # files may lie on a network


def read_changes(path: str) -> np.ndarray:
    """What an image is compared by.

    Returns:
        (2 * GRID * (GRID - 1),) float32 of length 1, or zeros where the image is plain.
    Raises:
        ImageError: see `sad.data.images.read_image`.
    """
    grey = read_picture(path, "L", least_side=4 * GRID)[0][:, :, 0]
    cells = Image.fromarray(grey.astype(np.float32)).resize((GRID, GRID), Image.Resampling.BOX)
    changes = [np.diff(np.asarray(cells), axis=axis).ravel() for axis in (0, 1)]
    vector = np.concatenate(changes)
    length = np.linalg.norm(vector)
    return vector / length if length > PLAIN else np.zeros_like(vector)


def find_similar(
    paths: Sequence[str],
    changes: Sequence[np.ndarray | None] | None = None,
    *,
    fixed_camera: bool = False,
) -> list[list[int]]:
    """Groups of identical or nearly identical images. What cannot be read is in none.

    An image is in the group of each one that it resembles, so that the ends of a chain may differ.

    Args:
        changes: of `read_changes`, None for what cannot be read; read here where not given.
        fixed_camera: whether only images of the same bytes are meant.
    Returns:
        the positions of each group, two at least and rising; groups by their first position.
    """
    if changes is None:
        with ThreadPool(THREADS) as pool:
            changes = pool.map(_changes_or_none, paths)
    readable = [position for position, one in enumerate(changes) if one is not None]
    if not readable:
        return []
    vectors = np.stack([changes[position] for position in readable])
    if fixed_camera:
        vectors = np.zeros_like(vectors)
    groups = {}
    for position, vector, label in zip(readable, vectors, _label(vectors), strict=True):
        # Plain images resemble nothing: only the same bytes tell.
        mark = int(label) if vector.any() else sha256(paths[position])
        groups.setdefault(mark, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def find_resembling(paths: Sequence[str], others: Sequence[str]) -> set[int]:
    """The positions in `paths` of images that are identical or nearly so to one of the others
    itself, not by way of a third.
    """
    with ThreadPool(THREADS) as pool:
        ours, theirs = (pool.map(_changes_or_none, each) for each in (paths, others))
    telling = [change for change in theirs if change is not None and change.any()]
    plain = {sha256(path) for path, change in zip(others, theirs, strict=True) if _is_plain(change)}
    known = np.stack(telling) if telling else None
    found = set()
    for position, change in enumerate(ours):
        if _is_plain(change):
            alike = bool(plain) and sha256(paths[position]) in plain
        else:
            alike = change is not None and known is not None and (known @ change).max() >= ALIKE
        if alike:
            found.add(position)
    return found


def _is_plain(change: np.ndarray | None) -> bool:
    return change is not None and not change.any()


def are_identical(paths: Sequence[str]) -> bool:
    """Whether files have the same bytes."""
    return len(set(map(sha256, paths))) == 1


def _changes_or_none(path: str) -> np.ndarray | None:
    try:
        return read_changes(path)
    except ImageError:
        return None


def _label(changes: np.ndarray) -> np.ndarray:
    """(N,) the same number for images of one group, of (N, D) changes."""
    count = len(changes)
    labels = np.arange(count)
    # All with all, in blocks: 20,000 images take seconds, and memory does not grow with the pairs.
    for start in range(0, count, BLOCK):
        rows, columns = np.nonzero(changes[start : start + BLOCK] @ changes[start:].T >= ALIKE)
        pairs = columns > rows
        ends = labels[rows[pairs] + start], labels[columns[pairs] + start]
        if len(ends[0]):
            graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(count, count))
            labels = connected_components(graph, directed=False)[1][labels]
    return labels
