"""How long everything takes, from ten timed steps of each network."""

import os
import tempfile
from collections.abc import Sequence

from ..evaluation.metrics_file import read_metrics
from .detectors import METHODS
from .runner import run, sad_command

STEPS = 10
BESIDES = 1.25  # evaluations, labelling, start-up
ONLY_STEPS = [
    *("SOLVER.MAX_ITER", STEPS, "SOLVER.CHECKPOINT_PERIOD", 10**6, "DATASETS.TEST", "()"),
    *("DATASETS.VAL", "()", "TEST.EVAL_PERIOD", 0),
]


def seconds_per_iteration(
    configs: dict[str, str], opts: dict[str, list], num_gpus: int
) -> dict[str, float]:
    """{"teacher", "student", "SAD" or "TAR": seconds of one iteration here, at this moment}.

    The student's teacher is the one of ten iterations, and its unlabelled images are left out: what
    an iteration costs depends on neither. Its answers are not kept, as nobody else has this one.

    Args:
        configs: see `Experiment`; without a teacher where one is there already.
        opts: see `Experiment`.
        num_gpus: that train, and that the batch is divided among.
    """
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in (name for name in ("teacher", "student", *METHODS) if name in configs):
            output = os.path.join(folder, name)
            own = [*opts.get(name, ()), *ONLY_STEPS, "OUTPUT_DIR", output]
            if name in METHODS:
                own += ["DATASETS.UNLABELED", "()", "SAD.TEACHER.CACHE.DIR", ""]
                if "teacher" in found:
                    weights = os.path.join(folder, "teacher", "model_final.pth")
                    own += ["SAD.TEACHER.WEIGHTS", weights]
            command = sad_command(
                *("train", "--config-file", configs[name], "--num-gpus", num_gpus, *own)
            )
            run(command, os.path.join(folder, f"{name}.txt"))
            found[name] = read_metrics(os.path.join(output, "metrics.json"))[-1]["time"]
    return found


def total_seconds(
    seconds: dict[str, float],
    iterations: dict[str, int],
    baselines: Sequence[str],
    asked: float = 1.0,
) -> float:
    """Of everything, evaluation included.

    Args:
        seconds: see `seconds_per_iteration`.
        iterations: {"teacher", "student", "SAD" or "TAR": how many}.
        baselines: of "student" and "student_long", which takes as long as the distillation, those
            that are run.
        asked: the share of the distillation's images for which the teacher is asked.
    """
    each = {name: seconds[name] * iterations[name] for name in seconds}
    method = next(name for name in METHODS if name in each)
    of_teacher = max(0.0, seconds[method] - seconds["student"]) * iterations[method]
    each[method] -= (1 - asked) * of_teacher
    each["student_long"] = each[method]
    for name in {"student", "student_long"} - set(baselines):
        del each[name]
    return BESIDES * sum(each.values())
