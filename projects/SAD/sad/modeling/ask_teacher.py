"""The teacher's outputs for a batch: computed, or read where they are kept."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from functools import partial
from math import prod

from torch import Tensor

from ..data.teacher_cache import TeacherCache
from ..terms.kept import KeptOutputs, expanded, kept_kinds, to_keep
from ..terms.term import Outputs
from .adapters import adapter_of
from .teacher import padded_alone, teacher_outputs

# An image's kept answer may not depend on the batch that it happens to be in, to the last bit. So
# the teacher is asked for images of one padded shape, always as many at a time: at most so many
# pixels, since single small images take longer.
PIXELS = 1 << 19
TOGETHER = (8, 4, 2)  # halves, as where labelled or unlabelled images are half of a batch


def asked_together(padded_shape: tuple[int, int]) -> int:
    """How many images of this (height, width) a teacher is asked for at a time."""
    return next((n for n in TOGETHER if n * prod(padded_shape) <= PIXELS), 1)


def ask_teacher(
    teacher,
    samples: list[dict],
    padded_shape: tuple[int, int],
    *,
    image_format: str,
    need: Collection[str],
    precision: str,
    scale: float = 1.0,
    cache: TeacherCache | None = None,
) -> Outputs:
    """What a teacher says of S images before the student's forward.

    Args:
        samples: as of the mapper.
        padded_shape: (height, width) of the student's batch.
        image_format: of the images, see INPUT.FORMAT.
        need, precision: see `teacher_outputs`.
        scale: size of the teacher's image over the student's.
        cache: of its answers; with one, each image is padded as it is alone.
    """
    view = "image" if scale == 1 else "teacher_image"
    images = [sample[view] for sample in samples]
    padded_shape = tuple(round(scale * side) for side in padded_shape)
    ask = partial(
        teacher_outputs, teacher, image_format=image_format, need=need, precision=precision
    )
    if cache is None:
        return ask(images=images, padded_shape=padded_shape)
    kept = [sample["kept"] for sample in samples]
    for position, found in _missing(teacher, images, kept, ask, cache.floor):
        cache.write(samples[position]["kept_path"], found)
        kept[position] = found
    sizes = adapter_of(teacher).level_sizes(teacher, padded_shape)
    return expanded(kept, sizes, teacher.device, kept_kinds(need))


def _missing(
    teacher,
    images: list[Tensor],
    kept: list[KeptOutputs | None],
    ask: Callable[..., Outputs],
    floor: float,
) -> Iterator[tuple[int, KeptOutputs]]:
    """(position, answer) of each image whose answer is not kept."""
    of_shape = defaultdict(list)
    for position, image in enumerate(images):
        if kept[position] is None:
            of_shape[padded_alone(teacher, *image.shape[-2:])].append(position)
    for shape, positions in of_shape.items():
        sizes = adapter_of(teacher).level_sizes(teacher, shape)
        count = asked_together(shape)
        for start in range(0, len(positions), count):
            some = positions[start : start + count]
            given = [images[position] for position in some]
            given += given[-1:] * (count - len(given))
            found = to_keep(ask(images=given, padded_shape=shape), sizes, floor)
            yield from zip(some, found, strict=False)
