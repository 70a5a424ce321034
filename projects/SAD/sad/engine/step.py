"""One training step, and what it must remember to be taken again."""

import math
import time
from contextlib import nullcontext

import torch
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch.nn.modules.batchnorm import _BatchNorm

from ..utils.errors import UserError
from ..utils.precision import PRECISIONS
from ..utils.rng import rng_state, set_rng_state
from .unreadable import ReadableShare


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
        self.readable = ReadableShare(cfg.DATALOADER.MAX_UNREADABLE, len(data_loader.dataset))

    def run_step(self):
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self.readable.check(batch)

        self.optimizer.zero_grad()
        try:
            losses = self._accumulate(batch)
        except FloatingPointError as error:  # of Detectron2's RPN, which has no boxes to propose
            raise self._diverged("a proposal is not finite", _images(batch)) from error
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.clip_norm if self.clip_norm > 0 else math.inf
        )
        losses = self._check_finite(losses, norm, batch)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._write_metrics(losses, data_time)
        self._write_ratios(losses)

    def _write_ratios(self, losses: dict[str, torch.Tensor]) -> None:
        """Of each term's loss to the detector's own, both the means over all ranks."""
        terms = {name for name in losses if name.startswith("loss_distill_")}
        if not (terms and comm.is_main_process()):
            return
        storage = get_event_storage()
        means = {name: storage.latest()[name][0] for name in losses}
        detection = sum(means[name] for name in losses.keys() - terms)
        if detection > 0:  # it is 0 in a batch without hard targets
            for name in sorted(terms):
                key = f"{name.removeprefix('loss_')}_to_detection"
                storage.put_scalar(key, means[name] / detection)

    def _accumulate(self, batch: list[dict]) -> dict[str, torch.Tensor]:
        """Add up the gradients of equal micro-batches; returns the losses of the whole batch."""
        prepare = getattr(self._unwrapped, "prepare", list)  # Detectron2's own models have none
        size = len(batch) // self.accumulation_steps
        micro_batches = [batch[i : i + size] for i in range(0, len(batch), size)]
        total = {}
        for number, given in enumerate(prepare(micro_batches)):
            # DistributedDataParallel averages over the ranks once, with the last micro-batch.
            alone = number + 1 < len(micro_batches) and self.model is not self._unwrapped
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
        found = [(wrong[0], _images(batch))]
        if not (self.scaler.is_enabled() or math.isfinite(values[-1])):
            # The gradient is every rank's, the loss perhaps that of another one.
            found = comm.all_gather(found[0])
        (name, value), images = next((x for x in found if x[0][0] in losses), found[0])
        raise self._diverged(f"{name} is {value}", images)

    def _diverged(self, what: str, images: str) -> UserError:
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        return UserError(
            f"{what} at iteration {self.iter}, learning rate {rate:g}, image ids {images}: the "
            "checkpoints written before are good; go on from them with --resume and a lower "
            "SOLVER.BASE_LR, a longer SOLVER.WARMUP_ITERS, or SOLVER.CLIP_FULL_MODEL_NORM"
        )

    @property
    def _unwrapped(self):
        return getattr(self.model, "module", self.model)  # inside DistributedDataParallel

    @property
    def student(self):
        """The detector that learns."""
        return getattr(self._unwrapped, "student", self._unwrapped)

    def _statistics(self) -> dict:
        """Batch norm's running ones, each rank's own; the checkpoint's model has the first's."""
        return {
            f"{name}.{key}": getattr(module, key).cpu()  # else each GPU gets a copy of all
            for name, module in self.student.named_modules()
            if isinstance(module, _BatchNorm)
            for key in ("running_mean", "running_var")
        }

    def state_dict(self):
        of_rank = {
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
            "images": self.data_loader.dataset.digest,
            "ranks": comm.all_gather(of_rank),
        }

    def load_state_dict(self, state):
        """
        Raises:
            UserError: the images are not those that the run was drawing from.
        """
        if state["images"] != self.data_loader.dataset.digest:
            raise UserError(
                "--resume goes on with the same images, and these are others: files were added or "
                "removed, or another DATASETS.TEST leaves other unlabelled images out; put them "
                "back, or start a new run from its weights (MODEL.WEIGHTS, another OUTPUT_DIR)"
            )
        super().load_state_dict(state)
        self.scaler.load_state_dict(state["scaler"])
        self.data_loader.batch_sampler.seed = state["loader_seed"]
        rank, ranks = comm.get_rank(), state["ranks"]
        own = ranks[rank if rank < len(ranks) else 0]  # there may be more than before
        self.student.load_state_dict(own["statistics"], strict=False)
        self.readable.load_state_dict(own["readable"])
        if own["loss_normalizer"] is not None:
            self.student.loss_normalizer = own["loss_normalizer"]
        set_rng_state(own["rng"])


def _images(batch: list[dict]) -> str:
    return ", ".join(str(sample["image_id"]) for sample in batch)
