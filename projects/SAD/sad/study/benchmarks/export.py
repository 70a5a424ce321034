"""Exported detectors: what each form of a trained one finds, and how fast and large it is.

AP is that of each form on the first set that the run was tested on. Times are of the whole
detector, from images in memory at their test size to boxes, for batches of 1 and 8 images of one
size; all forms take turns, and the ratio is to PyTorch's. MB is the file's size. Each file was
proved by `sad export`, which writes it here also where int8 is slower or finds less.
"""

import os
import tempfile

import torch

from ...evaluation.loader import build_test_loader
from ...export.request import SUFFIXES, Request
from ...export.run import export
from ...export.validation import quiet
from ...modeling.build import load_detector
from ...utils.clock import take_turns
from ...utils.errors import UserError
from .timing import Options, Table, compare

BATCHES = (1, 8)
FILES = ("config.yaml", "model_final.pth")  # of a run
EAGER = "PyTorch eager"
FORMS = {
    "torch.export": "torch",
    "AOTInductor": "aotinductor",
    "ONNX float32": "onnx",
    "ONNX int8": "onnx",
}


def check(runs) -> None:
    """
    Args:
        runs: (name, folder) of each.
    Raises:
        UserError: a run is not finished.
    """
    for _, folder in runs:
        for name in FILES:
            if not os.path.isfile(os.path.join(folder, name)):
                raise UserError(
                    f"{os.path.join(folder, name)} does not exist: name the folder of a finished "
                    "training"
                )


def run(options: Options) -> Table:
    """
    Raises:
        UserError: a run is not finished, or a file is not its detector.
    """
    check(options.runs)
    quiet()
    rows = {}
    for name, folder in options.runs:
        config, weights = (os.path.join(folder, x) for x in FILES)
        found = of_run(config, weights, options.rounds)
        rows |= {f"{name}: {form}": row for form, row in found.items()}
    return Table("Exported detectors", rows, [__doc__.split("\n\n")[1]], options.rounds)


def of_run(config: str, weights: str, rounds: int) -> dict[str, dict]:
    """Rows of one detector, by its form."""
    model, cfg = load_detector(config, weights, "cpu")
    detectors, rows = {EAGER: model}, {EAGER: {}}
    with tempfile.TemporaryDirectory() as folder:
        for form, kind in FORMS.items():
            path = os.path.join(folder, form.replace(" ", "_") + SUFFIXES[kind])
            int8 = form == "ONNX int8"
            eager, *_, made = export(
                Request(
                    **{"config_file": config, "weights": weights, "format": kind},
                    **{"output": path, "int8": int8, "anyway": int8},
                ),
                say=lambda _: None,
            )
            detectors[form] = made.detector
            for key, one in ((EAGER, eager), (form, made)):
                rows[key] = {"AP": one.worth.ap, "MB": one.size / 1e6}
    sets = [*cfg.DATASETS.VAL, *cfg.DATASETS.TEST]
    image = next(iter(build_test_loader(cfg, sets[0])))[0]["image"]
    for number in BATCHES:
        batch = [{"image": image}] * number
        arms = {
            form: lambda detector=detector, batch=batch: detector(batch)
            for form, detector in detectors.items()
        }
        with torch.inference_mode():
            times = compare(take_turns(arms, rounds), EAGER)
        for form, row in rows.items():
            row[f"ms at batch {number}"] = times[form]["ms"]
            row[f"ratio at batch {number}"] = times[form][f"ratio to {EAGER}"]
            row[f"95 % interval at batch {number}"] = times[form]["95 % interval"]
    return rows
