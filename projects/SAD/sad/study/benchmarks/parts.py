"""The parts of a training iteration, on the images and weights of a run that is finished.

Everything happens in one process, without workers, so that the parts add up. "Reading images" is
the mapper: decoding, resizing, and finding the teacher's answers where they are kept. "Losses" are
all of them, the distillation's too. "All else" is the logging and what Python does in between. An
evaluation, of DATASETS.VAL or else TEST, is spread over TEST.EVAL_PERIOD iterations, or over all of
the training where that is 0.
"""

import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from unittest.mock import patch

import torch
from detectron2.utils.events import EventStorage

from ...config.load import get_sad_cfg
from ...data.datasets import register_from_config
from ...engine.trainer import SADTrainer
from ...modeling import distiller
from .export import FILES, check
from .timing import Options, Table

ITERATIONS = 5  # for each round


class Watch:
    """Seconds of functions in the iteration that runs; of one in another, the inner's own alone."""

    def __init__(self):
        self.seconds = defaultdict(float)
        self.inner = [0.0]

    def timed(self, part: str, function: Callable) -> Callable:
        def run(*args, **kwargs):
            start = time.perf_counter()
            self.inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - start
                self.seconds[part] += took - self.inner.pop()
                self.inner[-1] += took

        return run


def run(options: Options) -> Table:
    """
    Raises:
        UserError: a run is not finished, or its images are not there.
    """
    check(options.runs)
    rows = {}
    for name, folder in options.runs:
        found = of_run(folder, options.rounds * ITERATIONS)
        rows |= {f"{name}: {part}": row for part, row in found.items()}
    return Table("Parts of an iteration", rows, [__doc__.split("\n\n")[1]], options.rounds)


def of_run(folder: str, iterations: int) -> dict[str, dict]:
    """{part: milliseconds of an iteration, the median, and its share of their sum}"""
    config, weights = (os.path.join(folder, x) for x in FILES)
    with tempfile.TemporaryDirectory() as output:
        own = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", weights, "OUTPUT_DIR", output]
        own += ["DATALOADER.NUM_WORKERS", 0, "SOLVER.BASE_LR", 1e-6]
        cfg = get_sad_cfg(config, own)
        cfg.DATASETS.TEST = cfg.DATASETS.VAL or cfg.DATASETS.TEST
        register_from_config(cfg)
        trainer = SADTrainer(cfg)
        trainer.checkpointer.load(weights)
        of_iterations = list(_iterations(trainer, iterations))
        start = time.perf_counter()
        trainer.test(cfg, trainer.model)
        evaluation = (time.perf_counter() - start) / (cfg.TEST.EVAL_PERIOD or trainer.max_iter)
    parts = of_iterations[0].keys()
    seconds = {x: statistics.median(found[x] for found in of_iterations) for x in parts}
    seconds["evaluation"] = evaluation
    total = sum(seconds.values())
    return {part: {"ms": 1000 * x, "share": x / total} for part, x in seconds.items()}


def _iterations(trainer: SADTrainer, count: int) -> Iterator[dict[str, float]]:
    """Seconds of each part, of all iterations but the first, which warms up."""
    step, watch = trainer._trainer, Watch()
    model, of_distiller = step.model, hasattr(step.model, "adapter")
    parts = [
        ("zeroing, clipping, optimizer", step.optimizer, "zero_grad"),
        ("zeroing, clipping, optimizer", torch.nn.utils, "clip_grad_norm_"),
        ("zeroing, clipping, optimizer", step.optimizer, "step"),
        ("backward", torch.Tensor, "backward"),
    ]
    if of_distiller:
        parts += [
            ("matching anchors", model.adapter, "targets"),
            ("teacher", distiller, "ask_teacher"),
            ("teacher", distiller, "teacher_answer"),
            ("student's forward", model.adapter, "student_outputs"),
            ("losses", model, "losses"),
        ]
    else:
        parts.append(("forward and losses", model, "forward"))
    read = watch.timed("reading images", step._data_loader_iter.__next__)
    step._data_loader_iter_obj = iter(read, None)
    with EventStorage() as storage, ExitStack() as patches:
        step.storage = storage
        for part, owner, name in parts:
            function = watch.timed(part, getattr(owner, name))
            patches.enter_context(patch.object(owner, name, function))
        for number in range(count + 1):
            watch.seconds = defaultdict(float, dict.fromkeys([part for part, *_ in parts], 0.0))
            watch.timed("all else", step.run_step)()
            storage.step()
            if number:
                yield dict(watch.seconds)
