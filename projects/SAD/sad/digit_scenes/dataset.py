"""Digit scenes: the embedded detection data set, handwritten digits pasted on photographs.

Everything it is made of is on disk once scikit-learn and scikit-image are installed: the 1,797
handwritten 8x8 digits of `sklearn.datasets.load_digits` and photographs inside the scikit-image
wheel. Nothing is ever downloaded. CREDITS.md names the sources.

Each split has handwriting samples and a part of every photograph of its own (labelled and
unlabelled images share the photographs' left part), so nothing seen in training is seen again in
evaluation. Image i of a split depends on (seed, split, i) and the scene options alone.

Written under `root`:

    labeled/ unlabeled/ tune/ minival/     000000.jpg, 000001.jpg, ...
    annotations/labeled.json tune.json minival.json      COCO instances, boxes only
    annotations/image_info_unlabeled.json                no "annotations" key, as COCO's own
    preview.png                                          labelled scenes with their boxes
    digits.json                                          the arguments, written last

Shape letters: S image size in px; H, W height and width of something smaller than the image.
"""

import colorsys
import functools
import importlib.util
import json
import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from ..utils.errors import UserError
from ..utils.files import atomic_write

FORMAT = 1  # raise it whenever the same arguments make other files

SPLITS = ("labeled", "unlabeled", "tune", "minival")
GLYPHS_PER_SPLIT = (600, 600, 200, 397)  # all 1,797 of them

# Photographs inside the scikit-image wheel whose notes there say CC0, public domain or "no known
# copyright restrictions". Left out: motorcycle and moon (no note), rocket (disputed), clock, page
# and text (they show digits or print that no box would name).
PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
)
TRAIN_WIDTH = 0.6  # training crops come from the left 60 % of a photograph's width,
TUNE_HEIGHT = 0.45  # tune from the upper 45 % of the rest, minival from what is below

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

IMAGES_PER_WORKER = 500  # fewer are made sooner than another process is started

# The noise makes a PNG of 128 px 2.2 times as large, 2 times as slow to read and 17 times as slow
# to write. Full chroma resolution keeps thin strokes in their colour.
JPEG_OPTIONS = {"quality": 95, "subsampling": 0}


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


def write_digit_scenes(
    root,
    *,
    seed=0,
    labeled=500,
    unlabeled=4000,
    tune=500,
    minival=1000,
    image_size=128,
    num_classes=10,
    objects_per_image=(2, 5),
    object_size=(16, 60),
    workers=None,
    overwrite=False,
):
    """Write the four splits under the folder `root`, unless they are there already.

    `root` is the folder that holds labeled/, ..., annotations/ (see the module's docstring). The
    files do not depend on `workers` (processes; by default as many as pay off on these CPUs). A
    run that was interrupted is made anew by the next call. An image too crowded for another object
    gets fewer than `objects_per_image` says.

    Raises UserError when `root` holds a set made with other arguments and `overwrite` is false,
    when it holds image folders of somebody else's, or when a source is not installed.
    """
    root = Path(root)
    options = SceneOptions(
        seed, image_size, num_classes, tuple(objects_per_image), tuple(object_size)
    )
    counts = dict(zip(SPLITS, (labeled, unlabeled, tune, minival), strict=True))
    for split, count in counts.items():
        if count < 1:
            raise UserError(f"{split} is {count}, but every split needs at least 1 image")
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}, but must be at least 1")
    description = {"format": FORMAT, **counts, **asdict(options)}
    description = json.loads(json.dumps(description))  # as it reads back: tuples are lists

    done, begun = root / "digits.json", root / "digits.json.begun"
    if _already_written(root, description, done, begun, overwrite):
        return
    _glyphs(), _photographs()  # a missing source is reported before anything is written
    try:
        for folder in (*SPLITS, "annotations"):
            (root / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"digit scenes cannot be written to {root}: {error.strerror}") from error
    _write_json(begun, description)
    done.unlink(missing_ok=True)
    for split in SPLITS:  # boxes of older images must not outlive them if this is interrupted
        annotation_file(root, split).unlink(missing_ok=True)

    annotations = _write_images(root, options, counts, workers)
    for split, count in counts.items():
        for path in (root / split).glob("[0-9]*.jpg"):  # of a larger set that was here before
            if int(path.stem) >= count:
                path.unlink()
        boxes = None if split == "unlabeled" else annotations[split]
        _write_json(annotation_file(root, split), _coco_json(options, split, count, boxes))
    _write_preview(root)
    _write_json(done, description)
    begun.unlink(missing_ok=True)


