"""One scene: digits and clutter on a crop of a photograph.

Shape letters: S image size in px; H, W height and width of something smaller than the image.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ..utils.errors import UserError
from .sources import PHOTOGRAPHS, SPLITS, glyphs, part_of_photograph, photographs

MAX_FRAGMENTS = 3
MAX_LINES = 2
MAX_ROTATION = 15.0  # degrees either way
MAX_OCCLUSION = 0.3  # share of an object's ink, and of the smaller of two boxes, that is shared
BACKGROUND_GAIN = (0.35, 0.75)
DIGIT_COLOR = (110, 255)
STROKE_LEVEL = (0.42, 0.6)  # of the ink's grey levels, lower is bolder
MIN_CONTRAST = 40  # grey levels, mean over the channels, between a digit's ink and
MIN_CONTRAST_SHARE = 0.85  # this share of what lies under its rectangle: people must read it
NOISE_SIGMA = (2.0, 10.0)
PLACEMENT_ATTEMPTS = 50
MASK_ALPHA = 0.5  # a pixel belongs to an object where its ink covers at least half of it


@dataclass(frozen=True)
class SceneOptions:
    """What one image depends on, besides its split and its index."""

    seed: int = 0
    image_size: int = 128  # S, px, the images are square
    num_classes: int = 10  # the numbers from 0, with as many digits each as the last one has
    objects_per_image: tuple[int, int] = (2, 5)  # least and most, both possible
    object_size: tuple[int, int] = (16, 60)  # least and most height of an upright object, px

    def __post_init__(self):
        least, most = self.objects_per_image
        smallest, largest = self.object_size
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}, but must be 0 or more")
        if self.image_size < 32:
            raise UserError(f"image_size is {self.image_size}, but must be at least 32 px")
        if not 1 <= self.num_classes <= 100:
            raise UserError(f"num_classes is {self.num_classes}, but must be from 1 to 100")
        if not 1 <= least <= most:
            raise UserError(
                f"objects_per_image is {least} to {most}, but must be two counts in order from 1"
            )
        digits = len(self.class_names()[0])
        if not 8 <= smallest <= largest <= self.image_size / digits:
            raise UserError(
                f"object_size is {smallest} to {largest} px, but must be two heights in order, "
                f"from 8 to {self.image_size // digits} px for {digits}-digit numbers in images "
                f"of {self.image_size} px"
            )

    def class_names(self):
        """["0", ..., "9"] for 10 classes, ["00", ..., "79"] for 80."""
        digits = len(str(self.num_classes - 1))
        return [f"{number:0{digits}d}" for number in range(self.num_classes)]


@dataclass
class SceneObject:
    """One labelled object of a scene.

    `full` and `visible` are (S, S) bool masks of its ink before and after later objects covered
    some of it; `color` is its RGB ink, 0 to 255.
    """

    label: int
    color: np.ndarray
    full: np.ndarray
    visible: np.ndarray

    def box(self):
        """[x, y, width, height] in px around the visible ink; pixel (0, 0) alone: [0, 0, 1, 1]."""
        return _bounds(self.visible)


def render_scene(options, split, index):
    """Image `index` of a split: (S, S, 3) uint8 RGB, and its SceneObjects from the lowest up."""
    rng = np.random.default_rng([options.seed, SPLITS.index(split), index])
    image = _background(rng, split, options.image_size)
    for _ in range(rng.integers(MAX_FRAGMENTS + 1)):
        _draw_fragment(rng, image, split, options)
    for _ in range(rng.integers(MAX_LINES + 1)):
        _draw_line(rng, image)
    least, most = options.objects_per_image
    objects = []
    for _ in range(rng.integers(least, most + 1)):
        _place_object(rng, image, objects, split, options)
    image += rng.uniform(*NOISE_SIGMA) * rng.standard_normal(image.shape, dtype=np.float32)
    return image.round().clip(0, 255).astype(np.uint8), objects


def _background(rng, split, size):
    """A darkened and tinted crop of a photograph's part for this split: (S, S, 3) float32."""
    photograph = photographs()[rng.integers(len(PHOTOGRAPHS))]
    part = part_of_photograph(photograph, split)
    height, width = part.shape[:2]
    side = min(round(rng.uniform(0.75, 1.5) * size), height, width)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = part[top : top + side, left : left + side]
    if rng.integers(2):
        crop = crop[:, ::-1]
    crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    tint = rng.uniform(0.8, 1.2, size=3)
    return crop * (tint * rng.uniform(*BACKGROUND_GAIN)).astype(np.float32)


def _draw_fragment(rng, image, split, options):
    """Clutter: half a digit, anywhere. Half a 1 is still a 1, so no ones."""
    glyph = _trimmed(_random_glyph(rng, split, rng.choice([0, 2, 3, 4, 5, 6, 7, 8, 9])))
    rows, columns = (glyph.shape[0] + 1) // 2, (glyph.shape[1] + 1) // 2
    halves = (glyph[:rows], glyph[-rows:], glyph[:, :columns], glyph[:, -columns:])
    fragment = halves[rng.integers(4)]
    alpha = _random_ink(rng, fragment, options)
    height, width = alpha.shape
    # the centre is inside the image, the rest may be cut off
    y = rng.integers(options.image_size) - height // 2
    x = rng.integers(options.image_size) - width // 2
    inside = alpha[max(0, -y) : options.image_size - y, max(0, -x) : options.image_size - x]
    _paint(image, inside, max(0, y), max(0, x), _random_color(rng))


