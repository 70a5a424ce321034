"""With distillation off, training is Detectron2's: the losses of a plain loop, step for step."""

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler, build_optimizer
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventStorage

from sad.data.loader import build_mixed_loader
from sad.engine.trainer import SADTrainer

# Warm-up (3 iterations in the toy problem's yaml) and both drops of the learning rate lie within.
SCHEDULE = ("SOLVER.MAX_ITER", 8, "SOLVER.CLIP_FULL_MODEL_NORM", 0.0, "DATASETS.TEST", ())
PLAIN = ("SOLVER.LR_DROPS", (), "SOLVER.STEPS", (6, 7))  # 70 % and 90 % of 8, rounded
NO_DISTILLATION = ("SAD.DISTILL.TERMS", "()")

CASES = {
    "RetinaNet": ("student.yaml", ()),
    "Distiller": ("SAD.yaml", (*NO_DISTILLATION, "DATASETS.UNLABELED", ())),
    "with the teacher's boxes": ("SAD.yaml", NO_DISTILLATION),
    "frozen batch norm": ("student.yaml", ("MODEL.RESNETS.NORM", "FrozenBN")),
    "clipped gradients": ("SAD.yaml", (*NO_DISTILLATION, "SOLVER.CLIP_GRADIENTS.ENABLED", True)),
}
# torch's own order of memory, in which Detectron2 trains; the other one rounds differently.
SAME_ORDER = ("MODEL.CHANNELS_LAST", False)


def plain_loop(cfg) -> tuple[list[dict[str, float]], dict]:
    """Training as in Detectron2's tools/plain_train_net.py: (losses of each step, weights)."""
    seed_all_rng(5)
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    history = []
    with EventStorage() as storage:
        for batch, _ in zip(build_mixed_loader(cfg), range(cfg.SOLVER.MAX_ITER), strict=False):
            losses = model([{key: item[key] for key in ("image", "instances")} for item in batch])
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            scheduler.step()
            storage.step()
            history.append({name: loss.item() for name, loss in losses.items()})
    return history, model.state_dict()


class Losses(HookBase):
    """The losses of every step of a trainer."""

    def __init__(self):
        self.history = []

    def after_step(self):
        latest = self.trainer.storage.latest()
        names = ("loss_cls", "loss_box_reg")
        assert all(latest[name][1] == self.trainer.iter for name in names)
        self.history.append({name: latest[name][0] for name in names})


@pytest.mark.parametrize(("name", "opts"), CASES.values(), ids=CASES)
def test_same_losses_as_stock_detectron2(toy, tmp_path, name, opts):
    cfg = toy.cfg(name, *SCHEDULE, *opts, *SAME_ORDER, "OUTPUT_DIR", str(tmp_path))
    seed_all_rng(5)
    trainer, losses = SADTrainer(cfg), Losses()
    trainer.register_hooks([losses])
    trainer.train()

    stock = toy.cfg(
        *(name, *SCHEDULE, *opts, *PLAIN),
        *("MODEL.META_ARCHITECTURE", "RetinaNet"),
        checked=False,  # a stock RetinaNet knows of no unlabelled images, the loader does
    )
    expected, weights = plain_loop(stock)
    assert len(losses.history) == len(expected) == 8
    for step, (ours, theirs) in enumerate(zip(losses.history, expected, strict=True)):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6), step
    # The steps and batches differ by far more than the two trainings may.
    values = [losses["loss_cls"] for losses in expected]
    assert max(values) - min(values) > 0.01
    for key, value in trainer.model.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_other_order_of_memory(toy, tmp_path):
    """MODEL.CHANNELS_LAST changes the rounding alone."""
    found = []
    for channels_last in (True, False):
        cfg = toy.cfg("SAD.yaml", *SCHEDULE, "MODEL.CHANNELS_LAST", channels_last,
                      "OUTPUT_DIR", str(tmp_path / str(channels_last)))  # fmt: skip
        seed_all_rng(5)
        trainer, losses = SADTrainer(cfg), Losses()
        trainer.register_hooks([losses])
        kernel = trainer.model.student.backbone.bottom_up.stem.conv1.weight
        assert kernel.is_contiguous(memory_format=torch.channels_last) == channels_last
        trainer.train()
        found.append(losses.history)
    assert found[0] != found[1]
    for step, (ours, theirs) in enumerate(zip(*found, strict=True)):
        assert ours == pytest.approx(theirs, rel=1e-3), step
