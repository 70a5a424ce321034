"""Detectors as programs of torch.export (.pt2), which run without Detectron2.

`torch.export.load` unpickles, evaluates formulas and looks functions up by the names that the file
gives: a file from a stranger can run code. So its card is read without torch, and the program only
where the user has said to trust such files.
"""

import io
import os
import zipfile
from collections.abc import Callable

import torch
from torch import Tensor

from ..utils.errors import UserError, reason
from .card import MOST_TEXT, Card
from .runs import GraphDetector

TRUST = "SAD_TRUST_PT2"
CARD = "card.json"  # among the extra files


def read_card(path: str) -> Card:
    """
    Raises:
        UserError: the file is broken, has no card, or a forged one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [x for x in archive.infolist() if x.filename.endswith(f"/extra/{CARD}")]
            if len(entries) != 1 or entries[0].file_size > 4 * MOST_TEXT:
                raise UserError(f"{path} has no card: it is no file of this project's export")
            text = archive.read(entries[0]).decode("utf-8")
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise UserError(f"{path} is no program of torch.export ({reason(error)})") from error
    try:
        return Card.read(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def open_program(path: str, device: str = "cpu") -> GraphDetector:
    """
    Raises:
        UserError: see `read_card`; also where the environment does not say to trust it.
    """
    card = read_card(path)
    if os.environ.get(TRUST) != "1":
        raise UserError(
            f"{path} could run code, as any .pt2 file: set {TRUST}=1 if you trust whoever made it, "
            "or take an .onnx or .safetensors file"
        )
    with open(path, "rb") as file:
        run = load_program(file.read(), device, path)
    return GraphDetector(card, lambda images: run(images)[:4], device)


def load_program(content: bytes, device: str, path: str) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Of a file that this process may trust.

    Args:
        path: what messages call it.
    Returns:
        (N, 3, H, W) images -> the outputs of `sad.export.detection_graph`, on the CPU.
    """
    import torchvision  # noqa: F401 - which has the operator for suppression

    try:
        program = torch.export.load(io.BytesIO(content))
        if device != "cpu":  # which is written into it, where tensors are made of sizes
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        module = program.module(check_guards=False)  # see `sad.export.torch_program`
    except Exception as error:  # a broken file can raise anything
        raise UserError(f"{path} is no program of torch.export ({reason(error)})") from error

    @torch.inference_mode()
    def run(images):
        try:
            return tuple(x.cpu() for x in module(images.to(device)))
        except Exception as error:  # a forged or foreign program can raise anything
            raise UserError(f"{path} cannot be run by torch ({reason(error)})") from error

    return run
