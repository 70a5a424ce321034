"""One training step, and what it must remember to be taken again."""

import logging
import math
import time
from contextlib import nullcontext

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch.nn.modules.batchnorm import _BatchNorm

from .errors import UserError
from .resume import rng_state, set_rng_state
from .sad_retinanet import SADRetinaNet
from .teacher import PRECISIONS

logger = logging.getLogger(__name__)


class SADStep(SimpleTrainer):
    """One training step: SimpleTrainer's, with gradient accumulation, autocast and clipping."""

    def __init__(self, model, data_loader, optimizer, cfg):
        super().__init__(model, data_loader, optimizer)
        self.accumulation_steps = cfg.SOLVER.ACCUMULATION_STEPS
        # "global" losses are shares of the whole step's already, "local" ones are each forward's.
        is_local = cfg.SOLVER.LOSS_NORMALIZERS == "local"
        self.loss_share = 1 / self.accumulation_steps if is_local else 1.0
        self.device_type = torch.device(cfg.MODEL.DEVICE).type
        self.precision = PRECISIONS[cfg.SOLVER.AMP.PRECISION]
        self.autocast = cfg.SOLVER.AMP.ENABLED and self.precision != torch.float32
        self.scaler = torch.amp.GradScaler(
            self.device_type, enabled=self.autocast and self.precision == torch.float16
        )
        self.clip_norm = cfg.SOLVER.CLIP_FULL_MODEL_NORM
        self.readable = ReadableShare(cfg.DATALOADER.MAX_UNREADABLE)

    def run_step(self):
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self.readable.check(batch)

        self.optimizer.zero_grad()
        losses = self._accumulate(batch)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.clip_norm if self.clip_norm > 0 else math.inf
        )
        losses = self._check_finite(losses, norm, batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._write_metrics(losses, data_time)
        if "loss_distill" in losses:
            detection = (losses["loss_cls"] + losses["loss_box_reg"]).item()
            if detection > 0:  # it is 0 in a batch without hard targets
                ratio = losses["loss_distill"].item() / detection
                get_event_storage().put_scalar("distill_to_detection", ratio)

    def _accumulate(self, batch: list[dict]) -> dict[str, torch.Tensor]:
        """Add up the gradients of equal micro-batches; returns the losses of the whole batch."""
        model = self.student
        size = len(batch) // self.accumulation_steps
        micro_batches = [batch[i : i + size] for i in range(0, len(batch), size)]
        prepares = isinstance(model, SADRetinaNet)
        inputs = model.prepare(micro_batches) if prepares else micro_batches
        total = {}
        for number, given in enumerate(inputs):
            # DistributedDataParallel averages over the workers once, with the last micro-batch.
            alone = number + 1 < len(micro_batches) and self.model is not model
            with self.model.no_sync() if alone else nullcontext():
                with torch.autocast(self.device_type, self.precision, enabled=self.autocast):
                    losses = self.model(given)
                losses = {name: self.loss_share * loss for name, loss in losses.items()}
                self.scaler.scale(sum(losses.values())).backward()
            for name, loss in losses.items():
                total[name] = total.get(name, 0) + loss.detach()
        return total

    def _check_finite(self, losses: dict, norm: torch.Tensor, batch: list[dict]) -> dict:
        """Stop before a loss or gradient that is no number reaches the weights.

        With float16 the scaler leaves out a step of infinite gradients, and tries a smaller scale.

        Returns:
            the losses on the CPU: a GPU is waited for here, once in a step.
        Raises:
            UserError: naming the term, the iteration, the images and the learning rate.
        """
        terms = losses if self.scaler.is_enabled() else {**losses, "the gradient's norm": norm}
        values = torch.stack(list(terms.values())).cpu()
        wrong = [(k, x.item()) for k, x in zip(terms, values, strict=True) if not x.isfinite()]
        if not wrong:
            return dict(zip(losses, values, strict=False))
        images = ", ".join(str(sample["image_id"]) for sample in batch)
        found = [(wrong[0], images)]
        if not (self.scaler.is_enabled() or math.isfinite(values[-1])):
            # The gradient is every worker's, the loss perhaps that of another one.
            found = comm.all_gather(found[0])
        (name, value), images = next((x for x in found if x[0][0] in losses), found[0])
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        raise UserError(
            f"{name} is {value} at iteration {self.iter}, learning rate {rate:g}, image ids "
            f"{images}: the checkpoints written before are good; try a lower SOLVER.BASE_LR, a "
            "longer SOLVER.WARMUP_ITERS, or SOLVER.CLIP_FULL_MODEL_NORM"
        )

    @property
    def student(self):
        return getattr(self.model, "module", self.model)  # inside DistributedDataParallel

    def _statistics(self) -> dict:
        """Batch norm's running ones, each worker's own; the checkpoint's model has the first's."""
        return {
            f"{name}.{key}": getattr(module, key).cpu()  # else each GPU gets a copy of all
            for name, module in self.student.named_modules()
            if isinstance(module, _BatchNorm)
            for key in ("running_mean", "running_var")
        }

    def state_dict(self):
        worker = {
            "rng": rng_state(),
            "statistics": self._statistics() if comm.get_world_size() > 1 else {},
            "readable": self.readable.state_dict(),
            # An attribute in Detectron2's dense detectors, so not in the model's state.
            "loss_normalizer": getattr(self.student, "loss_normalizer", None),
        }
        return {
            **super().state_dict(),
            "scaler": self.scaler.state_dict(),
            "loader_seed": self.data_loader.batch_sampler.seed,
            "workers": comm.all_gather(worker),
        }

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.scaler.load_state_dict(state["scaler"])
        self.data_loader.batch_sampler.seed = state["loader_seed"]
        rank, workers = comm.get_rank(), state["workers"]
        worker = workers[rank if rank < len(workers) else 0]  # there may be more than before
        self.student.load_state_dict(worker["statistics"], strict=False)
        self.readable.load_state_dict(worker["readable"])
        if worker["loss_normalizer"] is not None:
            self.student.loss_normalizer = worker["loss_normalizer"]
        set_rng_state(worker["rng"])


class ReadableShare:
    """Names images that could not be read, and stops the run when they become too many."""

    def __init__(self, max_share: float):
        self.max_share = max_share
        self.seen = self.unreadable = 0
        self.named = set()

    def state_dict(self) -> dict:
        return {"seen": self.seen, "unreadable": self.unreadable, "named": sorted(self.named)}

    def load_state_dict(self, state: dict) -> None:
        self.seen, self.unreadable = state["seen"], state["unreadable"]
        self.named = set(state["named"])

    def check(self, batch: list[dict]) -> None:
        """
        Raises:
            UserError: more than the allowed share of the images was unreadable.
        """
        for sample in batch:
            self.seen += 1
            self.unreadable += len(sample["unreadable"])
            for name in set(sample["unreadable"]) - self.named:
                self.named.add(name)
                logger.warning(f"Image skipped, it cannot be read: {name}")
        # One broken file among the first images is no reason to stop.
        allowed = self.max_share * max(self.seen, 100)
        if self.unreadable > allowed or any("image" not in sample for sample in batch):
            raise UserError(
                f"{self.unreadable} of {self.seen} images could not be read, more than "
                f"DATALOADER.MAX_UNREADABLE {self.max_share:g}; for example {max(self.named)}"
            )
