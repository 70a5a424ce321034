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
    annotations/unlabeled_truth.json                     on demand: its boxes all the same
    preview.png                                          labelled scenes with their boxes
    digits.json                                          the arguments, written last
"""

import functools
import json
import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ..utils.errors import UserError
from ..utils.files import atomic_write, make_folder, write_json
from ..utils.folder_lock import alone_in
from .preview import draw_preview
from .render import SceneOptions, render_scene
from .sources import SPLITS, glyphs, photographs

FORMAT = 1  # raise it whenever the same arguments make other files

IMAGES_PER_WORKER = 500  # fewer are made sooner than another process is started

# The noise makes a PNG of 128 px 2.2 times as large, 2 times as slow to read and 17 times as slow
# to write. Full chroma resolution keeps thin strokes in their colour.
JPEG_OPTIONS = {"quality": 95, "subsampling": 0}


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
    truth=False,
):
    """Write the four splits under the folder `root`, unless they are there already.

    `root` is the folder that holds labeled/, ..., annotations/ (see the module's docstring). The
    files do not depend on `workers` (processes; by default as many as pay off on these CPUs). A
    run that was interrupted is made anew by the next call. An image too crowded for another object
    gets fewer than `objects_per_image` says. With `truth` the unlabelled images' boxes are written,
    too: a student that learns from them shows what labels could give. Of several calls for one
    folder at a time each waits for the one before.

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
    if not root.exists():
        glyphs(), photographs()  # a missing source is reported before anything is written
    make_folder(str(root), "--root")
    with alone_in(root):
        _write(root, options, counts, description, workers, overwrite, truth)


def _write(root, options, counts, description, workers, overwrite, truth):
    done, begun = root / "digits.json", root / "digits.json.begun"
    if _already_written(root, description, done, begun, overwrite):
        if truth and not _truth_file(root).exists():
            count = counts["unlabeled"]
            scenes = (render_scene(options, "unlabeled", index) for index in range(count))
            _write_truth(root, options, [_labels_and_boxes(objects) for _, objects in scenes])
        return
    glyphs(), photographs()
    for folder in (*SPLITS, "annotations"):
        make_folder(str(root / folder), "--root: its folder")
    write_json(begun, description)
    done.unlink(missing_ok=True)
    # Boxes of older images must not outlive them if this is interrupted.
    for file in (*(annotation_file(root, split) for split in SPLITS), _truth_file(root)):
        file.unlink(missing_ok=True)

    annotations = _write_images(root, options, counts, workers)
    for split, count in counts.items():
        for path in (root / split).glob("[0-9]*.jpg"):  # of a larger set that was here before
            if int(path.stem) >= count:
                path.unlink()
        boxes = None if split == "unlabeled" else annotations[split]
        write_json(annotation_file(root, split), _coco_json(options, split, count, boxes))
    coco = json.loads(annotation_file(root, "labeled").read_text())
    with atomic_write(root / "preview.png", "wb") as file:
        draw_preview(root / "labeled", coco).savefig(file, format="png")
    write_json(done, description)
    begun.unlink(missing_ok=True)
    if truth:
        _write_truth(root, options, annotations["unlabeled"])


def annotation_file(root, split):
    """The path of a split's json; the unlabelled one is named as in COCO."""
    name = "image_info_unlabeled.json" if split == "unlabeled" else f"{split}.json"
    return Path(root) / "annotations" / name


def _truth_file(root):
    return Path(root) / "annotations" / "unlabeled_truth.json"


def _write_truth(root, options, annotations):
    coco = _coco_json(options, "unlabeled", len(annotations), annotations)
    write_json(_truth_file(root), coco)


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
    return _labels_and_boxes(objects)


def _labels_and_boxes(objects):
    return [(thing.label, thing.box()) for thing in objects]


def _file_name(index):
    return f"{index:06d}.jpg"


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
