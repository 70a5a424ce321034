"""The report on finished runs: what each model scores and costs, and what it sees."""

import contextlib
import json
import os
import platform
import statistics
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances, pairwise_ioa, pairwise_iou
from detectron2.utils.analysis import FlopCountAnalysis
from tabulate import tabulate
from tqdm import tqdm

from ..config.load import get_sad_cfg
from ..data.datasets import read_sets, register_from_config
from ..data.images import ImageError
from ..data.mapper import ImageMapper
from ..modeling.build import load_detector
from ..utils.errors import UserError
from ..utils.files import atomic_write, make_folder
from .page import draw_page, timing

METRICS = ("AP", "AP50", "AP75")
WARM_UP = 5  # images through every model before the clock counts
MATCH_IOU = 0.5


@dataclass
class Run:
    """A directory that train_net.py has left behind, and the name it has in the report."""

    name: str
    directory: str

    def __post_init__(self):
        for file in ("config.yaml", "metrics.json", "model_final.pth"):
            if not os.path.isfile(self.path(file)):
                raise UserError(
                    f"run {self.name!r}: {self.path(file)} does not exist, so this is no finished "
                    "run of train_net.py; let it end (train_net.py --resume) or name another"
                )
        self.metrics = read_metrics(self.path("metrics.json"))
        if not self.metrics or "bbox/AP" not in self.metrics[-1]:
            raise UserError(
                f"run {self.name!r}: {self.path('metrics.json')} does not end with bbox/AP, so the "
                "model was not evaluated after training; train_net.py --resume does it"
            )
        self.cfg = get_sad_cfg(self.path("config.yaml"))
        if len(self.cfg.DATASETS.TEST) != 1:
            raise UserError(
                f"run {self.name!r}: DATASETS.TEST is {tuple(self.cfg.DATASETS.TEST)}, a report "
                "needs exactly one"
            )

    def path(self, file: str) -> str:
        return os.path.join(self.directory, file)

    @property
    def test_set(self) -> str:
        return self.cfg.DATASETS.TEST[0]

    @cached_property
    def accuracy(self) -> dict[str, float]:
        """AP, AP50 and AP75 in percent after the last iteration."""
        return {metric: self.metrics[-1][f"bbox/{metric}"] for metric in METRICS}

    def curve(self, key: str) -> tuple[list[int], list[float]]:
        """(iterations done, values) of one entry of metrics.json."""
        # After training the iteration is the number of those done, before that one less.
        last = self.metrics[-1]["iteration"]
        points = [(min(m["iteration"] + 1, last), m[key]) for m in self.metrics if key in m]
        return [x for x, _ in points], [y for _, y in points]


def read_metrics(path: str) -> list[dict]:
    """Detectron2's metrics.json: its last line last, the others by iteration.

    A run that was interrupted and resumed writes some iterations twice, the later line counts. A
    line that the interruption cut short is left out; the next may hang on it without a line break.
    What an earlier, longer run wrote beyond the end is left out too.
    """
    lines = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line[max(0, line.rfind("{")) :]))
    by_iteration = {}
    for line in lines:
        by_iteration[line["iteration"]] = by_iteration.get(line["iteration"], {}) | line
    return [by_iteration[i] for i in sorted(by_iteration) if i <= lines[-1]["iteration"]]


def read_runs(pairs: list[tuple[str, str]]) -> list[Run]:
    """The runs of (name, directory) pairs, their data sets registered.

    Raises:
        UserError: a run is missing or unfinished, or not all are tested on the same set.
    """
    runs = [Run(name, directory) for name, directory in pairs]
    for run in runs:
        register_from_config(run.cfg)
        if run.test_set != runs[0].test_set:
            raise UserError(
                f"run {run.name!r} was tested on {run.test_set} and {runs[0].name!r} on "
                f"{runs[0].test_set}: their APs do not compare"
            )
    return runs


