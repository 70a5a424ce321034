"""DefaultTrainer for one student with or without a teacher, on GPUs or CPUs."""

import logging
import os
import time
import weakref
from contextlib import nullcontext

import torch
from detectron2.engine import DefaultTrainer, SimpleTrainer, TrainerBase, create_ddp_model
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage

from .checkpoint import SADCheckpointer
from .datasets import check_test_sets
from .errors import UserError
from .evaluation import BoxEvaluator
from .loader import build_mixed_loader
from .sad_retinanet import SADRetinaNet
from .teacher import PRECISIONS, build_teacher

logger = logging.getLogger(__name__)


def derive_schedule(cfg, world_size: int):
    """A copy of the config scaled to the workers, with SOLVER.STEPS from SOLVER.LR_DROPS.

    The drops are shares of MAX_ITER after Detectron2's REFERENCE_WORLD_SIZE scaling.

    Raises:
        UserError: the batch cannot be scaled.
    """
    solver = cfg.SOLVER
    if solver.REFERENCE_WORLD_SIZE and solver.IMS_PER_BATCH % solver.REFERENCE_WORLD_SIZE:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {solver.IMS_PER_BATCH}, it must be a multiple of "
            f"SOLVER.REFERENCE_WORLD_SIZE {solver.REFERENCE_WORLD_SIZE}"
        )
    max_iter = cfg.SOLVER.MAX_ITER
    cfg = DefaultTrainer.auto_scale_workers(cfg, world_size).clone()
    cfg.defrost()
    distill = cfg.SAD.DISTILL
    distill.WARMUP_ITERS = round(distill.WARMUP_ITERS * cfg.SOLVER.MAX_ITER / max(1, max_iter))
    if cfg.SOLVER.LR_DROPS:
        steps = {round(share * cfg.SOLVER.MAX_ITER) for share in cfg.SOLVER.LR_DROPS}
        # The last iterations of very short runs fall together.
        cfg.SOLVER.STEPS = tuple(sorted(step for step in steps if 0 < step < cfg.SOLVER.MAX_ITER))
        if cfg.SOLVER.MAX_ITER <= len(cfg.SOLVER.STEPS):
            cfg.SOLVER.STEPS = ()
    cfg.freeze()
    return cfg


def describe_run(cfg, num_labeled: int, num_unlabeled: int, world_size: int) -> str:
    """Effective batch, mix and learning rate in one line; `cfg` is that of `derive_schedule`."""
    solver, mix = cfg.SOLVER, cfg.SAD.LOADER.MIX
    distills = cfg.MODEL.META_ARCHITECTURE == "SADRetinaNet" and cfg.SAD.DISTILL.LOSS != "none"
    labeled, unlabeled = (
        "+".join(name for name in names if name == "hard" or distills) or "none"
        for names in (cfg.SAD.TARGETS.LABELED, cfg.SAD.TARGETS.UNLABELED)
    )
    steps = solver.ACCUMULATION_STEPS
    everything = num_labeled + num_unlabeled
    share = {
        "alternate": (1 + num_labeled / everything) / 2,
        "union": num_labeled / everything,
        "ratio": cfg.SAD.LOADER.RATIO[0] / sum(cfg.SAD.LOADER.RATIO),
    }[mix if num_unlabeled else "union"]
    return (
        f"Effective batch {solver.IMS_PER_BATCH} = {world_size} workers x {steps} accumulation "
        f"steps x {solver.IMS_PER_BATCH // (world_size * steps)} images a forward, loss "
        f"normalisers {solver.LOSS_NORMALIZERS}; mix {mix} of {num_labeled} labelled and "
        f"{num_unlabeled} unlabelled images: {share:.0%} of the images seen are labelled, targets "
        f"{labeled} on labelled and {unlabeled} on unlabelled; "
        f"learning rate {solver.BASE_LR:g} over {solver.MAX_ITER} iterations, warm-up "
        f"{solver.WARMUP_ITERS}, times {solver.GAMMA:g} at {solver.STEPS}"
    )


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
        if self.clip_norm > 0:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
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
        model = _unwrap(self.model)
        size = len(batch) // self.accumulation_steps
        micro_batches = [batch[i : i + size] for i in range(0, len(batch), size)]
        inputs = [(micro_batch,) for micro_batch in micro_batches]
        if isinstance(model, SADRetinaNet):
            inputs = zip(micro_batches, model.prepare(micro_batches), strict=True)
        total = {}
        for number, given in enumerate(inputs):
            # DistributedDataParallel averages over the workers once, with the last micro-batch.
            alone = number + 1 < len(micro_batches) and self.model is not model
            with self.model.no_sync() if alone else nullcontext():
                with torch.autocast(self.device_type, self.precision, enabled=self.autocast):
                    losses = self.model(*given)
                losses = {name: self.loss_share * loss for name, loss in losses.items()}
                self.scaler.scale(sum(losses.values())).backward()
            for name, loss in losses.items():
                total[name] = total.get(name, 0) + loss.detach()
        return total

    def state_dict(self):
        return {
            **super().state_dict(),
            "scaler": self.scaler.state_dict(),
            # An attribute in Detectron2's dense detectors, so not in the model's state.
            "loader_seed": self.data_loader.batch_sampler.seed,
            "loss_normalizer": getattr(_unwrap(self.model), "loss_normalizer", None),
        }

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.scaler.load_state_dict(state["scaler"])
        self.data_loader.batch_sampler.seed = state["loader_seed"]
        if state["loss_normalizer"] is not None:
            _unwrap(self.model).loss_normalizer = state["loss_normalizer"]


class ReadableShare:
    """Names images that could not be read, and stops the run when they become too many."""

    def __init__(self, max_share: float):
        self.max_share = max_share
        self.seen = self.unreadable = 0
        self.named = set()

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


def _no_user_error(record) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], UserError))


# TrainerBase logs a traceback of whatever stops the training; a UserError says all in its sentence.
logging.getLogger("detectron2.engine.train_loop").addFilter(_no_user_error)


class SADTrainer(DefaultTrainer):
    """DefaultTrainer with the mixed loader, the teacher, and a student checkpoint."""

    def __init__(self, cfg):
        # Not DefaultTrainer's __init__: it wraps models for CUDA alone and picks its own step.
        TrainerBase.__init__(self)
        cfg = derive_schedule(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        if isinstance(model, SADRetinaNet) and model.distills:
            model.attach_teacher(build_teacher(cfg)[0])
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        images = data_loader.batch_sampler
        logger.info(
            describe_run(cfg, images.num_labeled, images.num_unlabeled, comm.get_world_size())
        )
        check_test_sets(cfg)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)

        on_gpu = cfg.MODEL.DEVICE.startswith("cuda")
        device_ids = [torch.cuda.current_device()] if on_gpu else None
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
        self._trainer = SADStep(model, data_loader, optimizer, cfg)
        extra = {"mimic": mimic} if (mimic := getattr(_unwrap(model), "mimic", None)) else {}
        self.checkpointer = SADCheckpointer(
            model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self), **extra
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume=True):
        """As DefaultTrainer's; the loader goes on at the sample where the run stopped."""
        super().resume_or_load(resume)
        self.data_loader.batch_sampler.start = self.start_iter

    @classmethod
    def build_train_loader(cls, cfg):
        return build_mixed_loader(cfg)

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        return BoxEvaluator(
            dataset_name,
            os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name),
            name=os.path.basename(os.path.normpath(cfg.OUTPUT_DIR)),
        )


def _unwrap(model):
    return getattr(model, "module", model)
