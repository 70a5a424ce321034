"""Where everything lies below the folder that the user names, and what is kept there of before."""

import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from ..utils.errors import UserError
from ..utils.files import LOCK, lock_folder, make_folder

logger = logging.getLogger(__name__)

MARKS = (LOCK, "plan.json", "state.json")  # of a folder that this command has written to
PLACES = ("configs", "data", "logs", "old", "runs", "weights", "log.txt", "report.html")


@dataclass(frozen=True)
class Paths:
    folder: str

    def of(self, *names: str) -> str:
        return os.path.join(self.folder, *names)

    def config(self, name: str) -> str:
        return self.of("configs", f"{name}.yaml")

    def data(self, name: str) -> str:
        return self.of("data", name)

    def run(self, name: str) -> str:
        return self.of("runs", name)

    def weights(self, name: str) -> str:
        return self.of("runs", name, "model_final.pth")

    def check(self) -> None:
        """Before any image is looked at; nothing is written.

        Raises:
            UserError: the folder cannot be made, or holds files of something else in the places of
                ours.
        """
        if not any(os.path.exists(self.of(name)) for name in MARKS):
            for name in filter(lambda name: os.path.exists(self.of(name)), PLACES):
                raise UserError(
                    f"--output {self.folder} holds {name} of something else: name another folder"
                )
        above = self.folder
        while not os.path.lexists(above):
            above = os.path.dirname(above)
        if not (os.path.isdir(above) and os.access(above, os.W_OK)):
            raise UserError(
                f"--output {self.folder} cannot be written to, because of {above}: name another "
                "folder"
            )

    def take(self) -> None:
        """Make the folder, and keep it to this process.

        Raises:
            UserError: it cannot be written to, or another process has it.
        """
        self.check()
        make_folder(self.folder, "--output")
        lock_folder(self.folder, "--output")

    @cached_property
    def old(self) -> str:
        """old/1, old/2 and so on: where this call moves what it does again."""
        return next(x for n in count(1) if not os.path.exists(x := self.of("old", f"{n}")))

    def keep(self, paths: Iterable[str]) -> None:
        """Move files and folders, as far as they are there, to the same place below `old`."""
        for path in filter(os.path.exists, paths):
            if not os.path.exists(self.old):
                logger.warning(f"What is done again lies in {self.old} as it was")
            target = os.path.join(self.old, os.path.relpath(path, self.folder))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(path, target)


def read_own(path: str, is_ours: Callable[[dict], bool]) -> dict:
    """What this command has written to a json, {} where there is none yet.

    Raises:
        UserError: somebody else has written to it.
    """
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        if isinstance(found, dict) and is_ours(found):
            return found
    except ValueError:
        pass
    raise UserError(f"{path} is none that this command has written: give another --output")
