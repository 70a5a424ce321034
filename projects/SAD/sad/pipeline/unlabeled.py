"""Which of the unlabelled images can be used."""

from multiprocessing.pool import ThreadPool

from ..data.images import ImageError, read_size
from ..data.leaks import find_leaks
from ..inspection.similar import find_resembling
from ..utils.errors import UserError
from .data import Data, image_path

THREADS = 16  # files may lie on a network
LOOKED_AT = 30_000  # images up to which near-identical ones are looked for


def sift_unlabeled(data: Data, *, fixed_camera: bool = False) -> None:
    """Take out of the unlabelled images what cannot be read, what is labelled, and near-identical
    images of those that are tested on.

    Args:
        fixed_camera: whether near-identical ones stay.
    Raises:
        UserError: none is left of a folder that was named.
    """
    given = len(data.unlabeled)
    data.unlabeled = _readable(data)
    known = {
        name: [image_path(labels, image) for image in labels.images]
        for name, labels in data.sets.items()
    }
    _take_out(data, set(find_leaks(data.unlabeled, known)), "are labelled ones, and left out.")
    if not fixed_camera:
        _take_out_resembling(data, list(dict.fromkeys(known["val"] + known["test"])))
    if given and data.folder and not data.unlabeled:
        raise UserError(
            f"no unlabelled image is left of {given} in {data.folder}: {' '.join(data.notes[-3:])} "
            "Name a folder of other images, or leave --unlabeled out"
        )


def _take_out_resembling(data: Data, held: list[str]) -> None:
    if len(data.unlabeled) > LOOKED_AT:
        data.notes.append(
            f"Among the {len(data.unlabeled)} unlabelled images near-identical ones of those that "
            f"are tested on were not looked for: beyond {LOOKED_AT} it would take too long."
        )
        return
    alike = find_resembling(data.unlabeled, held)
    many = 2 * len(alike) > len(data.unlabeled)
    hint = " So many are found where a camera stands still: --fixed-camera keeps them."
    why = "are near-identical to ones that are tested on, and left out."
    _take_out(data, alike, why + hint * many)


def _take_out(data: Data, positions: set[int], why: str) -> None:
    if not positions:
        return
    data.notes.append(f"{len(positions)} of the {len(data.unlabeled)} unlabelled images {why}")
    data.unlabeled = [x for position, x in enumerate(data.unlabeled) if position not in positions]


def _readable(data: Data) -> list[str]:
    def size(path: str) -> tuple[int, int] | None:
        try:
            return read_size(path)
        except ImageError:
            return None

    with ThreadPool(THREADS) as pool:
        sizes = pool.map(size, data.unlabeled, 64)
    data.sizes = {p: s for p, s in zip(data.unlabeled, sizes, strict=True) if s}
    broken = [path for path in data.unlabeled if path not in data.sizes]
    if broken:
        data.notes.append(
            f"{len(broken)} of the {len(sizes)} unlabelled images cannot be read and are left out, "
            f"the first is {broken[0]}."
        )
    return list(data.sizes)
