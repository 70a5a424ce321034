"""A finished run as a file of the model zoo, which is proved to be as good as the run."""

import json
import os
import tempfile

import torch
from detectron2.evaluation import inference_on_dataset

from ..checkpoint.checkpointer import BATCH_STATISTICS
from ..checkpoint.safe_load import read_weights, write_safetensors
from ..config.identity import settings
from ..config.load import get_sad_cfg
from ..data.datasets import register_from_config
from ..evaluation.best_threshold import best_threshold
from ..evaluation.bootstrap import read_results
from ..evaluation.coco_evaluator import BoxEvaluator
from ..evaluation.loader import build_test_loader
from ..evaluation.metrics_file import METRICS
from ..exported.card import KEY
from ..exported.describe import describe
from ..modeling.build import load_detector
from ..report.runs import Run
from ..utils.errors import UserError
from ..utils.files import sha256, write_json

TOLERANCE = 0.05  # AP in percent that half precision may cost


def write_model(run: Run, config_file: str, val_set: str, output: str, licence: str) -> dict:
    """Write a run's detector as OUTPUT.safetensors, in half precision and with its card, and what
    it reaches as OUTPUT.json.

    Args:
        run: it was tested on the set that the metrics are of.
        config_file: the yaml that the run was trained with.
        val_set: where the threshold of the best F1 is looked for.
        output: path without an ending.
        licence: of the weights and of the data they were trained on.
    Returns:
        the content of OUTPUT.json.
    Raises:
        UserError: the yaml is not the run's, or half precision changes the AP on the test set by
            more than TOLERANCE.
    """
    _check_config(run, config_file)
    register_from_config(run.cfg)
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "half.pth")
        torch.save(halved(read_weights(run.path(run.weights))), weights)
        model, cfg = load_detector(config_file, weights, "cpu")
        _, truth, boxes = _evaluate(model, cfg, val_set, folder)
        threshold = best_threshold(truth, boxes)
        results, _, _ = _evaluate(model, cfg, run.test_set, folder)
        found = {name: results[name] for name in METRICS}
        change = abs(found["AP"] - run.accuracy["AP"])
        if not change <= TOLERANCE:
            raise UserError(
                f"run {run.name!r}: in half precision AP on {run.test_set} is {found['AP']:.3f}, "
                f"that of the run {run.accuracy['AP']:.3f}: more than {TOLERANCE} apart, so "
                "nothing is written"
            )
        card = describe(model, cfg, threshold=threshold, metrics=found, licence=licence)
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        write_safetensors(weights, f"{output}.safetensors", {KEY: card.text()})
    facts = {
        "config": config_file,
        "weights": f"{os.path.basename(output)}.safetensors",
        "sha256": sha256(f"{output}.safetensors"),
        "parameters": sum(x.numel() for x in model.parameters()),
        "seed": cfg.SEED,
        "test_set": run.test_set,
        "metrics": found,
        "metrics_in_float32": run.accuracy,
        "threshold": threshold,
        "validation_set": val_set,
        "licence": licence,
    }
    write_json(f"{output}.json", facts, indent=1)
    return facts


def halved(content: dict) -> dict:
    """A checkpoint's model and class names, its weights in half precision.

    Batch norm's statistics stay as they are: a variance of pixels is beyond half precision.

    Raises:
        UserError: half precision cannot hold a weight.
    """
    model = {
        name: tensor if name.endswith(BATCH_STATISTICS) else tensor.half()
        for name, tensor in content["model"].items()
    }
    endless = [name for name, tensor in model.items() if not tensor.isfinite().all()]
    if endless:
        raise UserError(f"{endless[0]} is too large for half precision, or not finite")
    return {"model": model, "class_names": content["class_names"]}


def _check_config(run: Run, config_file: str) -> None:
    ran, said = (
        json.loads(json.dumps(settings(cfg))) for cfg in (run.cfg, get_sad_cfg(config_file))
    )
    for key in sorted({*ran, *said}):
        if ran.get(key) != said.get(key):
            raise UserError(
                f"run {run.name!r} was trained with {key} {ran.get(key)}, and {config_file} has "
                f"{said.get(key)}: name the folder of a run of this yaml"
            )


def _evaluate(model, cfg, name: str, folder: str) -> tuple:
    """(COCO's numbers, the truth, the detections) on a registered set."""
    evaluator = BoxEvaluator(name, folder, "zoo")
    found = inference_on_dataset(model, build_test_loader(cfg, name), evaluator)["bbox"]
    path = os.path.join(folder, "coco_instances_results.json")
    return found, evaluator.truth, read_results(path, evaluator.truth)
