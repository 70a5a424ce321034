"""Precise batch-norm statistics are the student's, and cost no teacher."""

import copy

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.utils.events import EventStorage
from fvcore.nn import get_bn_modules, update_bn_stats

from sad.engine.precise_bn import PreciseBN
from sad.engine.trainer import SADTrainer
from sad.modeling import distiller

PRECISE = ("TEST.PRECISE_BN.ENABLED", True, "TEST.PRECISE_BN.NUM_ITER", 3, "SOLVER.MAX_ITER", 2)


class Before(HookBase):
    """What the last iteration's statistics begin with."""

    def after_step(self):
        self.model = copy.deepcopy(self.trainer._trainer.student)
        self.normalizer = self.model.loss_normalizer


@pytest.fixture
def trainer(toy, tmp_path):
    torch.manual_seed(0)
    options = (*PRECISE, "DATALOADER.NUM_WORKERS", 0, "SEED", 1, "OUTPUT_DIR", str(tmp_path))
    trainer = SADTrainer(toy.cfg("SAD.yaml", "DATASETS.TEST", (), *options))
    trainer.resume_or_load(resume=False)
    return trainer


def test_statistics_of_the_same_batches_without_a_teacher(trainer, monkeypatch):
    (hook,) = (hook for hook in trainer._hooks if isinstance(hook, PreciseBN))
    batches = [next(iter_) for iter_ in [hook._data_loader] for _ in range(3)]
    hook._data_loader = batches
    before = Before()
    trainer._hooks.insert(trainer._hooks.index(hook), before)
    before.trainer = trainer
    calls = []
    ask_teacher = distiller.ask_teacher
    monkeypatch.setattr(
        distiller, "ask_teacher", lambda *a, **b: calls.append(1) or ask_teacher(*a, **b)
    )
    trainer.train()
    assert len(calls) == 2  # one for each iteration, none for the statistics
    assert trainer._trainer.student.loss_normalizer == before.normalizer
    with EventStorage():
        update_bn_stats(before.model.train(), batches, 3)
    modules = get_bn_modules(trainer._trainer.student), get_bn_modules(before.model)
    assert len(modules[0]) > 3
    for one, other in zip(*modules, strict=True):
        assert torch.equal(one.running_mean, other.running_mean)
        assert torch.equal(one.running_var, other.running_var)


def test_a_normaliser_that_was_not_there_is_not_left(trainer):
    (hook,) = (hook for hook in trainer._hooks if isinstance(hook, PreciseBN))
    assert "loss_normalizer" not in vars(trainer._trainer.student)
    hook.update_stats()
    assert "loss_normalizer" not in vars(trainer._trainer.student)
