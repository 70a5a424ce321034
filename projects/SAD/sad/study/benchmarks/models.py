"""What a student saves: the cost of each pair's teacher and student (Table 5's measure).

"Whole" is a model on one image in memory at its test size, from padding to boxes, as
scripts/report.py measures it; "network" is its backbone and head alone. The weights are random, so
no score passes the threshold: a trained model spends more on its boxes, teacher and student alike.
Compiled, at small size alone, is the network by torch.compile, for one image size; bfloat16 is the
network under autocast. Peak memory is the whole's, beyond its weights.

The models of all pairs take turns. A pair's ratio is student over teacher; the interval is that of
the network's times.
"""

import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetMapper
from PIL import Image

from ...config.load import get_sad_cfg
from ...modeling.build import build_detector
from ...report.cost import measure
from ...utils.clock import take_turns
from .step import tame
from .timing import Options, Table, peak_memory, ratio

# (width, height) of the image; folder of configs; pairs of (teacher, student).
SIZES = {
    "small": (
        (128, 128),
        "configs/digits",
        [("teacher", "student"), ("large", "shallow"), ("large", "medium")],
    ),
    "coco": (
        (640, 480),
        "configs/COCO",
        [
            ("RetinaNet_R101_600", "RetinaNet_R50_600"),
            ("RetinaNet_X101_600", "RetinaNet_R50_600"),
            ("RetinaNet_R50_800", "RetinaNet_R50_half_800"),
            ("RetinaNet_X101_500", "RetinaNet_R101_500"),
        ],
    ),
}


def build(config: str, device: str):
    """A frozen model with random weights, and its config."""
    cfg = get_sad_cfg(config, ["MODEL.DEVICE", device, "MODEL.WEIGHTS", ""])
    torch.manual_seed(0)
    return tame(build_detector(cfg)).requires_grad_(False).eval(), cfg


def network(model, pixels):
    features = model.backbone(pixels)
    return model.head([features[name] for name in model.head_in_features])


def autocast(function, device: str):
    def arm():
        with torch.autocast(device, torch.bfloat16):
            function()

    return arm


@torch.no_grad()
def run(options: Options) -> Table:
    size, folder, pairs = SIZES[options.size]
    names = dict.fromkeys(name for pair in pairs for name in pair)
    models = {name: build(f"{folder}/{name}.yaml", options.device) for name in names}
    costs, arms = {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "noise.png"
        noise = np.random.default_rng(0).integers(256, size=(*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        record = {"file_name": str(path), "width": size[0], "height": size[1], "image_id": 0}
        measured = measure(list(models.values()), [record] * options.rounds)
        images = [DatasetMapper(cfg, is_train=False)(record) for _, cfg in models.values()]
    for (name, (model, _)), found, image in zip(models.items(), measured, images, strict=True):
        costs[name] = {
            "parameters (M)": found["parameters"],
            "GFLOPs": found["gflops"],
            "peak memory (MB)": peak_memory(partial(model, [image]), options.device) / 1e6,
            "whole, ms": found["ms"],
        }
        eager = partial(network, model, model.preprocess_image([image]).tensor)
        arms[name, "network, ms"] = eager
        if options.size == "small":  # of COCO's seven networks it would take minutes
            arms[name, "compiled, ms"] = torch.compile(eager)
        arms[name, "bfloat16, ms"] = autocast(eager, options.device)
    times = take_turns(arms, options.rounds, options.device)
    for (name, column), found in times.items():
        costs[name][column] = 1000 * statistics.median(found)
    rows = dict(costs)
    for teacher, student in pairs:
        of_pair = {key: costs[student][key] / costs[teacher][key] for key in costs[student]}
        for name, column in arms:
            if name == student:
                of_pair[column], interval = ratio(times[name, column], times[teacher, column])
                if column == "network, ms":
                    of_pair["95 % interval"] = interval
        rows[f"{student} / {teacher}"] = of_pair
    return Table("Teacher and student", rows, __doc__.split("\n\n")[1:], options.rounds)