def _draw_line(rng, image):
    """Clutter: a straight line across part of the image."""
    size, width, fine = image.shape[0], rng.integers(1, 4), 4  # drawn finer, against jagged edges
    mask = Image.new("L", (fine * size, fine * size))
    ends = rng.integers(fine * size, size=4).tolist()
    ImageDraw.Draw(mask).line(ends, fill=255, width=int(fine * width))
    _paint(image, np.asarray(mask.reduce(fine), np.float32) / 255, 0, 0, _random_color(rng))


def _place_object(rng, image, objects, split, options):
    """Draw one object of a random class where it stands out and hides no other too much.

    An image too crowded for it is left as it is.
    """
    label = int(rng.integers(options.num_classes))
    digits = [_trimmed(_random_glyph(rng, split, int(d))) for d in options.class_names()[label]]
    ink = np.concatenate(digits, axis=1)
    for _ in range(PLACEMENT_ATTEMPTS):
        alpha = _random_ink(rng, ink, options)
        height, width = alpha.shape
        if max(height, width) > options.image_size or not (alpha >= MASK_ALPHA).any():
            continue
        y = rng.integers(options.image_size - height + 1)
        x = rng.integers(options.image_size - width + 1)
        color = _random_color(rng)
        contrast = np.abs(color - image[y : y + height, x : x + width]).mean(axis=2)
        if (contrast >= MIN_CONTRAST).mean() < MIN_CONTRAST_SHARE:
            continue
        full = np.zeros(image.shape[:2], bool)
        full[y : y + height, x : x + width] = alpha >= MASK_ALPHA
        if any(_crowds(full, earlier) for earlier in objects):
            continue
        for earlier in objects:
            earlier.visible &= ~full
        _paint(image, alpha, y, x, color)
        objects.append(SceneObject(label, color, full, full.copy()))
        return


def _crowds(full, earlier):
    """Whether new ink, an (S, S) mask, would hide too much of an earlier object.

    The boxes are held apart as well: numbers woven into each other hide little ink, but nobody
    can read them.
    """
    (x1, y1, w1, h1), (x2, y2, w2, h2) = _bounds(full), _bounds(earlier.full)
    width = min(x1 + w1, x2 + w2) - max(x1, x2)
    height = min(y1 + h1, y2 + h2) - max(y1, y2)
    if width <= 0 or height <= 0:
        return False
    if width * height > MAX_OCCLUSION * min(w1 * h1, w2 * h2):
        return True
    return (earlier.visible & ~full).sum() < (1 - MAX_OCCLUSION) * earlier.full.sum()


def _random_glyph(rng, split, digit):
    """One of the split's handwriting samples of a digit: (8, 8) float32, ink 0 to 1."""
    samples = glyphs()[split][digit]
    return samples[rng.integers(len(samples))]


def _trimmed(glyph):
    """A glyph without its empty columns but for one on the left, the gap to a digit before it."""
    columns = np.flatnonzero(glyph.max(axis=0) > 0.25)
    return np.pad(glyph[:, columns[0] : columns[-1] + 1], ((0, 0), (1, 0)))


def _random_color(rng):
    low, high = DIGIT_COLOR
    return rng.integers(low, high + 1, size=3).astype(np.float32)


def _random_ink(rng, ink, options):
    """Ink (8 or fewer rows, any columns) at a random size and angle: (H, W) alpha, 0 to 1.

    The size is that of the whole glyph's 8 rows, also for a fragment of it.
    """
    scale = rng.uniform(*options.object_size) / 8
    angle = math.radians(rng.uniform(-MAX_ROTATION, MAX_ROTATION))
    stroke_level = rng.uniform(*STROKE_LEVEL)
    ink = np.pad(ink, 2)  # room for the interpolation at the ink's edge
    height, width = ink.shape
    side = math.ceil(math.hypot(height, width) * scale)
    # the way back, from a pixel of the result to one of `ink`, about both centres
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    x0, y0 = (width - (cos + sin) * side) / 2, (height - (cos - sin) * side) / 2
    matrix = (cos, sin, x0, -sin, cos, y0)
    smooth = Image.fromarray(ink).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    # Cutting the enlarged grey levels at one level gives strokes; the ramp of about 1.5 px
    # around it is the anti-aliasing.
    alpha = ((np.asarray(smooth) - stroke_level) * (scale / 1.5) + 0.5).clip(0, 1)
    x, y, width, height = _bounds(alpha > 0)
    return alpha[y : y + height, x : x + width]


def _bounds(mask):
    """[x, y, width, height] of the smallest rectangle that holds all of a mask; zeros if empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def _paint(image, alpha, y, x, color):
    """Blend a colour into the image, in place."""
    height, width = alpha.shape
    region = image[y : y + height, x : x + width]
    region += alpha[..., None] * (color - region)
