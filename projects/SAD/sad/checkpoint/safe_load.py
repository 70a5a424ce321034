"""Reading weights that come from anywhere: no code in them runs, known files are what they say.

.safetensors can hold tensors alone. .pth and .pyth are read by torch, weights-only; torch before
2.10 has known holes there (CVE-2025-32434, CVE-2026-24747). .pkl, the format of Detectron's and
Detectron2's model zoos, goes through an unpickler that makes arrays and plain values alone.
"""

import hashlib
import json
import os
import pickle
import pickletools
import re
from collections import OrderedDict

import numpy as np
import safetensors
import torch
from safetensors.torch import save as to_safetensors

from ..utils.errors import UserError
from ..utils.files import atomic_write

# "any model on this page contains its md5 prefix in its file name", Detectron2's MODEL_ZOO.md.
ZOO_NAME = re.compile(r"model_final_(?P<md5>[0-9a-f]{6})\.pkl")
# torch.hub checks the same part of the same names.
TORCHVISION_NAME = re.compile(r"(wide_)?res(net|next)\d+\w*-(?P<sha256>[0-9a-f]{8})\.pth")
# Places in Detectron2's download cache -> md5. Of its ImageNet weights only this one's was found
# published (by openshift-psap/matrix-benchmarking, exec/mlperf/my_run_and_time.sh); neither R-101
# nor X-101-32x8d, X-101-64x4d and torchvision/R-50 are checked.
RECORDED_MD5 = {
    "detectron2/ImageNetPretrained/MSRA/R-50.pkl": "6652b4a9c782d82bb3d42118be74d79b",
}
FLAGS = ("matching_heuristics", "__author__")  # beside the weights; say how names are matched


class UnreadableError(UserError):
    """A file of weights that is missing or broken."""


def read_weights(path: str) -> dict:
    """Read a local file of any of the formats.

    Returns:
        "model": name -> tensor, on the CPU; beside it whatever else the file holds. Where there is
        "matching_heuristics", Detectron2 is to find the layers that the names mean; "class_names"
        are the names of the classes in the order of the logits.
    Raises:
        UserError: the file is not the one that its name promises.
        UnreadableError: it is absent, broken, or holds anything but tensors and plain values.
    """
    if not os.path.isfile(path):
        raise UnreadableError(f"weights {path} do not exist")
    if path.lower().endswith((".onnx", ".pt2")):
        raise UserError(
            f"{path} is an exported file, which sad predict and --eval-only take: here weights "
            "are wanted (.pth, .pkl or .safetensors)"
        )
    check_download(path)
    try:
        if path.endswith(".safetensors"):
            content = _read_safetensors(path)
        elif path.endswith(".pkl"):
            content = _from_detectron(_read_pickle(path))
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if path.endswith(".pyth"):
                content = _from_pycls(content)
        if "model" not in content:
            content = {"model": content}
        model = {key: _to_tensor(key, value) for key, value in content["model"].items()}
        if not _are_names(content.get("class_names", [])):
            raise TypeError("class_names are no list of texts")
        return {**content, "model": model}
    except Exception as error:  # a broken file can raise anything
        raise UnreadableError(
            f"weights {path} cannot be read: they are cut short, hold more than arrays, or are no "
            f"checkpoint ({type(error).__name__})"
        ) from error


def check_download(path: str) -> None:
    """Compare a file whose name or place promises a hash with that hash.

    Raises:
        UserError: it is another file.
    """
    name, promised = os.path.basename(path), {}
    for pattern in (ZOO_NAME, TORCHVISION_NAME):
        if match := pattern.fullmatch(name):
            promised = match.groupdict()
    for place, md5 in RECORDED_MD5.items():
        if os.path.abspath(path).endswith(f"/{place}"):
            promised = {"md5": md5}
    for algorithm, start in promised.items():
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if not found.startswith(start):
            raise UserError(
                f"weights {path} are not what was published under this name: their {algorithm} "
                f"begins with {found[: len(start)]} instead of {start}; remove the file and try "
                "again, or rename it if it is your own"
            )


def write_safetensors(weights: str, output: str) -> int:
    """Write the model of a weights file as .safetensors, bit for bit.

    Its flags and class names go along.

    Returns:
        number of tensors written.
    Raises:
        UserError: see `read_weights`; also when the output has another suffix.
    """
    if not output.endswith(".safetensors"):
        raise UserError(f"--output is {output}, it must end in .safetensors")
    content = read_weights(weights)
    metadata = {key: str(content[key]) for key in FLAGS if key in content}
    if "class_names" in content:
        metadata["class_names"] = json.dumps(content["class_names"])
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    with atomic_write(output, "wb") as file:
        file.write(safetensors_bytes(content["model"], {"format": "pt", **metadata}))
    return len(content["model"])


def safetensors_bytes(tensors: dict[str, torch.Tensor], texts: dict[str, str]) -> bytes:
    """A .safetensors file; the same tensors and texts are the same bytes.

    Args:
        texts: the file's metadata, which the library writes in another order each time.
    """
    # The format has neither views nor two names for one tensor.
    copies = (x.detach().clone(memory_format=torch.contiguous_format) for x in tensors.values())
    content = to_safetensors(dict(zip(tensors, copies, strict=True)), texts)
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(texts.items()))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[end:]


