"""Checkpoints: plain RetinaNet files, written whole, read by `weights_file`."""

import os
from urllib.parse import parse_qs

import torch
from detectron2.checkpoint import DetectionCheckpointer

from .errors import UserError
from .files import atomic_write
from .weights_file import read_weights


class SADCheckpointer(DetectionCheckpointer):
    """DetectionCheckpointer that writes atomically and runs no code of what it loads.

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
        except OSError as error:
            raise UserError(f"weights {path} cannot be read: {error}") from error

    def _load_file(self, filename):
        loaded = read_weights(filename)
        query = self._parsed_url_during_load.query
        if parse_qs(query) == {"matching_heuristics": ["True"]}:
            loaded["matching_heuristics"] = True
        elif query:
            raise UserError(f"weights {filename} take ?matching_heuristics=True alone, no {query}")
        return loaded

    def _log_incompatible_keys(self, incompatible) -> None:
        misshapen = {key for key, *_ in incompatible.incorrect_shapes}  # counted as missing too
        missing = [key for key in incompatible.missing_keys if key not in misshapen]
        problems = [
            f"{len(keys)} {what} ({', '.join(str(key) for key in keys[:3])}"
            f"{', ...' if len(keys) > 3 else ''})"
            for what, keys in (
                ("missing", missing),
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
