"""DefaultTrainer for one student with or without a teacher, on GPUs or CPUs."""

import logging
import os
import time
import weakref

import torch
from detectron2.engine import DefaultTrainer, SimpleTrainer, TrainerBase, create_ddp_model
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage

from .checkpoint import SADCheckpointer
from .datasets import check_test_sets
from .errors import UserError
from .loader import build_mixed_loader
from .sad_retinanet import SADRetinaNet
from .teacher import PRECISIONS, build_teacher

logger = logging.getLogger(__name__)


def derive_schedule(cfg, world_size: int):
    """A copy of the config scaled to the workers, with SOLVER.STEPS from SOLVER.LR_DROPS.

    The drops are shares of MAX_ITER after Detectron2's REFERENCE_WORLD_SIZE scaling.
    """
    cfg = DefaultTrainer.auto_scale_workers(cfg, world_size).clone()
    cfg.defrost()
    if cfg.SOLVER.LR_DROPS:
        steps = {round(share * cfg.SOLVER.MAX_ITER) for share in cfg.SOLVER.LR_DROPS}
        # The last iterations of very short runs fall together.
        cfg.SOLVER.STEPS = tuple(sorted(step for step in steps if 0 < step < cfg.SOLVER.MAX_ITER))
        if cfg.SOLVER.MAX_ITER <= len(cfg.SOLVER.STEPS):
            cfg.SOLVER.STEPS = ()
    cfg.freeze()
    logger.info(
        f"Learning rate {cfg.SOLVER.BASE_LR:g} over {cfg.SOLVER.MAX_ITER} iterations, "
        f"warm-up {cfg.SOLVER.WARMUP_ITERS}, times {cfg.SOLVER.GAMMA:g} at {cfg.SOLVER.STEPS}"
    )
    return cfg


class SADStep(SimpleTrainer):
    """One training step: SimpleTrainer's, with autocast and full-model gradient clipping."""

    def __init__(self, model, data_loader, optimizer, cfg):
        super().__init__(model, data_loader, optimizer)
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

        with torch.autocast(self.device_type, self.precision, enabled=self.autocast):
            losses = self.model(batch)
        self.optimizer.zero_grad()
        self.scaler.scale(sum(losses.values())).backward()
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
        check_test_sets(cfg)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)

        arguments = {} if cfg.MODEL.DEVICE.startswith("cuda") else {"device_ids": None}
        model = create_ddp_model(model, broadcast_buffers=False, **arguments)
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
        return COCOEvaluator(
            dataset_name,
            tasks=("bbox",),
            output_dir=os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name),
        )


def _unwrap(model):
    return getattr(model, "module", model)
