"""What is to be exported, and what does not go together."""

import os
from dataclasses import dataclass, field

from ..exported.program_file import describe_code
from ..utils.compat import has_cpp_compiler
from ..utils.errors import UserError

SUFFIXES = {
    "onnx": ".onnx",
    "torch": ".pt2",
    "aotinductor": ".pt2",
    "safetensors": ".safetensors",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be exported, and how."""

    config_file: str
    weights: str
    format: str  # of SUFFIXES
    output: str
    nms: bool = True
    dtype: str = "uint8"  # of the images that the file takes
    dataset: str = ""  # to prove it on; the config's first one to validate on if empty
    licence: str = ""
    int8: bool = False
    calibration_images: str = ""
    max_loss: float = 1.0  # of int8's AP
    anyway: bool = False  # whether an int8 file that is worse is written
    opts: list[str] = field(default_factory=list)


def check(request: Request) -> None:
    """
    Raises:
        UserError: options do not go together, the output cannot be written under this name, or a
            compiler is missing.
    """
    suffix = SUFFIXES[request.format]
    if not request.output.endswith(suffix):
        raise UserError(
            f"--output is {request.output}, a file of --format {request.format} ends in {suffix}"
        )
    if os.path.isdir(request.output):
        raise UserError(f"--output {request.output} is a folder: name the {suffix} to write in it")
    if not os.path.isfile(request.weights):
        raise UserError(f"--weights {request.weights} is no file")
    if request.format != "onnx" and (request.int8 or not request.nms):
        option = "--int8" if request.int8 else "--nms none"
        raise UserError(f"{option} has no say beside --format {request.format}, give --format onnx")
    if request.int8 and not request.nms:
        raise UserError("--int8 has no say beside --nms none")
    if request.format == "safetensors" and request.dtype != "uint8":
        raise UserError("--input has no say beside --format safetensors")
    if request.format == "aotinductor":
        describe_code(request.dtype)  # a torch that is too old
        if not has_cpp_compiler():
            raise UserError(
                "--format aotinductor needs a C++ compiler (on Debian: apt install g++): install "
                "one, or export with --format torch"
            )
    if request.calibration_images and not request.int8:
        raise UserError("--calibration-images has no say without --int8")
