"""Checkpoints: plain RetinaNet files, written whole, read without running code."""

import os
import pickle

import torch
from detectron2.checkpoint import DetectionCheckpointer

from .errors import UserError
from .files import atomic_write


class SADCheckpointer(DetectionCheckpointer):
    """DetectionCheckpointer that writes atomically and loads .pth weights-only.

    With `strict=True` any missing, unexpected or misshapen key is a UserError; fine-tuning from
    ImageNet weights needs the default, which logs them.
    """

    def __init__(self, model, save_dir="", *, strict=False, **kwargs):
        super().__init__(model, save_dir, **kwargs)
        self.strict = strict

    def save(self, name: str, **extra) -> None:
        if not (self.save_dir and self.save_to_disk):
            return
        states = {key: item.state_dict() for key, item in self.checkpointables.items()}
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info(f"Saving checkpoint to {path}")
        with atomic_write(path, "wb") as file:
            torch.save({"model": self.model.state_dict(), **states, **extra}, file)
        self.tag_last_checkpoint(f"{name}.pth")

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        with atomic_write(os.path.join(self.save_dir, "last_checkpoint")) as file:
            file.write(last_filename_basename)

    def load(self, path: str, *args, **kwargs) -> dict:
        try:
            return super().load(path, *args, **kwargs)
        except (AssertionError, FileNotFoundError) as error:
            raise UserError(f"weights {path} do not exist") from error
        except (RuntimeError, EOFError, pickle.UnpicklingError, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"weights {path} cannot be read: {reason}") from error

    def _torch_load(self, filename):
        with self.path_manager.open(filename, "rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)

    def _log_incompatible_keys(self, incompatible) -> None:
        problems = [
            f"{len(keys)} {what} ({', '.join(str(key) for key in keys[:3])}"
            f"{', ...' if len(keys) > 3 else ''})"
            for what, keys in (
                ("missing", incompatible.missing_keys),
                ("unexpected", incompatible.unexpected_keys),
                (
                    "of another shape",
                    [
                        f"{key}: {list(theirs)} in the file, {list(ours)} in the model"
                        for key, theirs, ours in incompatible.incorrect_shapes
                    ],
                ),
            )
            if keys
        ]
        if self.strict and problems:
            raise UserError(f"the weights do not fit the model, keys: {'; '.join(problems)}")
        super()._log_incompatible_keys(incompatible)
