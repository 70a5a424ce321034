"""Checkpoints: plain files of the detector alone, written whole, read by `safe_load`."""

import os
from pathlib import Path
from urllib.parse import parse_qs

import torch
from detectron2.checkpoint import DetectionCheckpointer

from ..utils.errors import UserError
from ..utils.files import atomic_write
from .safe_load import UnreadableError, read_weights

# Where a file has none, as Caffe2's, a frozen batch norm counts its own as found.
BATCH_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


class SADCheckpointer(DetectionCheckpointer):
    """DetectionCheckpointer that writes atomically and runs no code of what it loads.

    With `strict=True` any missing, unexpected or misshapen key is a UserError; fine-tuning from
    ImageNet weights needs the default, which logs them, and wants half of the backbone's tensors.
    """

    def __init__(self, model, save_dir="", *, strict=False, keep=0, class_names=None, **kwargs):
        """
        Args:
            keep: see SOLVER.CHECKPOINTS_TO_KEEP.
            class_names: of the classes in the order of the logits; they are written beside "model".
        """
        super().__init__(model, save_dir, **kwargs)
        self.strict = strict
        self.keep = keep
        self.class_names = class_names
        self.loaded = ""  # the file that was loaded last

    def save(self, name: str, **extra) -> None:
        """Write <name>.pth; every rank calls it, one of them writes.

        Raises:
            UserError: the disk is full, or the folder cannot be written; older checkpoints stay.
        """
        if not self.save_dir:
            return
        states = {key: item.state_dict() for key, item in self.checkpointables.items()}
        if self.class_names:
            states["class_names"] = list(self.class_names)
        if not self.save_to_disk:
            return
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info(f"Saving checkpoint to {path}")
        try:
            with atomic_write(path, "wb") as file:
                torch.save({"model": self.model.state_dict(), **states, **extra}, file)
            self.tag_last_checkpoint(f"{name}.pth")
            self._prune(f"{name}.pth")
        except (OSError, RuntimeError) as error:
            # After the disk's error torch's writer raises another one, at its end.
            disk = error if isinstance(error, OSError) else error.__context__
            if not isinstance(disk, OSError):
                raise
            raise UserError(
                f"checkpoint {path} cannot be written ({disk.strerror or disk}): the older ones "
                "are as they were; mend that and go on with --resume"
            ) from error

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        with atomic_write(os.path.join(self.save_dir, "last_checkpoint")) as file:
            file.write(last_filename_basename)

    def _numbered(self) -> list[Path]:
        """The checkpoints of iterations, the newest first."""
        return sorted(Path(self.save_dir).glob("model_[0-9]*.pth"), reverse=True)

    def to_go_on_from(self) -> list[Path]:
        """The last checkpoint, and those before it for the case that it is broken."""
        last = Path(self.get_checkpoint_file())
        return [last, *(path for path in self._numbered() if path.name < last.name)]

    def _prune(self, written: str) -> None:
        # Later ones are of a run that went on from here before: they do not count.
        numbered = [path for path in self._numbered() if path.name <= written]
        outdated = numbered[self.keep :] if self.keep else []
        for path in [*outdated, *Path(self.save_dir).glob(".model_*.pth.*")]:
            path.unlink()  # the second: what a killed run was writing

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict:
        """As Checkpointer's; where the last checkpoint is broken, from the one before it.

        Raises:
            UserError: none of the run's checkpoints can be read.
        """
        if not (resume and self.has_checkpoint()):
            return super().resume_or_load(path, resume=False)
        problems = []
        for path in self.to_go_on_from():
            try:
                return self.load(str(path))
            except UnreadableError as error:
                self.logger.warning(f"{error}; trying the checkpoint before it")
                problems.append(error)
        raise UserError(f"{problems[0]}, and no checkpoint before it can be read")

    def load(self, path: str, *args, **kwargs) -> dict:
        try:
            found = super().load(path, *args, **kwargs)
            self.loaded = path
            return found
        except (AssertionError, FileNotFoundError) as error:
            what = "are a folder, name a file in it" if os.path.isdir(path) else "do not exist"
            raise UnreadableError(f"weights {path} {what}") from error
        except OSError as error:
            raise UserError(f"weights {path} cannot be read: {error}") from error
        finally:
            self._parsed_url_during_load = None  # Detectron2 forgets it after a failure

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
        self._count_backbone({*incompatible.missing_keys, *misshapen})

    def _count_backbone(self, not_found: set[str]) -> None:
        """Refuse weights that leave most of the backbone as it was; else log how many there are."""
        names = [
            key
            for key in self.model.state_dict()
            if key.startswith("backbone.") and not key.endswith(BATCH_STATISTICS)
        ]
        names = [key for key in names if ".bottom_up." in key] or names  # without the FPN
        found = sum(key not in not_found for key in names)
        if 2 * found < len(names):
            raise UserError(
                f"they hold {found} of the {len(names)} tensors of the model's backbone (by name "
                "and shape): weights under other names, such as torchvision's, are converted with "
                "scripts/convert_weights.py; MODEL.WEIGHTS '' starts from random ones"
            )
        if names:
            self.logger.info(f"Found {found} of the {len(names)} tensors of the model's backbone")


class BestWeights(SADCheckpointer):
    """Writes weights that no run goes on from."""

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        pass
