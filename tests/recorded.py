"""Runs of the toy problem in this process, and what is seen in each of their iterations."""

import torch
from detectron2.engine import HookBase

from sad.engine.trainer import SADTrainer


class Recorder(HookBase):
    """The learning rate and the samples of every iteration, and the gradients of the last."""

    def __init__(self):
        self.learning_rates, self.iterations, self.samples = [], [], []

    def before_train(self):
        student = self.trainer._trainer.student
        self.preprocess = student.preprocess_image
        student.preprocess_image = self.record

    def record(self, batch):
        if self.trainer.model.training:
            self.samples.append(
                [(s["image_id"], s["origin"], s["image"].float().mean().item()) for s in batch]
            )
        return self.preprocess(batch)

    def before_step(self):
        self.iterations.append(self.trainer.iter)
        self.learning_rates.append({group["lr"] for group in self.trainer.optimizer.param_groups})

    def after_step(self):
        self.gradients = [p.grad.clone() for p in self.trainer.model.parameters()]


def make_trainer(cfg, *hooks, resume=False):
    trainer = SADTrainer(cfg)
    trainer.register_hooks(hooks)
    trainer.resume_or_load(resume)
    return trainer


def train(toy, output, name, *opts, resume=False, hooks=()):
    """Run to the end: (trainer, its Recorder)."""
    torch.manual_seed(0)  # the command line seeds through default_setup
    recorder = Recorder()
    cfg = toy.cfg(name, "OUTPUT_DIR", str(output), *opts)
    output.mkdir(exist_ok=True)
    trainer = make_trainer(cfg, recorder, *hooks, resume=resume)
    trainer.train()
    return trainer, recorder


def history(trainer, key) -> list[float]:
    return [value for value, _ in trainer.storage.history(key).values()]
