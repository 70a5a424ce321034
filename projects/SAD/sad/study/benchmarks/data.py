"""The mixed loader: what it delivers, what the step consumes, and how long the step waits.

The images are noise, coarse and fine, whose JPEGs are as long as a photograph's. "Readers" are
DATALOADER.NUM_WORKERS; 0 reads in the process that trains. Readers work ahead, so they cannot take
turns: each row is a run of its own. Waiting is SADStep's data_time over the time of its steps, with
readers and training on the same cores. The parts of a sample take turns.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.utils.events import EventStorage
from PIL import Image

from ...config.load import get_sad_cfg
from ...data.datasets import register_coco_set
from ...data.images import read_image
from ...data.loader import build_mixed_loader
from ...data.mapper import seeded
from ...data.sampler import SampleKey
from ...engine.step import SADStep
from ...modeling.build import build_detector
from ...utils.clock import now, take_turns
from .step import OBJECTS, make_batch, make_step, tame
from .timing import Options, Table, compare

# Config, (width, height) of the files and how many of them, numbers of readers, whether to train.
SIZES = {
    "small": [
        ("configs/digits/SAD_ADL.yaml", (128, 128), 200, (0, 1, 2), True),
        ("configs/COCO/SAD_R50_600_from_R101.yaml", (640, 480), 64, (0, 1, 2), False),
    ],
    "coco": [("configs/COCO/SAD_R50_600_from_R101.yaml", (640, 480), 64, (0, 1, 8), True)],
}
BATCHES = (2, 8, 16)
SETS = ("benchmark_labeled", "benchmark_unlabeled")


def write_set(folder: Path, name: str, num_images: int, size: tuple[int, int], num_classes: int):
    """Write and register JPEGs with boxes that have a class and a score."""
    rng = np.random.default_rng(list(name.encode()))  # no set has another's images
    (folder / name).mkdir()
    width, height = size
    images, annotations = [], []
    for number in range(num_images):
        coarse = rng.integers(256, size=(height // 8, width // 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        pixels = (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)
        file_name = f"{number}.jpg"
        Image.fromarray(pixels).save(folder / name / file_name, quality=90)
        images.append({"id": number, "file_name": file_name, "width": width, "height": height})
        for _ in range(OBJECTS):
            x, y, w, h = (rng.uniform(0.1, 0.4, 4) * [width, height, width, height]).tolist()
            annotations.append(
                {
                    **{"id": len(annotations) + 1, "image_id": number, "bbox": [x, y, w, h]},
                    **{"category_id": int(rng.integers(num_classes)) + 1, "iscrowd": 0},
                    **{"area": w * h, "score": 0.5},
                }
            )
    categories = [{"id": number + 1, "name": str(number)} for number in range(num_classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{name}.json").write_text(json.dumps(content))
    register_coco_set(name, str(folder / f"{name}.json"), str(folder / name))


def parts_of_a_sample(cfg, rounds: int) -> dict[str, dict]:
    """Median ms of one sample in one process, and of what it is made of."""
    dataset = build_mixed_loader(cfg).dataset
    key = SampleKey(0, (0, 0, 0))
    file_name = dataset.items[0]["file_name"]
    image = read_image(file_name, cfg.INPUT.FORMAT)

    def seed():
        with seeded(key.augmentation_seed):
            pass

    arms = {
        "a sample": lambda: dataset[key],
        "its entry of the list": lambda: dataset.items[0],
        "its seed": seed,
        "its file, read and decoded": lambda: read_image(file_name, cfg.INPUT.FORMAT),
        "its augmentation": lambda: dataset.mapper.augmentations(T.AugInput(image)),
    }
    return compare(take_turns(arms, rounds), "a sample")


def delivery(loader, rounds: int) -> float:
    """Images a second, to one who does nothing but take them."""
    batches = iter(loader)
    for _ in range(1 + 2 * loader.num_workers):  # what was read ahead while the readers started
        batch = next(batches)
    start = time.perf_counter()
    for _ in range(rounds):
        next(batches)
    return rounds * len(batch) / (time.perf_counter() - start)


def consumption(step: SADStep, num_images: int, options: Options) -> float:
    """Images a second that training takes where they lie in memory."""
    with EventStorage():
        (times,) = take_turns({"": step.run_step}, options.rounds, options.device).values()
    return num_images / statistics.median(times)


def waiting(step: SADStep, loader, options: Options) -> float:
    """The share of its time that training waits for the loader, after the first batches."""
    step.reset_data_loader(lambda: loader)
    first = 1 + 2 * loader.num_workers
    with EventStorage() as storage:
        for number in range(first + options.rounds):
            if number == first:
                start = now(options.device)
            step.run_step()
            storage.step()
        seconds = now(options.device) - start
        waited = [value for value, _ in storage.history("data_time").values()[-options.rounds :]]
    return sum(waited) / seconds


def run_config(options: Options, config, size, num_images, readers, trains) -> dict[str, dict]:
    own = ["MODEL.DEVICE", options.device, "MODEL.WEIGHTS", "", "SOLVER.BASE_LR", "1e-6"]
    if options.device == "cuda":
        own += ["SOLVER.AMP.ENABLED", "True", "SAD.TEACHER.PRECISION", "bfloat16"]
    own += ["DATASETS.TRAIN", SETS[:1], "DATASETS.UNLABELED", SETS[1:], "DATASETS.TEST", ()]

    def configure(batch: int, workers: int):
        more = ["SOLVER.IMS_PER_BATCH", str(batch), "DATALOADER.NUM_WORKERS", str(workers)]
        return get_sad_cfg(config, [*own, *more])

    cfg = configure(BATCHES[0], 0)
    num_classes = cfg.MODEL.RETINANET.NUM_CLASSES
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            write_set(Path(folder), name, num_images // 2, size, num_classes)
        rows = parts_of_a_sample(cfg, options.rounds)
        pixels = build_mixed_loader(cfg).dataset[SampleKey(0, (0, 0, 0))]["image"].shape[1:]
        teacher = None
        if trains:
            torch.manual_seed(1)
            of_teacher = get_sad_cfg(cfg.SAD.TEACHER.CONFIG_FILE, own[:4])
            teacher = tame(build_detector(of_teacher)).requires_grad_(False).eval()
        for batch in BATCHES:
            if trains:
                given = make_batch(num_classes, batch, tuple(pixels))
                step = make_step(configure(batch, 0), given, teacher)
                taken = consumption(step, batch, options)
            for workers in readers:
                loader = build_mixed_loader(configure(batch, workers))
                given = delivery(loader, options.rounds)
                row = {"images a second": given, "and core": given / max(1, workers)}
                if trains:
                    row["training takes"] = taken
                    row["given / taken"] = given / taken
                    row["waiting (%)"] = 100 * waiting(step, loader, options)
                rows[f"batch {batch}, readers {workers}"] = row
    return rows


def run(options: Options) -> Table:
    rows = {}
    for config, *arguments in SIZES[options.size]:
        name = config.removeprefix("configs/").removesuffix(".yaml")
        found = run_config(options, config, *arguments)
        rows |= {f"{name}: {arm}": row for arm, row in found.items()}
    return Table("The loader", rows, [__doc__.split("\n\n")[1]], options.rounds)
