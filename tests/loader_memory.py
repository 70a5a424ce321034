"""Time and memory from a config to the first index on COCO's 118,000 + 117,000 images.

    python tests/loader_memory.py

Two training processes, as of two GPUs, with two readers each. The entries are as many and as long
as COCO's, polygons included. Then the readers touch every entry; no image is opened.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from detectron2.utils import comm
from PIL import Image

from sad.config.load import get_sad_cfg
from sad.data.datasets import register_from_config
from sad.data.loader import build_mixed_loader
from sad.engine import launch

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = str(REPOSITORY / "configs/COCO/SAD_R50_600_from_R101.yaml")
PSEUDO_LABELS = "pseudo_labels_R101_600.json"
CATEGORIES = [{"id": c["id"], "name": c["name"]} for c in COCO_CATEGORIES if c["isthing"]]
SIZES = [(640, 480), (480, 640), (640, 427), (427, 640), (500, 375), (612, 612), (333, 500)]
LABELED, UNLABELED, BOXES = 118_000, 117_000, 7.29  # images, and boxes of one: 860,000 labelled
POINTS = 26  # of a polygon: instances_train2017.json has 448 MB, so has ours


def write_inputs(root: Path, num_labeled: int, num_unlabeled: int) -> None:
    """COCO's folders below root/coco, with pseudo-labels for the unlabelled images."""
    annotations = root / "coco/annotations"
    annotations.mkdir(parents=True)
    for folder, count in (("train2017", num_labeled), ("unlabeled2017", num_unlabeled)):
        (root / "coco" / folder).mkdir()
        picture = root / "coco" / f"{folder}.jpg"
        Image.effect_noise(SIZES[0], 9 if folder == "train2017" else 99).save(picture)
        for number in range(count):
            (root / "coco" / folder / f"{number:012d}.jpg").symlink_to(picture)
    _write_json(annotations / "instances_train2017.json", num_labeled, _labeled_annotation)
    _write_json(annotations / PSEUDO_LABELS, num_unlabeled, _teacher_annotation)


def _labeled_annotation(rng, box: list[float]) -> dict:
    polygon = (rng.random(2 * POINTS) * 300).round(2).tolist()
    return {"segmentation": [polygon], "area": round(box[2] * box[3] / 2, 4), "iscrowd": 0}


def _teacher_annotation(rng, box: list[float]) -> dict:
    return {"score": round(rng.random(), 4), "area": round(box[2] * box[3], 2), "iscrowd": 0}


def _write_json(path: Path, num_images: int, annotation) -> None:
    rng = np.random.default_rng(0)
    ids = [category["id"] for category in CATEGORIES]
    images, last = [], round(num_images * BOXES)
    for number in range(num_images):
        width, height = SIZES[number % len(SIZES)]
        images.append(
            {
                "license": 1,
                "file_name": f"{number:012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/train2017/{number:012d}.jpg",
                "height": height,
                "width": width,
                "date_captured": "2013-11-14 16:28:13",
                "flickr_url": f"http://farm4.staticflickr.com/3153/{number:010d}_cbb9b37d42_z.jpg",
                "id": number,
            }
        )
    with open(path, "w") as file:
        file.write(f'{{"categories": {json.dumps(CATEGORIES)}, "images": {json.dumps(images)}, ')
        file.write('"annotations": [')
        for number, image in enumerate(np.sort(rng.integers(num_images, size=last)).tolist()):
            box = (rng.random(4) * [150, 150, 140, 140] + [0, 0, 10, 10]).round(2).tolist()
            item = {
                **annotation(rng, box),
                "image_id": image,
                "bbox": box,
                "category_id": ids[number % len(ids)],
                "id": number + 1,
            }
            file.write((", " if number else "") + json.dumps(item))
        file.write("]}")


def memory(pid: int | str = "self") -> dict[str, float]:
    """GB: the most that lay in memory so far, what does now, its share of what several processes
    use (PSS), and what is its own (USS)."""
    status, rollup = (
        Path(f"/proc/{pid}/{name}").read_text() for name in ("status", "smaps_rollup")
    )

    def gigabytes(text, *keys):
        found = [int(re.search(rf"^{key}:\s+(\d+) kB", text, re.M)[1]) for key in keys]
        return round(sum(found) * 1024 / 1e9, 3)

    return {
        "peak": gigabytes(status, "VmHWM"),
        "rss": gigabytes(rollup, "Rss"),
        "pss": gigabytes(rollup, "Pss"),
        "uss": gigabytes(rollup, "Private_Clean", "Private_Dirty"),
    }


def entry_alone(item: dict) -> dict:
    """In the mapper's place."""
    return {"boxes": len(item["annotations"])}


def train(args) -> None:
    """What a training process does before its first step, then every entry once."""
    before, start, cpu = memory(), time.perf_counter(), time.process_time()
    opts = ["DATALOADER.NUM_WORKERS", "2", "MODEL.DEVICE", "cpu", "DATASETS.TEST", "()"]
    cfg = get_sad_cfg(CONFIG, opts)
    register_from_config(cfg)
    loader = build_mixed_loader(cfg)
    next(iter(loader.batch_sampler))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    loader.dataset.mapper = entry_alone
    batches = iter(loader)
    for _ in itertools.islice(batches, len(loader.dataset) // loader.batch_sampler.batch_size):
        pass
    comm.synchronize()
    found = {
        "rank": comm.get_rank(),
        "images": len(loader.dataset),
        "seconds": round(seconds, 1),
        "seconds of CPU": round(cpu, 1),
        "GB before": before,
        "GB": memory(),
        "GB of readers": [memory(reader.pid) for reader in batches._workers],
    }
    for rank in range(comm.get_world_size()):
        if rank == comm.get_rank():
            print(json.dumps(found), flush=True)
        comm.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--labeled", type=int, default=LABELED)
    parser.add_argument("--unlabeled", type=int, default=UNLABELED)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--data", type=Path, help="where the inputs lie, or are to be left")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        job = SimpleNamespace(
            num_gpus=args.processes, num_machines=1, machine_rank=0, dist_url="auto"
        )
        return launch.start(train, job, timedelta(minutes=10))
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.data or Path(temporary)
        if not (folder / "coco").exists():
            write_inputs(folder, args.labeled, args.unlabeled)
        command = [sys.executable, __file__, "--train", "--processes", str(args.processes)]
        subprocess.run(command, check=True, env={**os.environ, "DETECTRON2_DATASETS": str(folder)})


if __name__ == "__main__":
    main()
