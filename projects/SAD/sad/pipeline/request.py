"""What the user of the one command asks for."""

import os
from dataclasses import asdict, dataclass, fields

from ..utils.errors import UserError

# What may change from call to call: it decides on no file that is kept.
OF_THE_CALL = ("output", "num_gpus", "baseline", "redo")


# The least value of a flag.
LEAST = {"num_gpus": 1, "iterations": 1, "seed": 0, "rounds": 0, "size": 32}


@dataclass(frozen=True)
class Request:
    """The arguments of `sad.distill`, which explains them."""

    output: str
    labeled: str | None = None
    images: str | None = None
    unlabeled: str | None = None
    val: str | None = None
    test: str | None = None
    data: str | None = None
    layout: str | None = None
    fixed_camera: bool = False
    teacher: str | None = None
    teacher_weights: str | None = None
    student: str = "tiny"
    detector: str | None = None
    configs: str | None = None
    iterations: int | None = None
    minutes: float | None = None
    flips: bool | None = None
    size: int | None = None
    rounds: int | None = None
    baseline: bool = True
    num_gpus: int = 1
    seed: int = 0
    redo: bool = False

    @property
    def baselines(self) -> tuple[str, ...]:
        """The students that are trained alone; of given configs one."""
        if not self.baseline:
            return ()
        return ("student",) if self.configs else ("student", "student_long")

    def settings(self) -> dict:
        """{flag: value} of what the result depends on; of files and folders their contents do."""
        paths = ("labeled", "images", "val", "test", "data", "unlabeled", "teacher_weights")
        return {
            _flag(key): value
            for key, value in asdict(self).items()
            if key not in (*OF_THE_CALL, *paths) and value is not None
        }

    def check(self) -> None:
        """
        Raises:
            UserError: flags contradict each other, or a value cannot be.
        """
        given = {x.name for x in fields(self) if getattr(self, x.name) != x.default}
        if not self.output:
            raise UserError("--output is empty: name a folder to write to")
        if os.path.exists(self.output) and not os.path.isdir(self.output):
            raise UserError(f"--output {self.output} is a file: name a folder")
        _refuse_beside(given, "data", ("labeled", "images", "val", "test", "configs"))
        _refuse_beside(given, "minutes", ("iterations", "configs"))
        of_data = (
            "labeled",
            "images",
            "val",
            "test",
            "layout",
            "fixed_camera",
            "flips",
            "size",
            "iterations",
        )
        of_networks = ("teacher", "teacher_weights", "student", "detector", "rounds")
        _refuse_beside(given, "teacher_weights", ("rounds", "size"))
        _refuse_beside(given, "configs", (*of_data, *of_networks))
        for key in ("data", "images", "unlabeled", "labeled", "val", "test"):
            folder = getattr(self, key)
            if folder and os.path.isdir(folder):
                self.check_apart(folder, f"{_flag(key)} {folder}")
        if not given & {"data", "labeled", "configs"}:
            raise UserError(
                "there is nothing to learn from: give --labeled LABELS, or --data FOLDER where one "
                "folder holds all"
            )
        if self.teacher_weights and not (self.teacher or "").endswith((".yaml", ".yml")):
            raise UserError(
                "--teacher-weights goes with --teacher CONFIG, the yaml that they were trained with"
            )
        for key, least in LEAST.items():
            value = getattr(self, key)
            if value is not None and value < least:
                raise UserError(f"{_flag(key)} is {value}, it must be at least {least}")
        if self.minutes is not None and not 0 < self.minutes < 1e6:
            raise UserError(f"--minutes is {self.minutes}, it must be above 0")

    def check_apart(self, folder: str, name: str) -> None:
        """What is written shall not be read as labels and images by the next call.

        Args:
            folder: that is looked through.
            name: what it is called.
        Raises:
            UserError: the output lies in it.
        """
        output, folder = (os.path.realpath(path) for path in (self.output, folder))
        if os.path.commonpath([output, folder]) == folder:
            raise UserError(
                f"--output {self.output} lies in {name}, where its files would be taken for "
                "yours: name a folder elsewhere"
            )


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _refuse_beside(given: set[str], key: str, others: tuple[str, ...]) -> None:
    if key in given and (beside := [other for other in others if other in given]):
        raise UserError(f"{_flag(key)} has no say beside {_flag(beside[0])}: leave one of them out")