def annotation_file(root, split):
    """The path of a split's json; the unlabelled one is named as in COCO."""
    name = "image_info_unlabeled.json" if split == "unlabeled" else f"{split}.json"
    return Path(root) / "annotations" / name


def _already_written(root, description, done, begun, overwrite):
    """True if `root` holds this very set; UserError if it must not be written to."""
    if done.is_file():
        try:
            found = json.loads(done.read_text())
            changed = {
                key: found.get(key) for key in description if found.get(key) != description[key]
            }
        except (ValueError, AttributeError):
            changed = {"format": "unreadable"}
        if not changed:
            return True
        if not overwrite:
            there = ", ".join(f"{key} {value}" for key, value in changed.items())
            asked = ", ".join(f"{key} {description[key]}" for key in changed)
            raise UserError(
                f"{root} holds digit scenes made with other arguments ({there}; asked for: "
                f"{asked}); name another folder with --root, or replace them with --overwrite"
            )
    elif not begun.is_file():
        for folder in (*SPLITS, "annotations"):
            if (root / folder).exists():
                raise UserError(
                    f"{root / folder} exists, but {done} does not, so it was not written here; "
                    "name another folder with --root"
                )
    return False


def _write_images(root, options, counts, workers):
    """All images of all splits; returns {split: [per image a list of (label, box)]}."""
    jobs = []
    for split, count in counts.items():
        jobs += [(root, options, split, index) for index in range(count)]
    if workers is None:
        workers = min(len(os.sched_getaffinity(0)), math.ceil(len(jobs) / IMAGES_PER_WORKER))
    bar = functools.partial(tqdm, total=len(jobs), desc="digit scenes", unit="image", disable=None)
    if workers == 1:
        results = list(bar(map(_write_image, jobs)))
    else:
        # Fork, because another start method would import torch and Detectron2 in every worker,
        # which takes longer than the images. Nothing a worker calls uses threads.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
            results = list(bar(pool.map(_write_image, jobs, chunksize=50)))
    annotations = {split: [] for split in counts}
    for (_, _, split, _), labels_and_boxes in zip(jobs, results, strict=True):
        annotations[split].append(labels_and_boxes)
    return annotations


def _write_image(job):
    root, options, split, index = job
    image, objects = render_scene(options, split, index)
    Image.fromarray(image).save(root / split / _file_name(index), **JPEG_OPTIONS)
    return [(thing.label, thing.box()) for thing in objects]


def _file_name(index):
    return f"{index:06d}.jpg"


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
    photograph = _photographs()[rng.integers(len(PHOTOGRAPHS))]
    part = _part_of_photograph(photograph, split)
    height, width = part.shape[:2]
    side = min(round(rng.uniform(0.75, 1.5) * size), height, width)
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = part[top : top + side, left : left + side]
    if rng.integers(2):
        crop = crop[:, ::-1]
    crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    tint = rng.uniform(0.8, 1.2, size=3)
    return crop * (tint * rng.uniform(*BACKGROUND_GAIN)).astype(np.float32)


def _part_of_photograph(photograph, split):
    """The pixels of a photograph that a split may show; no two parts overlap."""
    height, width = photograph.shape[:2]
    left, upper = round(TRAIN_WIDTH * width), round(TUNE_HEIGHT * height)
    if split == "tune":
        return photograph[:upper, left:]
    if split == "minival":
        return photograph[upper:, left:]
    return photograph[:, :left]


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
    samples = _glyphs()[split][digit]
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


