"""Steps that are done once: each knows what it is made from, and sees where that changed."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..config.load import get_sad_cfg
from ..utils.errors import UserError
from ..utils.files import sha256, write_json
from .paths import Paths, read_own


@dataclass
class Step:
    """
    Attributes:
        name: of its folder below runs/, and in the record.
        made_from: what its result depends on: {what it is: file, or a value}.
        result: files that are there when it is done.
        work: does it, and goes on with what it left when it was stopped.
    """

    name: str
    title: str
    made_from: dict[str, str]
    result: list[str]
    work: Callable[[], None]
    folder: str = ""  # that holds all that it leaves
    after: Callable[[], str] = field(default=lambda: "")  # ", AP 41.5"
    # Folders of what it has computed once, by which it would be cheaper the next time.
    besides: list[str] = field(default_factory=list)

    def digests(self) -> dict[str, str]:
        return {what: _digest(value) for what, value in self.made_from.items()}


def _digest(value: str) -> str:
    """Of a file its content, of a yaml what it says; else the value itself."""
    if not os.path.isfile(value):
        return value
    if value.endswith(".yaml"):
        return hashlib.sha256(get_sad_cfg(value).dump().encode()).hexdigest()
    return sha256(value)


def _is_record(found: dict) -> bool:
    return all(isinstance(x, dict) and x.keys() == {"made_from", "done"} for x in found.values())


class Record:
    """state.json of the folder: {step: what it was made from, and whether it was done}."""

    def __init__(self, folder: str):
        self.path = os.path.join(folder, "state.json")
        self.steps = read_own(self.path, _is_record)

    def begun(self, step: Step) -> bool:
        return step.name in self.steps

    def changed(self, step: Step) -> list[str]:
        """What a step that was begun was made from, and is no longer."""
        before = self._made_from(step)
        return [x for x, digest in step.digests().items() if x in before and before[x] != digest]

    def is_done(self, step: Step) -> bool:
        """Not where it counts something new by now, such as a baseline in the report."""
        if not (self.begun(step) and self.steps[step.name]["done"]):
            return False
        counted = step.made_from.keys() <= self._made_from(step).keys()
        return counted and not self.changed(step) and all(map(os.path.exists, step.result))

    def begin(self, step: Step) -> None:
        self._write(step, {"made_from": step.digests(), "done": False})

    def finish(self, step: Step) -> None:
        self._write(step, self.steps[step.name] | {"done": True})

    def forget(self, step: Step) -> None:
        self._write(step, None)

    def _made_from(self, step: Step) -> dict[str, str]:
        return self.steps[step.name]["made_from"] if self.begun(step) else {}

    def _write(self, step: Step, found: dict | None) -> None:
        steps = {name: x for name, x in self.steps.items() if name != step.name}
        self.steps = steps | ({step.name: found} if found else {})
        write_json(self.path, self.steps, indent=1)


def check_unchanged(steps: list[Step], record: Record) -> None:
    """
    Raises:
        UserError: naming what changed since a step was begun, and what is therefore to be done
            again.
    """
    stale = stale_steps(steps, record)
    if stale:
        what = dict.fromkeys(x for step in steps for x in record.changed(step))
        raise UserError(
            f"{', '.join(what)} changed since; to be done again: "
            f"{', '.join(step.name for step in stale)}. Give --redo for that (what is there is "
            "kept aside), undo the change, or give another --output"
        )


def stale_steps(steps: list[Step], record: Record) -> list[Step]:
    """The steps that were begun from something else, and those that are made from their results."""
    stale, files = [], set()
    for step in steps:
        if record.changed(step) or files & set(step.made_from.values()):
            files.update(step.result)
            if record.begun(step):
                stale.append(step)
    return stale


def set_aside(steps: list[Step], record: Record, paths: Paths) -> None:
    """Move the results of steps to old/1, old/2 and so on, and forget them."""
    for step in steps:
        paths.keep([step.folder, *step.result])
        for folder in step.besides:
            shutil.rmtree(folder, ignore_errors=True)
        record.forget(step)


def run_steps(steps: list[Step], record: Record, say: Callable[[str], None]) -> None:
    """Do what is not done yet, in order.

    Args:
        say: is told one line for each step.
    """
    for number, step in enumerate(steps, start=1):
        heading = f"[{number}/{len(steps)}] {step.title}"
        if record.is_done(step):
            say(f"{heading}: done earlier{step.after()}")
            continue
        print(heading, flush=True)
        started = time.monotonic()
        record.begin(step)
        step.work()
        record.finish(step)
        minutes, seconds = divmod(round(time.monotonic() - started), 60)
        say(f"{heading}: {minutes} min {seconds:02d} s{step.after()}")