def _read_safetensors(path: str) -> dict:
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        content = {"model": {key: file.get_tensor(key) for key in file.keys()}}
    content |= {key: metadata[key] for key in FLAGS if key in metadata}
    if "matching_heuristics" in metadata:
        content["matching_heuristics"] = metadata["matching_heuristics"] == "True"
    if "class_names" in metadata:
        content["class_names"] = json.loads(metadata["class_names"])
    return content


def _from_detectron(content: dict) -> dict:
    """The two layouts that Detectron2 tells apart in a .pkl: its own, and Caffe2's."""
    if "model" in content and "__author__" in content:
        return dict(content)
    # Detection models have "blobs", ImageNet models are them. X-101-64x4d's hold a text as well.
    blobs = content.get("blobs", content)
    model = {
        key: value
        for key, value in blobs.items()
        if not key.endswith("_momentum") and key != "weight_order"
    }
    return {"model": model, "__author__": "Caffe2", "matching_heuristics": True}


def _from_pycls(content: dict) -> dict:
    model = {
        key: value
        for key, value in content["model_state"].items()
        if not key.endswith("num_batches_tracked")
    }
    return {"model": model, "__author__": "pycls", "matching_heuristics": True}


def _are_names(value) -> bool:
    return type(value) is list and all(type(name) is str for name in value)


def _to_tensor(key: str, value) -> torch.Tensor:
    if isinstance(value, _Array):
        value = value.array
    if isinstance(value, np.ndarray):  # a copy in this machine's byte order
        value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))
    if not (isinstance(key, str) and isinstance(value, torch.Tensor)):
        raise TypeError(f"{key} is no array")
    # Other tensors can claim any size, as they repeat their numbers or have none.
    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.nbytes > value.untyped_storage().nbytes():
        raise ValueError(f"{key} is larger than what the file holds of it")
    return value


def _read_pickle(path: str):
    with open(path, "rb") as file:
        _check_claims(file)
        file.seek(0)
        unpickler = ArrayUnpickler(file, os.path.getsize(path))
        try:
            return unpickler.load()
        finally:
            unpickler.memo.clear()  # holds the file's numbers and, through its methods, itself


def _check_claims(file) -> None:
    """Refuse the few bytes that make an unpickler take gigabytes before it sees that they lie.

    A length beyond the file's end, or a high number for a value to remember: there is a place for
    each one up to it.
    """
    for position, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > position + 1:
            raise pickle.UnpicklingError(f"remembers a value as number {argument}")


class ArrayUnpickler(pickle.Unpickler):
    """Makes arrays of numbers, and what a pickle can hold without any import; nothing else.

    What numpy would make arrays with is replaced, too. An array and its dtype take their state
    from the file, and with one that is forged numpy follows addresses that the file gives.
    """

    def __init__(self, file, size: int):
        """
        Args:
            size: of the file, bytes.
        """
        super().__init__(file, encoding="latin1")
        # Bytes that arrays may hold: once as text, as older pickles have it, and once as numbers.
        self.left = 2 * size

    def find_class(self, module, name):
        known = {
            "collections.OrderedDict": OrderedDict,
            "_codecs.encode": self._encode,
            "__builtin__.bytes": lambda: b"",
            "numpy.ndarray": None,
            "numpy.dtype": _NumberType,
            "numpy.core.multiarray._reconstruct": lambda *_: _Array(self._array),
            "numpy.core.multiarray.scalar": lambda dtype, data: self._array((), dtype, data),
            "numpy.core.numeric._frombuffer": self._frombuffer,
        }
        full_name = f"{module}.{name}".replace("numpy._core.", "numpy.core.")  # numpy 2's, 1's
        if full_name not in known:
            raise pickle.UnpicklingError(f"{full_name} is not allowed in weights")
        return known[full_name]

    def _encode(self, text, encoding):
        if encoding != "latin1":  # others make much of little
            raise pickle.UnpicklingError(f"text encoded as {encoding}")
        data = text.encode("latin1")
        self._take(data)
        return data

    def _frombuffer(self, data, dtype, shape, order, axes=None):
        if axes is None:
            return self._array(shape, dtype, data, order)
        return self._array(shape, dtype, data).transpose(axes)

    def _array(self, shape, dtype, data, order="C"):
        if isinstance(data, str):  # Python 2's bytes
            data = data.encode("latin1")
        self._take(data)
        return np.frombuffer(data, dtype.numpy).reshape(shape, order=order)

    def _take(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise pickle.UnpicklingError("arrays hold more than the file")


class _NumberType:
    """numpy's dtype of plain numbers."""

    def __init__(self, name, *_):
        if not re.fullmatch(r"[biufc]\d{1,2}", name):
            raise pickle.UnpicklingError(f"arrays of {name}")
        self.numpy = np.dtype(name)

    def __setstate__(self, state):
        _, byte_order, *_ = state
        if byte_order == ">":
            self.numpy = self.numpy.newbyteorder(">")


class _Array:
    """An array whose content comes as its state."""

    array = None

    def __init__(self, make):
        self.make = make

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        self.array = self.make(shape, dtype, data, "F" if fortran else "C")
