"""Peak memory and time of labelling a long list of images, apart from the teacher's inference.

    python tests/label_memory.py --images 1000000

The list, its json, the plan, the shards, the calibration and the writing are the real ones. The
teacher labels one shard; detections drawn at random stand for it in the other shards.
"""

import argparse
import json
import pickle
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from detectron2.modeling import build_model
from PIL import Image

from sad.config.load import get_sad_cfg
from sad.modeling.build import load_detector
from sad.pseudo_labels.detections import DETECTION
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.merge import merge_shards
from sad.pseudo_labels.runner import label_shards, plan_shards
from sad.pseudo_labels.shards import write_shard

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = str(REPOSITORY / "configs" / "digits" / "teacher.yaml")
OPTS = ["MODEL.RETINANET.NUM_CLASSES", "80", "MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "2"]
SIZES = [(640, 480), (480, 640), (640, 427), (427, 640), (500, 375), (612, 612), (333, 500)]
NAMES = [f"class {number}" for number in range(80)]
DETECTIONS, INSTANCES = 30, 7  # per image, before and after the threshold


def write_inputs(folder: Path, num_images: int) -> None:
    """Entries as long as COCO's; their files are few."""
    (folder / "images").mkdir()
    for number, size in enumerate(SIZES):
        Image.new("RGB", size).save(folder / "images" / f"{number:012d}.jpg")
    with open(folder / "info.json", "w") as file:
        categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
        file.write(f'{{"categories": {json.dumps(categories)}, "images": [')
        for number in range(num_images):
            width, height = SIZES[number % len(SIZES)]
            entry = {
                "license": 1,
                "file_name": f"{number % len(SIZES):012d}.jpg",
                "coco_url": f"http://images.cocodataset.org/unlabeled2017/{number:012d}.jpg",
                "height": height,
                "width": width,
                "date_captured": "2013-11-14 16:28:13",
                "flickr_url": f"http://farm4.staticflickr.com/3153/{number:010d}_cbb9b37d42_z.jpg",
                "id": number,
            }
            file.write((", " if number else "") + json.dumps(entry))
        file.write("]}")
    model = build_model(get_sad_cfg(CONFIG, OPTS)).state_dict()
    torch.save({"model": model, "class_names": NAMES}, folder / "t.pth")


def stand_in(batches: list[np.ndarray], seed: int) -> np.ndarray:
    positions, rng = np.repeat(np.concatenate(batches), DETECTIONS), np.random.default_rng(seed)
    found = np.empty(len(positions), DETECTION)
    found["image"], found["category"] = positions, rng.integers(0, 80, len(positions))
    found["box"] = rng.random((len(positions), 4)) * 150 + [0, 0, 150, 150]
    found["score"] = rng.integers(50_000, 10**6, len(positions))
    return found


def main_process(folder: Path, step) -> None:
    files = (str(folder / name) for name in ("t.pth", "images", "out.json"))
    info = str(folder / "info.json")
    job = prepare(CONFIG, *files, image_json=info, target_mean=INSTANCES, opts=OPTS)
    step("main process: list the images")
    (folder / "job.pickle").write_bytes(pickle.dumps(job))
    subprocess.run([sys.executable, __file__, "--worker", str(folder)], check=True)
    step("(wait for the worker)")
    model, cfg = load_detector(job.config_file, job.weights, "cpu", job.opts)
    shards = plan_shards(model, cfg, job)
    step("main process: plan")
    for number, batches in enumerate(shards[1:], start=1):
        files = job.files(np.concatenate(batches))
        write_shard(job.shards, number, files, [stand_in(batches, number)], {}, [])
    step("(write what stands for detections)")
    merge_shards(job, cfg, len(shards))
    step(f"main process: calibrate, write {(folder / 'out.json').stat().st_size / 1e6:.0f} MB")


def worker(folder: Path, step) -> None:
    job = pickle.loads((folder / "job.pickle").read_bytes())
    model, cfg = load_detector(job.config_file, job.weights, "cpu", job.opts)
    shards = plan_shards(model, cfg, job)
    step("worker: plan")
    label_shards(model, cfg, job, shards[:1])
    readers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    step(f"worker, its readers: label the first of {len(shards)} shards", readers)


def own_peak() -> int:
    """kB. (getrusage would count what this process was before exec.)"""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    start = time.process_time()

    def step(what, peak=0):
        nonlocal start
        seconds, start = time.process_time() - start, time.process_time()
        gigabytes = max(own_peak(), peak) * 1024 / 1e9
        print(f"{gigabytes:.3f} GB at most, {seconds:6.1f} s of CPU  {what}", flush=True)

    step("import")
    if args.worker:
        return worker(args.worker, step)
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), args.images)
        step("(write the inputs)")
        main_process(Path(folder), step)


if __name__ == "__main__":
    main()
