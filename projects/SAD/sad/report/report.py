"""The report on finished runs: what each model scores and costs, and what it sees."""

import os

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from tabulate import tabulate

from ..data.datasets import read_sets
from ..evaluation.metrics_file import METRICS
from ..modeling.build import load_detector
from ..utils.files import atomic_write, make_folder, write_json
from .cost import machine, measure
from .matching import choose, match
from .page import draw_page, timing
from .runs import read_runs


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
            keys[0]: [run.curve(*keys) for run in runs]
            for keys in (["bbox/AP"], ["loss_cls", "loss_fcos_cls"], ["total_loss"])
        },
        pictures=[(records[i], matches[i]) for i in chosen],
        class_names=MetadataCatalog.get(test_set).thing_classes,
    )
    with atomic_write(os.path.join(output, "report.png"), "wb") as file:
        page.savefig(file, format="png", pil_kwargs={"optimize": True})
    write_json(os.path.join(output, "report.json"), report, indent=2)
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
