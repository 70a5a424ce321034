"""The report on finished runs: what each model scores and costs, what it sees, what was gained."""

import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.data import MetadataCatalog

from ..data.datasets import read_sets
from ..modeling.build import load_detector
from ..utils.files import atomic_write, make_folder, write_json
from .cost import machine, measure
from .figures import seen, training
from .gain import Roles, measure_gain
from .html import render
from .matching import choose, match
from .page import draw_page
from .runs import WEIGHTS, Run, read_runs
from .sections import lead, markdown, text_sections


def write_report(
    pairs: list[tuple[str, str]],
    output: str,
    *,
    title: str,
    command: str,
    roles: Roles | None = None,
    notes: Sequence[str] = (),
    test_set: str = "",
    weights: str = WEIGHTS,
    num_images: int = 50,
    num_pictures: int = 4,
    score_threshold: float = 0.4,
    seed: int = 0,
) -> dict:
    """Write report.html, report.md, report.json and report.png to the folder `output`.

    Args:
        pairs: (name, run directory), in the report's order.
        command: what makes this report again; goes to it as it is.
        roles: which runs to compare for the gain; None leaves that out.
        notes: sentences that a reader of the figures must know.
        test_set, weights: other than the only set of DATASETS.TEST and the last weights, see `Run`.
        num_images: test images, drawn by lot, that time is measured on.
        num_pictures: how many of these the page shows.
        score_threshold: lowest score of a detection that the page shows.
        seed: of the lot, and of the bootstrap.
    Returns:
        the content of report.json: "title", "command", "notes", "test_set", "test_images",
        "timed_images", "machine", "classes" ({name: objects of the test set}), "runs" (of each
        "name", "directory", "weights", "AP", "AP50", "AP75", "class_AP", "minutes" of training,
        "parameters", "gflops", "ms"), "gain" (see `measure_gain`; None without roles), "pictures".
    Raises:
        UserError: see `read_runs` and `Roles.check`; also when weights do not load or images are
            missing.
    """
    if roles:
        roles.check([name for name, _ in pairs])
    runs = read_runs(pairs, weights=weights, test_set=test_set)
    images = read_sets([runs[0].test_set], runs[0].cfg.DATALOADER.MAX_IMAGE_PIXELS)
    class_names = MetadataCatalog.get(runs[0].test_set).thing_classes
    of_runs = [run.figures() for run in runs]  # before minutes of measuring: they may be missing
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models = [load_detector(run.path("config.yaml"), run.path(run.weights), device) for run in runs]
    lot = np.random.default_rng(seed).permutation(len(images))[:num_images]
    records = [images[position] for position in lot]
    make_folder(output, "--output")
    costs = measure(models, records)
    pictures = most_different(costs, records, score_threshold, num_pictures)
    report = {
        "title": title,
        "command": command,
        "notes": list(notes),
        "test_set": runs[0].test_set,
        "test_images": len(images),
        "timed_images": len(records),
        "machine": machine(device),
        "classes": count_objects(images, class_names),
        "runs": [figures | cost for figures, cost in zip(of_runs, costs, strict=True)],
        "gain": measure_gain(runs, roles, seed=seed) if roles else None,
        "pictures": {
            "images": [os.path.basename(record["file_name"]) for record, _ in pictures],
            "score_threshold": score_threshold,
            "seed": seed,
        },
    }
    write_files(output, report, curves_of(runs), pictures, class_names)
    return report


def most_different(
    costs: list[dict], records: list[dict], score_threshold: float, number: int
) -> list[tuple]:
    """The images that show how the runs differ, and the matches of each run on them.

    Args:
        costs: of each run, see `measure`; their detections are taken out.
    """
    detections = [cost.pop("detections") for cost in costs]  # [run][image]
    matches = [
        [match(of_run[i][of_run[i].scores >= score_threshold], record) for of_run in detections]
        for i, record in enumerate(records)
    ]
    return [(records[i], matches[i]) for i in choose(matches, number)]


def count_objects(images: list[dict], class_names: list[str]) -> dict[str, int]:
    """{class: labelled objects of it, without crowds}"""
    count = Counter(
        annotation["category_id"]
        for image in images
        for annotation in image["annotations"]
        if not annotation.get("iscrowd", 0)
    )
    return {name: count[number] for number, name in enumerate(class_names)}


def curves_of(runs: list[Run]) -> dict[str, list[tuple]]:
    """What is drawn over the iterations: {name: (iterations, values) of each run}"""
    return {
        "bbox/AP": [run.accuracy_curve() for run in runs],
        "loss_cls": [run.curve("loss_cls", "loss_fcos_cls") for run in runs],
        "total_loss": [run.curve("total_loss") for run in runs],
    }


def write_files(
    output: str, report: dict, curves: dict, pictures: list, class_names: list[str]
) -> None:
    """The page as HTML and as a picture, and their content as text and json.

    Args:
        curves, pictures, class_names: see `draw_page`.
    """
    text = text_sections(report)
    names = [run["name"] for run in report["runs"]]
    drawn = [training(names, curves), seen(report, pictures, class_names)]
    html = render(report["title"], lead(report), [*text, *drawn])
    page = draw_page(report, curves, pictures, class_names)
    with atomic_write(os.path.join(output, "report.png"), "wb") as file:
        page.savefig(file, format="png", pil_kwargs={"optimize": True})
    write_json(os.path.join(output, "report.json"), report, indent=2)
    for name, content in {"report.md": markdown(report, text), "report.html": html}.items():
        with atomic_write(os.path.join(output, name)) as file:
            file.write(content)
