"""A batch on its way from the process that reads it to the one that computes with it.

torch sends every tensor by a file descriptor of its own, and opening one takes the receiver a
fraction of a millisecond: an image, its boxes and classes are three. Here all go in one piece.
"""

import pickle
from io import BytesIO

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 64  # bytes, of the start of each tensor


class OnePiece(list):
    """A list of samples, whose tensors and arrays are sent as views of one tensor.

    As `collate_fn` of a torch DataLoader. Without workers it is a list.
    """

    def __reduce__(self):
        text = BytesIO()
        packer = _Packer(text, protocol=pickle.HIGHEST_PROTOCOL)
        packer.dump(list(self))
        piece = np.empty(max(1, packer.end), np.uint8)  # a view of nothing may have no other dtype
        for start, part in packer.parts:
            piece[start : start + len(part)] = part
        return _unpacked, (text.getvalue(), torch.from_numpy(piece))


class _Packer(pickle.Pickler):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.parts = []  # of each tensor its place in bytes, and the bytes
        self.end = 0

    def persistent_id(self, value):
        """What stands for a plain tensor or array; None for anything else."""
        if type(value) is np.ndarray and value.dtype.kind in "biuf":
            part = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        elif type(value) is Tensor and _is_plain(value):
            part = value.contiguous().reshape(-1).view(torch.uint8).numpy()
        else:
            return None
        start = -(-self.end // ALIGNMENT) * ALIGNMENT
        self.parts.append((start, part))
        self.end = start + len(part)
        return start, self.end, value.dtype, tuple(value.shape)


def _is_plain(tensor: Tensor) -> bool:
    of_numbers = tensor.layout is torch.strided and not tensor.is_quantized
    return of_numbers and tensor.device.type == "cpu" and not tensor.is_conj()


class _Unpacker(pickle.Unpickler):
    def __init__(self, file, piece: Tensor):
        super().__init__(file)
        self.piece = piece

    def persistent_load(self, key):
        start, end, dtype, shape = key
        part = self.piece[start:end]
        if isinstance(dtype, torch.dtype):
            return part.view(dtype).view(shape)
        return part.numpy().view(dtype).reshape(shape)


def _unpacked(text: bytes, piece: Tensor) -> list:
    return _Unpacker(BytesIO(text), piece).load()
