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
from .runs import DTYPES, GraphDetector, as_input

TRUST = "SAD_TRUST_PT2"
CARD, CODE = "card.json", "code.json"  # extra files; the second where it is machine code
# What compilers do not use unless they are asked to. It differs between makers of CPUs.
UNUSED = ("aes", "clflush", "clflushopt", "clwb", "sha", "sse4a")


def read_card(path: str) -> Card:
    """
    Raises:
        UserError: the file is broken, has no card, or a forged one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            text = _extra_file(archive, CARD)
    except Exception as error:  # zipfile has many of what may be wrong
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


def describe_code(dtype: str) -> str:
    """What goes with machine code, which itself does not look: what the CPU must be able to do, and
    the kind of numbers of the images.

    Raises:
        UserError: torch is too old to say what a CPU can do.
    """
    return json.dumps({"cpu": cpu_features(), "images": dtype})


def cpu_features() -> list[str]:
    """What this CPU can do, in torch's words: ["avx", "avx2", ...].

    Raises:
        UserError: see `describe_code`.
    """
    if not hasattr(torch.cpu, "get_capabilities"):
        raise UserError(
            f"torch {torch.__version__} does not say what a CPU can do, which machine code must "
            "know: install a newer torch, or export with --format torch"
        )
    found = torch.cpu.get_capabilities()
    can = {name for name, there in found.items() if there is True}
    return [found["architecture"], *sorted(can.difference(UNUSED))]


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
            code = _extra_file(archive, CODE)
        if code is not None:  # of a CPU
            device, (module, dtype) = "cpu", _load_code(content, json.loads(code), path)
        else:
            module, dtype = _load_graph(content, device)
    except UserError:
        raise
    except Exception as error:  # a broken file can raise anything
        raise UserError(f"{path} is no program of torch.export ({reason(error)})") from error

    @torch.inference_mode()
    def run(images):
        images = as_input(images, dtype, device)
        try:
            return tuple(x.cpu() for x in module(images))
        except Exception as error:  # a forged or foreign program can raise anything
            raise UserError(f"{path} cannot be run by torch ({reason(error)})") from error

    return run


def _load_graph(content: bytes, device: str) -> tuple[Callable, torch.dtype]:
    """A program, and the kind of its images."""
    program = torch.export.load(io.BytesIO(content))
    (name,) = program.graph_signature.user_inputs
    (images,) = (node.meta["val"] for node in program.graph.nodes if node.name == name)
    if device != "cpu":  # which is written into it, where tensors are made of sizes
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    return program.module(check_guards=False), images.dtype  # see `sad.export.torch_program`


def _load_code(content: bytes, said: dict, path: str) -> tuple[Callable, torch.dtype]:
    """As `_load_graph`.

    Args:
        said: see `describe_code`. On a CPU that can do less the process would be killed.
    """
    if missing := sorted({*map(str, said["cpu"])} - {*cpu_features()}):
        raise UserError(
            f"{path} is machine code for CPUs with {', '.join(missing)}, which this one has not: "
            "export it on a machine like this one"
        )
    dtype = DTYPES[said["images"]]
    return torch._inductor.aoti_load_package(io.BytesIO(content)), dtype