@torch.no_grad()
def measure(run_models: list[tuple], records: list[dict]) -> list[dict]:
    """Cost of each model, and its detections.

    The models take turns on every image, so that whatever else the machine does meets all alike.
    Timed is the model on one image in memory at its test size, padding to final boxes.

    Args:
        run_models: (RetinaNet in eval mode, config) of each run.
        records: test images in Detectron2's dicts.
    Returns:
        of each model {"parameters" (millions), "gflops" (1e9 multiply-adds, fvcore's count, on the
        first image), "ms" (median per image), "detections" (Instances on the CPU, one per record)}
    Raises:
        UserError: an image cannot be read.
    """
    mappers = [ImageMapper(cfg, is_train=False) for _, cfg in run_models]
    costs = []
    for (model, _), mapper in zip(run_models, mappers, strict=True):
        flops = FlopCountAnalysis(model, [_read(mapper, records[0])])
        flops.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        costs.append(
            {
                "parameters": sum(p.numel() for p in model.parameters()) / 1e6,
                "gflops": flops.tracer_warnings("none").total() / 1e9,
                "times": [],
                "detections": [],
            }
        )
    warm_up = records[:WARM_UP]
    for number, record in enumerate(tqdm(warm_up + records, "measuring", unit="image")):
        for (model, _), mapper, cost in zip(run_models, mappers, costs, strict=True):
            inputs = [_read(mapper, record)]
            start = _now(model.device)
            instances = model(inputs)[0]["instances"]
            if number >= len(warm_up):
                cost["times"].append(_now(model.device) - start)
                cost["detections"].append(instances.to("cpu"))
    for cost in costs:
        cost["ms"] = 1000 * statistics.median(cost.pop("times"))
    return costs


def _read(mapper: ImageMapper, record: dict) -> dict:
    try:
        return mapper(record)
    except ImageError as error:
        raise UserError(
            f"{record['file_name']} cannot be read ({error}): mend it, or take it out of the "
            "annotations"
        ) from error


