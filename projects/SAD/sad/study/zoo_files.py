"""A finished run as a file of the model zoo, which is proved to be as good as the run."""

import json
import os

from ..config.identity import settings
from ..config.load import get_sad_cfg
from ..data.datasets import register_from_config
from ..export.validation import evaluate
from ..export.weights_file import to_weights
from ..exported.describe import describe
from ..modeling.build import load_detector
from ..report.runs import Run
from ..utils.errors import UserError
from ..utils.files import atomic_write, sha256, write_json

TOLERANCE = 0.05  # AP in percent that half precision may cost


def write_model(run: Run, config_file: str, val_set: str, output: str, licence: str) -> dict:
    """Write a run's detector as OUTPUT.safetensors, in half precision and with its card, and what
    it reaches as OUTPUT.json.

    Batch norm's statistics stay as they are: a variance of pixels is beyond half precision.

    Args:
        run: it was tested on the set that the metrics are of.
        config_file: the yaml that the run was trained with.
        val_set: where the threshold of the best F1 is looked for.
        output: path without an ending.
        licence: of the weights and of the data they were trained on.
    Returns:
        the content of OUTPUT.json.
    Raises:
        UserError: the yaml is not the run's, half precision cannot hold a weight, or it changes the
            AP on the test set by more than TOLERANCE.
    """
    _check_config(run, config_file)
    register_from_config(run.cfg)
    model, cfg = load_detector(config_file, run.path(run.weights), "cpu")
    for name, weight in model.named_parameters():
        weight.data = weight.half().float()
        if not weight.isfinite().all():
            raise UserError(f"run {run.name!r}: {name} is too large for half precision")
    best, found = evaluate(model, cfg, val_set).best, evaluate(model, cfg, run.test_set).metrics
    if not abs(found["AP"] - run.accuracy["AP"]) <= TOLERANCE:
        raise UserError(
            f"run {run.name!r}: in half precision AP on {run.test_set} is {found['AP']:.3f}, that "
            f"of the run {run.accuracy['AP']:.3f}: more than {TOLERANCE} apart, so nothing is "
            "written"
        )
    metrics = {f"{run.test_set}/{name}": value for name, value in found.items()}
    threshold = best and best.threshold
    card = describe(model, cfg, threshold=threshold, metrics=metrics, licence=licence)
    for weight in model.parameters():
        weight.data = weight.half()
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    with atomic_write(f"{output}.safetensors", "wb") as file:
        file.write(to_weights(model, card))
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


def _check_config(run: Run, config_file: str) -> None:
    ran, said = (
        json.loads(json.dumps(settings(cfg))) for cfg in (run.cfg, get_sad_cfg(config_file))
    )
    # The quickstart keeps the teacher's answers: how it was trained, and not as what.
    for key in sorted({*ran, *said} - {"SAD.TEACHER.CACHE.DIR"}):
        if ran.get(key) != said.get(key):
            raise UserError(
                f"run {run.name!r} was trained with {key} {ran.get(key)}, and {config_file} has "
                f"{said.get(key)}: name the folder of a run of this yaml"
            )
