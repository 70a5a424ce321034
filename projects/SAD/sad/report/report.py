"""The report on finished runs: what each model scores and costs, what it sees, what was gained."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.data import MetadataCatalog

from ..data.datasets import read_sets
from ..evaluation.bootstrap import read_results
from ..modeling.build import load_detector
from ..utils.errors import UserError
from ..utils.files import make_folder
from .cost import machine, measure
from .details import describe_detections, read_test_set
from .files import write_files
from .gain import Roles, measure_gain
from .pictures import (
    best_threshold,
    describe_pictures,
    in_order_of,
    of_instances,
    of_results,
)
from .runs import WEIGHTS, Run, read_runs
from .settings import describe_settings
from .teaching import curves_of, describe_pseudo_labels
from .uncertainty import looks

UNSURE_IMAGES = 2  # that show what the teacher is unsure of


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
    score_threshold: float | None = None,
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
        num_pictures: how many of the test images the page shows of each kind.
        score_threshold: lowest score of a detection that the page shows and counts as an error;
            None is that of each run's best F1.
        seed: of the lot, and of the bootstrap.
    Returns:
        the content of report.json: "title", "command", "notes", "test_set", "test_images",
        "timed_images", "machine", "classes" ({name: objects of the test set}), "runs" (of each
        "name", "directory", "weights", "AP", "AP50", "AP75", "class_AP", "AP_by_size", "minutes" of
        training, "parameters", "gflops", "ms", "curves" (see `curves_of`) and "details" (see
        `describe_detections`; None where "no_details" says why)), "no_details", "settings" (see
        `describe_settings`), "gain" (see `measure_gain`; None without roles), "pictures" (see
        `describe_pictures`), "pseudo_labels" (see `describe_pseudo_labels`) and "uncertainty" (see
        `sad.report.uncertainty.looks`).
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
    detections = [
        in_order_of(class_names, cost.pop("detections"), model.class_names, run.name)
        for cost, (model, _), run in zip(costs, models, runs, strict=True)
    ]
    details, found, no_details = details_of(runs, score_threshold)
    gain = measure_gain(runs, roles, seed=seed) if roles else None
    by_name = {run.name: run for run in runs}
    report = {
        "title": title,
        "command": command,
        "notes": list(notes),
        "test_set": runs[0].test_set,
        "test_images": len(images),
        "timed_images": len(records),
        "machine": machine(device),
        "classes": objects_of_classes(images, class_names),
        "runs": [
            figures | cost | {"curves": curves_of(run), "details": details.get(run.name)}
            for run, figures, cost in zip(runs, of_runs, costs, strict=True)
        ],
        "no_details": no_details,
        "settings": describe_settings(runs),
        "gain": gain,
        "pictures": pictures_of(
            runs, details, found, images, records, detections, len(class_names),
            number=num_pictures, threshold=score_threshold,
            pair=(gain["distilled"], gain["baseline"]) if gain else None,
        ),
        "pseudo_labels": describe_pseudo_labels(runs, by_name.get(roles and roles.teacher)),
    }  # fmt: skip
    shown = [picture["file_name"] for picture in report["pictures"]["images"]]
    seen = {record["file_name"]: record for record in images}
    maps, report["uncertainty"] = looks(
        gain, dict(zip(by_name, models, strict=True)), [seen[x] for x in shown[:UNSURE_IMAGES]]
    )
    write_files(output, report, maps)
    return report


def details_of(runs: Sequence[Run], threshold: float | None) -> tuple[dict, dict, dict]:
    """({name of a run: its details}, {name of a run: its detections, see `read_results`},
    {name of a run: why it has neither}).
    """
    try:
        test_set = read_test_set(runs[0].test_set)
    except UserError as error:
        return {}, {}, {run.name: str(error) for run in runs}
    details, found, reasons = {}, {}, {}
    for run in runs:
        try:
            run.require_detections()
            results = read_results(run.detections_file, test_set.truth)
            details[run.name] = describe_detections(run, results, test_set, threshold)
            found[run.name] = results
        except UserError as error:
            reasons[run.name] = str(error)
    return details, found, reasons


def pictures_of(
    runs: Sequence[Run], details: dict, found: dict, images: list[dict], timed: list[dict],
    detections: list, num_classes: int, *, number: int, threshold: float | None,
    pair: tuple[str, str] | None,
) -> dict:  # fmt: skip
    """The entry "pictures" of report.json: of all test images, or, where the detections of a run
    are not there, of those that time was measured on.

    Args:
        details, found: see `details_of`.
        detections: of each run, on the timed images.
    """
    if all(run.name in details for run in runs):
        records = images
        found = {run.name: of_results(found[run.name], run.test_set) for run in runs}
        thresholds = {name: of_run["threshold"] for name, of_run in details.items()}
    else:
        records = timed
        pairs = zip(runs, detections, strict=True)
        found = {run.name: of_instances(of_run, timed) for run, of_run in pairs}
        thresholds = {
            name: best_threshold(timed, boxes, num_classes) if threshold is None else threshold
            for name, boxes in found.items()
        }
    return describe_pictures(records, found, thresholds, num_classes, number, pair)


def objects_of_classes(images: list[dict], class_names: list[str]) -> dict[str, int]:
    """{class: labelled objects of it, without crowds}"""
    count = Counter(
        annotation["category_id"]
        for image in images
        for annotation in image["annotations"]
        if not annotation.get("iscrowd", 0)
    )
    return {name: count[number] for number, name in enumerate(class_names)}