def _now(device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def match(detections: Instances, record: dict) -> dict:
    """Which detections are right, as COCO's evaluation sees it at IoU 0.5.

    Args:
        detections: those above the score threshold.
        record: the image's dict, with annotations.
    Returns:
        boxes (M, 4), classes, scores and correct (M,) of the detections by falling score, without
        those on crowds; missed (P,): positions in the record's annotations of objects not found
    """
    annotations = record["annotations"]
    truth = Boxes(
        [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    )
    classes = torch.tensor([a["category_id"] for a in annotations], dtype=torch.long)
    crowd = torch.tensor([a.get("iscrowd", 0) for a in annotations], dtype=torch.bool)
    detections = detections[detections.scores.argsort(descending=True, stable=True)]
    same_class = classes[:, None] == detections.pred_classes[None]
    overlap = pairwise_iou(truth, detections.pred_boxes) * same_class
    in_crowd = pairwise_ioa(truth, detections.pred_boxes) * same_class
    free = ~crowd
    correct, counted = [], []
    for column in range(len(detections)):
        ious = overlap[:, column] * free
        found = bool(len(ious)) and ious.max().item() >= MATCH_IOU
        if found:
            free[ious.argmax()] = False
        correct.append(found)
        counted.append(found or not (in_crowd[crowd, column] >= MATCH_IOU).any())
    counted = np.array(counted, bool)
    return {
        "boxes": detections.pred_boxes.tensor.numpy()[counted],
        "classes": detections.pred_classes.numpy()[counted],
        "scores": detections.scores.numpy()[counted],
        "correct": np.array(correct, bool)[counted],
        "missed": np.flatnonzero(free.numpy()),
    }


def choose(matches: list[list[dict]], number: int) -> list[int]:
    """Positions of the images on which the runs' numbers of errors (wrong + missed) differ most.

    Args:
        matches: for each image the result of `match` for each run.
    """

    def spread(position):
        errors = [sum(~m["correct"]) + len(m["missed"]) for m in matches[position]]
        return max(errors) - min(errors)

    return sorted(range(len(matches)), key=spread, reverse=True)[:number]


def machine(device: str) -> dict:
    """What the times were measured on."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def table(rows: list[dict], tablefmt: str) -> str:
    """The rows of report.json as text."""
    return tabulate(
        [
            [
                row["name"],
                *(f"{row[metric]:.1f}" for metric in METRICS),
                f"{row['parameters']:.2f}",
                f"{row['gflops']:.3g}",
                f"{row['ms']:.1f}",
            ]
            for row in rows
        ],
        ["", *METRICS, "parameters (M)", "GFLOPs", "ms per image"],
        tablefmt=tablefmt,
        disable_numparse=True,
        colalign=("left",) + ("right",) * 6,
    )


def write_report(
    pairs: list[tuple[str, str]],
    output: str,
    *,
    title: str,
    command: str,
    num_images: int = 50,
    num_pictures: int = 4,
    score_threshold: float = 0.4,
    seed: int = 0,
) -> dict:
    """Write report.md, report.json and report.png to the folder `output`.

    Args:
        pairs: (name, run directory), in the report's order.
        command: what makes this report again; goes to it as it is.
        num_images: test images, drawn by lot, that time is measured on.
        num_pictures: how many of these the page shows.
        score_threshold: lowest score of a detection that the page shows.
    Returns:
        the content of report.json
    Raises:
        UserError: see `read_runs`; also when weights do not load or images are missing.
    """
    runs = read_runs(pairs)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = [
        load_detector(run.path("config.yaml"), run.path("model_final.pth"), device) for run in runs
    ]
    test_set = runs[0].test_set
    everything = read_sets([test_set], runs[0].cfg.DATALOADER.MAX_IMAGE_PIXELS)
    lot = np.random.default_rng(seed).permutation(len(everything))[:num_images]
    records = [everything[position] for position in lot]
    make_folder(output, "--output")
    costs = measure(models, records)
    detections = [cost.pop("detections") for cost in costs]  # [run][image]
    matches = [
        [match(of_run[i][of_run[i].scores >= score_threshold], record) for of_run in detections]
        for i, record in enumerate(records)
    ]
    chosen = choose(matches, num_pictures)
    report = {
        "title": title,
        "command": command,
        "test_set": test_set,
        "test_images": len(everything),
        "timed_images": len(records),
        "machine": machine(device),
        "runs": [
            {"name": run.name, "directory": run.directory, **run.accuracy, **cost}
            for run, cost in zip(runs, costs, strict=True)
        ],
        "pictures": {
            "images": [os.path.basename(records[i]["file_name"]) for i in chosen],
            "score_threshold": score_threshold,
            "seed": seed,
        },
    }
    page = draw_page(
        report,
        curves={
            key: [run.curve(key) for run in runs] for key in ("bbox/AP", "loss_cls", "total_loss")
        },
        pictures=[(records[i], matches[i]) for i in chosen],
        class_names=MetadataCatalog.get(test_set).thing_classes,
    )
    with atomic_write(os.path.join(output, "report.png"), "wb") as file:
        page.savefig(file, format="png", pil_kwargs={"optimize": True})
    with atomic_write(os.path.join(output, "report.json")) as file:
        json.dump(report, file, indent=2)
    with atomic_write(os.path.join(output, "report.md")) as file:
        file.write(markdown(report))
    return report


def markdown(report: dict) -> str:
    """report.md: the table, how it was measured, and the page."""
    return f"""# {report["title"]}

{table(report["runs"], "github")}

Accuracy on the {report["test_images"]:,} images of {report["test_set"]}, in percent. GFLOPs: 1e9
multiply-adds for one image, as fvcore counts them. {timing(report)}

Made by `{report["command"]}`.

![{report["title"]}](report.png)
"""
