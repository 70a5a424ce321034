"""From a trained detector to a file of another program, which is proved before it has its name."""

import dataclasses
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tabulate import tabulate

from ..data.checks import classes_of
from ..data.classes import class_order
from ..data.datasets import register_from_config
from ..evaluation.loader import build_test_loader
from ..exported.card import Card
from ..exported.describe import describe
from ..exported.onnx_file import make_session, need, open_onnx, run
from ..exported.open import card_of_weights, check_as_card
from ..exported.program_file import load_program
from ..exported.runs import OUTPUTS, GraphDetector
from ..exported.weights_file import open_weights
from ..modeling.build import load_detector
from ..utils.clock import take_turns
from ..utils.errors import UserError
from ..utils.files import make_folder
from .calibration import calibration_images
from .detection_graph import DetectionGraph
from .graph import graph_of
from .int8 import quantize
from .onnx_file import PLAIN, set_card, to_onnx, with_inner
from .proof import check_batches, prove
from .request import Request, check
from .torch_program import to_package, to_program
from .validation import Worth, evaluate
from .weights_file import differences, to_weights

SAME_AP = 0.1  # in percent
ROUNDS = 20  # of which the times are the medians
KINDS = {"onnx": "ONNX float32", "torch": "torch.export", "aotinductor": "AOTInductor"}
TO_TORCH = {"torch": to_program, "aotinductor": to_package}
GAIN = 0.05  # of time, that int8 must bring: less is what medians differ by, too


@dataclass
class Exported:
    """A detector and what it is worth."""

    name: str
    detector: Callable
    worth: Worth
    size: int  # bytes


def export(request: Request, say: Callable[[str], None] = print) -> list[Exported]:
    """Write the file, and say what was proved.

    Returns:
        Detectron2's detector and what was made of it, each as it was measured; the last one is what
        the file holds.
    Raises:
        UserError: something is missing or does not go together, or the file is not the detector
            that it was made of, which is then not written.
    """
    check(request)
    model, cfg = load_detector(request.config_file, request.weights, "cpu", request.opts)
    name = _register(request, cfg)
    images = _some_images(cfg, name)
    model.class_names = model.class_names or classes_of(name)
    check_as_card(cfg, request.weights)
    card, given = describe(model, cfg), card_of_weights(request.weights)
    if given:
        card = dataclasses.replace(card, data=given.data, seed=given.seed, licence=given.licence)
    if request.licence:
        card = dataclasses.replace(card, licence=request.licence)
    calibrated_on = calibration_images(cfg, request.calibration_images) if request.int8 else None
    graph = None if request.format == "safetensors" else graph_of(model, request.nms)
    make_folder(os.path.dirname(os.path.abspath(request.output)), "--output in")
    worth = evaluate(model, cfg, name)
    card = with_worth(card, worth, name)
    size = sum(x.numel() * x.element_size() for x in model.state_dict().values())
    rows = [Exported("Detectron2", model, worth, size)]
    folder = tempfile.mkdtemp(dir=os.path.dirname(os.path.abspath(request.output)), prefix=".sad_")
    try:
        path = os.path.join(folder, os.path.basename(request.output))
        if request.format == "safetensors":
            rows.append(_write_weights(model, card, path, cfg, name, say))
        else:
            rows.append(_write_graph(request, graph, card, path, images, cfg, name, say))
        if request.int8:
            rows.append(_write_int8(path, calibrated_on, card, cfg, name))
        times = _milliseconds(rows, images[0])
        say(_table(rows, times))
        if given and f"{name}/AP" in given.metrics:
            say(f"The card of {request.weights} says AP {given.metrics[f'{name}/AP']:.2f}")
        if request.int8:
            _check_int8(request, *rows[1:], times)
        os.replace(path, request.output)
        return rows
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _register(request: Request, cfg) -> str:
    """The name of the set to validate on, registered in the order of the weights' classes."""
    name = request.dataset or next(iter([*cfg.DATASETS.VAL, *cfg.DATASETS.TEST]), "")
    if not name:
        raise UserError(
            "DATASETS.TEST is empty: name a labelled set by --dataset, which the file is proved on"
        )
    cfg.defrost()
    cfg.DATASETS.TEST = (name,)
    cfg.DATASETS.VAL = ()
    cfg.freeze()
    register_from_config(cfg)
    if order := class_order(cfg, resume=False, evaluates=True, teaches=False):
        register_from_config(cfg, order)
    return name


def _some_images(cfg, name: str, number: int = 3) -> list[torch.Tensor]:
    found = []
    for batch in build_test_loader(cfg, name):
        found += [item["image"] for item in batch]
        if len(found) >= number:
            break
    return found


