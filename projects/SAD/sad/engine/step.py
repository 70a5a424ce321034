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

from ..data.images import allowed_unreadable
from ..modeling.sad_retinanet import SADRetinaNet
from ..modeling.teacher import PRECISIONS
from ..utils.errors import UserError
from ..utils.rng import rng_state, set_rng_state

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
        self.readable = ReadableShare(cfg.DATALOADER.MAX_UNREADABLE, len(data_loader.dataset))

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
            f"{images}: the checkpoints written before are good; go on from them with --resume "
            "and a lower SOLVER.BASE_LR, a longer SOLVER.WARMUP_ITERS, or "
            "SOLVER.CLIP_FULL_MODEL_NORM"
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
            "images": self.data_loader.dataset.digest,
            "workers": comm.all_gather(worker),
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
        rank, workers = comm.get_rank(), state["workers"]
        worker = workers[rank if rank < len(workers) else 0]  # there may be more than before
        self.student.load_state_dict(worker["statistics"], strict=False)
        self.readable.load_state_dict(worker["readable"])
        if worker["loss_normalizer"] is not None:
            self.student.loss_normalizer = worker["loss_normalizer"]
        set_rng_state(worker["rng"])


class ReadableShare:
    """Names images that could not be read, and stops the run when they become too many."""

    def __init__(self, max_share: float, num_images: int):
        """
        Args:
            max_share: see DATALOADER.MAX_UNREADABLE.
            num_images: of the whole set.
        """
        self.max_share = max_share
        self.num_images = num_images
        self.seen = 0
        # Files: those drawn that were replaced; these and failed replacements; cut JPEGs.
        self.failed, self.named, self.truncated = set(), set(), set()

    def state_dict(self) -> dict:
        files = {name: sorted(getattr(self, name)) for name in ("failed", "named", "truncated")}
        return {"seen": self.seen, **files}

    def load_state_dict(self, state: dict) -> None:
        self.seen = state["seen"]
        for name in ("failed", "named", "truncated"):
            setattr(self, name, set(state[name]))

    def check(self, batch: list[dict]) -> None:
        """
        Raises:
            UserError: more images than are allowed were unreadable, or all that stand in for one.
        """
        self.seen += len(batch)
        for sample in batch:
            for name, why in sample["unreadable"]:
                if name not in self.named:
                    logger.warning(f"Image skipped, it cannot be read: {name} ({why})")
                self.named.add(name)
            self.failed |= {name for name, _ in sample["unreadable"][:1]}
            if "truncated" in sample and sample["file_name"] not in self.truncated:
                self.truncated.add(sample["file_name"])
                logger.warning(
                    f"Image {len(self.truncated)} that lacks its last bytes: {sample['file_name']}"
                )
        images = min(self.seen, self.num_images)
        failed = f"{len(self.failed)} of {images} images could not be read"
        if len(self.failed) > allowed_unreadable(self.max_share, images):
            last, why = next(x for sample in batch[::-1] for x in sample["unreadable"][:1])
            raise UserError(
                f"{failed}, more than DATALOADER.MAX_UNREADABLE {self.max_share:g} allows; for "
                f"example {last} ({why})"
            )
        for sample in batch:
            if "image" not in sample:
                (first, why), *others = sample["unreadable"]
                raise UserError(
                    f"{failed}, nor {len(others)} that were drawn in the place of {first} ({why})"
                )
