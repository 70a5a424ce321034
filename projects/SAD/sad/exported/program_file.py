"""Detectors as programs of torch.export, or as AOTInductor's machine code (.pt2), which run without
Detectron2.

`torch.export.load` unpickles, evaluates formulas and looks functions up by the names that the file
gives, and machine code is code: a file from a stranger can do anything. So its card is read without
torch, and the program only where the user has said to trust such files.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable

import torch
from torch import Tensor

from ..utils.errors import UserError, reason
from .card import MOST_TEXT, Card
from .runs import GraphDetector

TRUST = "SAD_TRUST_PT2"
CARD, CPU = "card.json", "cpu.json"  # among the extra files; the second where it is machine code


def read_card(path: str) -> Card:
    """
    Raises:
        UserError: the file is broken, has no card, or a forged one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = _extra_file(archive, CARD)
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise UserError(f"{path} is no program of torch.export ({reason(error)})") from error
    if text is None:
        raise UserError(f"{path} has no card: it is no file of this project's export")
    try:
        return Card.read(text)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _extra_file(archive: zipfile.ZipFile, name: str) -> str | None:
    """Of those that torch lets one add, unless it is there twice, or is larger than a card."""
    found = [x for x in archive.infolist() if x.filename.endswith(f"/extra/{name}")]
    if len(found) != 1 or found[0].file_size > 4 * MOST_TEXT:
        return None
    return archive.read(found[0]).decode("utf-8")


def cpu_features() -> list[str]:
    """What this CPU can do, in torch's words: ["avx", "avx2", ...].

    Raises:
        UserError: torch is too old to say.
    """
    if not hasattr(torch.cpu, "get_capabilities"):
        raise UserError(
            f"torch {torch.__version__} does not say what a CPU can do, which machine code must "
            "know: install a newer torch, or export with --format torch"
        )
    found = torch.cpu.get_capabilities()
    return [found["architecture"], *sorted(name for name, there in found.items() if there is True)]


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
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            compiled_for = _extra_file(archive, CPU)
        if compiled_for is not None:
            device = "cpu"
            module = _load_code(content, json.loads(compiled_for), path)
        else:
            module = _load_graph(content, device)
    except UserError:
        raise
    except Exception as error:  # a broken file can raise anything
        raise UserError(f"{path} is no program of torch.export ({reason(error)})") from error

    @torch.inference_mode()
    def run(images):
        try:
            return tuple(x.cpu() for x in module(images.to(device)))
        except Exception as error:  # a forged or foreign program can raise anything
            raise UserError(f"{path} cannot be run by torch ({reason(error)})") from error

    return run


def _load_graph(content: bytes, device: str) -> Callable:
    program = torch.export.load(io.BytesIO(content))
    if device != "cpu":  # which is written into it, where tensors are made of sizes
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return program.module(check_guards=False)  # see `sad.export.torch_program`


def _load_code(content: bytes, needed: list[str], path: str) -> Callable:
    """
    Args:
        needed: what the CPU must be able to do, see `cpu_features`: else the process would be
            killed.
    """
    if missing := sorted(set(needed) - set(cpu_features())):
        raise UserError(
            f"{path} is machine code for CPUs with {', '.join(missing)}, which this one has not: "
            "export it on a machine like this one"
        )
    return torch._inductor.aoti_load_package(io.BytesIO(content))