@functools.cache
def _glyphs():
    """{split: {digit: (n, 8, 8) float32 samples, ink 0 to 1}}, the same for every seed.

    Sets of any two seeds so share no handwriting between training and evaluation either.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "digit scenes need the digits of scikit-learn: pip install scikit-learn"
        ) from error
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    # In shuffled order, first of every digit one sample, then of every digit a second, ...: any
    # stretch of it holds all digits alike.
    order = np.random.default_rng(0).permutation(len(images))
    labels = digits.target[order]
    rank = np.empty_like(labels)
    for digit in range(10):
        rank[labels == digit] = np.arange((labels == digit).sum())
    order = order[np.argsort(rank, kind="stable")]
    parts = np.split(order, np.cumsum(GLYPHS_PER_SPLIT)[:-1])
    return {
        split: {digit: images[part[digits.target[part] == digit]] for digit in range(10)}
        for split, part in zip(SPLITS, parts, strict=True)
    }


@functools.cache
def _photographs():
    """The photographs in the order of PHOTOGRAPHS, (H, W, 3) uint8 RGB.

    They are read as files: scikit-image's own loaders would download one that is missing.
    """
    folder = _photograph_folder()
    photographs = []
    for name in PHOTOGRAPHS:
        try:
            with Image.open(folder / name) as photograph:
                photographs.append(np.asarray(photograph.convert("RGB")))
        except OSError as error:
            raise UserError(
                f"the photograph {folder / name} is missing or unreadable, though scikit-image's "
                "wheel holds it: pip install --force-reinstall --no-deps scikit-image"
            ) from error
    return photographs


def _photograph_folder():
    package = importlib.util.find_spec("skimage")  # finds it without importing it
    if package is None:
        raise UserError(
            "digit scenes need the photographs of scikit-image: pip install scikit-image"
        )
    return Path(package.origin).parent / "data"


def _coco_json(options, split, count, annotations):
    """The COCO dictionary of a split; without annotations (None) it has no such key."""
    size = options.image_size
    coco = {
        "info": {
            "description": f"Digit scenes, {split}: handwritten digits on photographs",
            "version": str(FORMAT),
        },
        "licenses": [
            {
                "id": 1,
                "name": "Digits CC BY 4.0 (UCI optdigits), photographs CC0 or public domain",
                "url": "https://creativecommons.org/licenses/by/4.0/",
            }
        ],
        "images": [
            {
                "id": index + 1,
                "license": 1,
                "file_name": _file_name(index),
                "height": size,
                "width": size,
            }
            for index in range(count)
        ],
        "categories": [
            {"id": label + 1, "name": name, "supercategory": "number"}
            for label, name in enumerate(options.class_names())
        ],
    }
    if annotations is not None:
        coco["annotations"] = [
            {"image_id": index + 1, "category_id": label + 1, "bbox": box}
            for index, labels_and_boxes in enumerate(annotations)
            for label, box in labels_and_boxes
        ]
        for number, annotation in enumerate(coco["annotations"], start=1):
            _, _, width, height = annotation["bbox"]
            annotation |= {"id": number, "area": width * height, "iscrowd": 0}
    return coco


def _write_json(path, value):
    with atomic_write(path) as file:
        json.dump(value, file)


def _write_preview(root, rows=4, columns=6):
    """preview.png: the first labelled scenes as they lie on disk, with their boxes and labels."""
    coco = json.loads(annotation_file(root, "labeled").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    zoom = max(1, round(256 / coco["images"][0]["width"]))
    tile, gap = coco["images"][0]["width"] * zoom, 8
    font = ImageFont.load_default(size=18)
    sheet = Image.new(
        "RGB", (columns * (tile + gap) + gap, rows * (tile + gap) + gap), (255, 255, 255)
    )
    for position, entry in enumerate(coco["images"][: rows * columns]):
        with Image.open(root / "labeled" / entry["file_name"]) as image:
            scene = image.resize((tile, tile), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(scene)
        for annotation in coco["annotations"]:
            if annotation["image_id"] != entry["id"]:
                continue
            name = names[annotation["category_id"]]
            color = _class_color(annotation["category_id"] - 1, len(names))
            x, y, width, height = (zoom * value for value in annotation["bbox"])
            draw.rectangle((x - 1, y - 1, x + width, y + height), outline=color, width=2)
            # the tag sits on the box, or inside it at the image's upper edge
            tag = draw.textbbox((x + 3, max(y, 22) - 21), name, font=font)
            draw.rectangle((tag[0] - 4, tag[1] - 4, tag[2] + 3, tag[3] + 3), fill=color)
            draw.text((x + 3, max(y, 22) - 21), name, font=font, fill=(0, 0, 0))
        row, column = divmod(position, columns)
        sheet.paste(scene, (gap + column * (tile + gap), gap + row * (tile + gap)))
    with atomic_write(root / "preview.png", "wb") as file:
        sheet.save(file, format="png")


def _class_color(label, num_classes):
    """A bright colour of the hue circle, its own for every class."""
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(label / num_classes, 0.6, 1))
