"""Write the digit scenes, a detection data set made of handwritten digits on photographs.

Nothing is downloaded. Well under a minute on two cores for the default sizes; a second call finds
the files and stops.
"""

import argparse
import json
import os
from pathlib import Path

from ..digit_scenes.dataset import annotation_file, write_digit_scenes
from ..digit_scenes.sources import SPLITS


def add_arguments(parser) -> None:
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    datasets = Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    parser.add_argument("--root", type=Path, default=datasets / "digits", help="where to write")
    parser.add_argument("--labeled", type=int, default=500, help="labelled training images")
    parser.add_argument("--unlabeled", type=int, default=4000, help="unlabelled training images")
    parser.add_argument("--tune", type=int, default=500, help="images to choose a recipe on")
    parser.add_argument("--minival", type=int, default=1000, help="images to report results on")
    parser.add_argument("--seed", type=int, default=0, help="of all scenes")
    parser.add_argument("--image-size", type=int, default=128, help="side of the images, px")
    parser.add_argument(
        "--num-classes", type=int, default=10, help="10: digits 0-9; 80: two-digit numbers 00-79"
    )
    parser.add_argument(
        "--objects-per-image", type=int, nargs=2, default=(2, 5), metavar=("LEAST", "MOST")
    )
    parser.add_argument(
        "--object-size",
        type=int,
        nargs=2,
        default=(16, 60),
        metavar=("LEAST", "MOST"),
        help="height of an upright digit, px",
    )
    parser.add_argument(
        "--truth", action="store_true", help="write the boxes of the unlabelled images, too"
    )
    parser.add_argument("--workers", type=int, help="processes; by default as many as pay off")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a set made with other arguments"
    )


def run(args) -> None:
    args = vars(args)
    root = args.pop("root")
    write_digit_scenes(root, **args)
    for split in SPLITS:
        coco = json.loads(annotation_file(root, split).read_text())
        objects = f"{len(coco['annotations'])} objects" if "annotations" in coco else "no labels"
        print(f"{split:9}  {len(coco['images']):5} images  {objects}")
    print(f"preview    {root / 'preview.png'}")