def _write_weights(model, card, path, cfg, name, say) -> Exported:
    """Write the file, prove its tensors and the detector that is built of it."""
    _write(path, to_weights(model, card))
    detector = open_weights(path)
    if wrong := differences(model, detector):
        raise UserError(f"the file is not its detector: {wrong[0]} is another tensor in it")
    say("Proof: the model that is built of the file has the same tensors, bit for bit")
    return _evaluated("safetensors", detector, card, path, cfg, name)


def _write_graph(request, graph, card, path, images, cfg, name, say) -> Exported:
    """Write the file, prove it on batches and on the validation set."""
    detector, detect, inner = _opened(request, graph, card, path)
    proof = prove(graph.model, detect, inner, check_batches(images, graph.stride))
    say(f"Proof: {proof}")
    return _evaluated(KINDS[request.format], detector, card, path, cfg, name)


def _evaluated(kind: str, detector, card: Card, path: str, cfg, name: str) -> Exported:
    """A file's detector, which must be worth what its card says."""
    worth, reference = evaluate(detector, cfg, name), card.metrics[f"{name}/AP"]
    if not abs(worth.ap - reference) <= SAME_AP:
        raise UserError(
            f"the file is not its detector: on {name} its AP is {worth.ap:.2f} instead of "
            f"{reference:.2f}"
        )
    return Exported(kind, detector, worth, os.path.getsize(path))


def _opened(request, graph: DetectionGraph, card: Card, path: str) -> tuple:
    """Write a file, and read it: as a detector, as one for the proof (None where it has no
    suppression), and as the function of images that has the values of the graph's INNER."""
    if request.format in TO_TORCH:
        content = TO_TORCH[request.format](graph, card, request.dtype)
        _write(path, content)
        program = load_program(content, "cpu", request.output)
        detector = GraphDetector(card, lambda images: program(images)[: len(OUTPUTS)])
        return detector, detector, lambda images: program(images)[len(OUTPUTS) :]
    model = to_onnx(graph, card, request.dtype)
    _write(path, model.SerializeToString())
    if request.nms:
        names = graph.INNER
        session = make_session(with_inner(model, names).SerializeToString(), "cpu", request.output)
        detector = open_onnx(path)
        return detector, detector, lambda images: run(session, images, list(names))
    session = make_session(model.SerializeToString(), "cpu", request.output)

    def select(images):
        height, width = images.shape[-2:]
        found = run(session, images, list(PLAIN))
        return graph.select(graph.split(*found, height, width), height, width)

    return GraphDetector(card, select), None, lambda images: run(session, images, list(PLAIN))


def _write_int8(path: str, images, card: Card, cfg, name: str) -> Exported:
    """Put an int8 file in the place of a float one, with a card that says what it is worth."""
    model = quantize(need("onnx", "an export to int8").load_model(path), images)
    _write(path, model.SerializeToString())
    detector = open_onnx(path)
    worth = evaluate(detector, cfg, name)
    set_card(model, with_worth(card, worth, name))
    _write(path, model.SerializeToString())
    return Exported("ONNX int8", detector, worth, os.path.getsize(path))


def with_worth(card: Card, worth: Worth, name: str) -> Card:
    """A card that tells what a detector is worth on the set of this name."""
    return dataclasses.replace(
        card,
        threshold=worth.best and worth.best.threshold,
        metrics={f"{name}/{key}": value for key, value in worth.metrics.items()},
    )


def _check_int8(request: Request, real: Exported, small: Exported, times: dict) -> None:
    """
    Raises:
        UserError: the file is hardly faster than the float one, or finds too much less.
    """
    loss, why = real.worth.ap - small.worth.ap, []
    ms, float_ms = times[small.name], times[real.name]
    if ms > (1 - GAIN) * float_ms:
        why.append(
            f"is not {GAIN:.0%} faster than float32's ({ms:.1f} instead of {float_ms:.1f} ms)"
        )
    if loss > request.max_loss:
        why.append(f"loses {loss:.2f} AP")
    if why and not request.anyway:
        raise UserError(
            f"the int8 file {' and '.join(why)}, so it is not written: export without --int8, or "
            "give --anyway"
        )


@torch.inference_mode()
def _milliseconds(rows: list[Exported], image: torch.Tensor) -> dict[str, float]:
    """Of each detector for one image."""
    batch = [{"image": image}]
    arms = {row.name: lambda detector=row.detector: detector(batch) for row in rows}
    times = take_turns(arms, ROUNDS)
    return {name: 1000 * statistics.median(seconds) for name, seconds in times.items()}


def _table(rows: list[Exported], times: dict) -> str:
    return tabulate(
        [
            [row.name, row.worth.ap, row.worth.metrics["AP50"], times[row.name], row.size / 1e6]
            for row in rows
        ],
        headers=["", "AP", "AP50", "ms per image", "MB"],
        floatfmt=("", ".2f", ".2f", ".1f", ".2f"),
    )


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
