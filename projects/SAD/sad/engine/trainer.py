"""DefaultTrainer for one student with or without a teacher, on GPUs or CPUs."""

import errno
import logging
import os
import weakref

import torch
from detectron2.engine import DefaultTrainer, TrainerBase, create_ddp_model, hooks
from detectron2.utils import comm

from ..checkpoint.checkpointer import BestWeights, SADCheckpointer
from ..config.defaults import distills
from ..config.identity import check_same_run, describe_run
from ..data.checks import check_test_sets, classes_of
from ..data.classes import check_same_classes
from ..data.datasets import ClassOrder
from ..data.loader import build_mixed_loader
from ..data.shared_read import once_per_machine
from ..evaluation.coco_evaluator import BoxEvaluator, build_test_loader
from ..modeling.anchors import check_anchors
from ..modeling.sad_retinanet import SADRetinaNet
from ..modeling.teacher import build_teacher, order_memory
from ..utils.errors import UserError
from ..utils.preemption import preemption
from .hooks import BestCheckpointer, Checkpointer, MetricsHistory, set_aside_metrics
from .precise_bn import PreciseBN
from .step import SADStep

logger = logging.getLogger(__name__)


def derive_schedule(cfg, world_size: int):
    """A copy of the config scaled to the workers, with SOLVER.LR_DROPS turned into SOLVER.STEPS.

    The drops are shares of MAX_ITER after Detectron2's REFERENCE_WORLD_SIZE scaling, which scales
    STEPS that were given.

    Raises:
        UserError: the batch cannot be scaled, or both STEPS and LR_DROPS are given.
    """
    solver = cfg.SOLVER
    if solver.STEPS and solver.LR_DROPS:
        raise UserError(
            f"SOLVER.STEPS is {solver.STEPS} and SOLVER.LR_DROPS is {solver.LR_DROPS}, which both "
            "say when the learning rate drops: give one, and () for the other"
        )
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
    cfg.SOLVER.CHECKPOINT_PERIOD = max(1, cfg.SOLVER.CHECKPOINT_PERIOD)  # scaled to 0, perhaps
    solver = cfg.SOLVER
    late = [step for step in solver.STEPS if step >= solver.MAX_ITER]
    if late:
        logger.warning(f"SOLVER.STEPS {late} are left out, SOLVER.MAX_ITER is {solver.MAX_ITER}")
    wanted = [round(share * solver.MAX_ITER) for share in solver.LR_DROPS] or solver.STEPS
    # Steps fall together in very short runs, and Detectron2 takes fewer of them than iterations.
    steps = tuple(sorted({step for step in wanted if 0 < step < solver.MAX_ITER}))
    solver.STEPS = steps if len(steps) < solver.MAX_ITER else ()
    solver.LR_DROPS = ()
    cfg.freeze()
    return cfg


def describe_start(cfg, num_labeled: int, num_unlabeled: int, world_size: int) -> str:
    """Effective batch, mix and learning rate in one line; `cfg` is that of `derive_schedule`."""
    solver, mix = cfg.SOLVER, cfg.SAD.LOADER.MIX
    labeled, unlabeled = (
        "+".join(name for name in names if name == "hard" or distills(cfg)) or "none"
        for names in (cfg.SAD.TARGETS.LABELED, cfg.SAD.TARGETS.UNLABELED)
    )
    steps = solver.ACCUMULATION_STEPS
    by_steps = solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR"
    drops = f"times {solver.GAMMA:g} at {solver.STEPS}" if by_steps else solver.LR_SCHEDULER_NAME
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
        f"{solver.WARMUP_ITERS}, {drops}"
    )


DISK_ERRORS = {getattr(errno, name) for name in "ENOSPC EDQUOT EROFS EIO EACCES EPERM".split()}


def _no_user_error(record) -> bool:
    error = record.exc_info and record.exc_info[1]
    return not (isinstance(error, UserError) or getattr(error, "errno", None) in DISK_ERRORS)


# TrainerBase logs a traceback of whatever stops the training; one sentence says it all.
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
        self.class_names = classes_of(cfg.DATASETS.TRAIN[0])
        if teacher := getattr(model, "teacher", None):
            order = ClassOrder(teacher.class_names, "the teacher")
            check_same_classes(self.class_names, order, f"data set {cfg.DATASETS.TRAIN[0]}")
        images = data_loader.batch_sampler
        logger.info(
            describe_start(cfg, images.num_labeled, images.num_unlabeled, comm.get_world_size())
        )
        if comm.is_main_process():
            labeled = range(images.num_labeled)
            check_anchors(cfg, model, torch.utils.data.Subset(data_loader.dataset.items, labeled))
        check_test_sets(cfg)
        self.run = once_per_machine(lambda: describe_run(cfg))
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)

        on_gpu = cfg.MODEL.DEVICE.startswith("cuda")
        device_ids = [torch.cuda.current_device()] if on_gpu else None
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
        self._trainer = SADStep(model, data_loader, optimizer, cfg)
        extra = {"mimic": mimic} if (mimic := getattr(self._trainer.student, "mimic", None)) else {}
        self.checkpointer = SADCheckpointer(
            model,
            cfg.OUTPUT_DIR,
            keep=cfg.SOLVER.CHECKPOINTS_TO_KEEP,
            class_names=self.class_names,
            trainer=weakref.proxy(self),
            **extra,
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_model(cls, cfg):
        return order_memory(super().build_model(cfg), cfg)

    def build_hooks(self):
        """Detectron2's, with the checkpoint on every worker, and the best weights."""
        cfg = self.cfg
        if comm.is_main_process():
            set_aside_metrics(cfg.OUTPUT_DIR)
        default = super().build_hooks()
        first, evaluation, writer = [], None, None
        for hook in default:
            if isinstance(hook, hooks.PreciseBN):
                data = hook._data_loader, hook._num_iter
                first.append(PreciseBN(cfg.TEST.EVAL_PERIOD, self.model, *data))
            elif isinstance(hook, hooks.EvalHook):
                evaluation = hook
            elif isinstance(hook, hooks.PeriodicWriter):
                writer = hook
            elif not isinstance(hook, hooks.PeriodicCheckpointer):
                first.append(hook)
        self.history = MetricsHistory(
            os.path.join(cfg.OUTPUT_DIR, "metrics.json"), writer._writers if writer else []
        )
        period = cfg.TEST.EVAL_PERIOD
        checkpoint = Checkpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD, period)
        best = None
        if comm.is_main_process() and period > 0 and cfg.DATASETS.TEST:
            test_sets = cfg.DATASETS.TEST
            metric = "bbox/AP" if len(test_sets) == 1 else f"{test_sets[0]}/bbox/AP"
            weights = BestWeights(self._trainer.model, cfg.OUTPUT_DIR, class_names=self.class_names)
            best = BestCheckpointer(period, weights, metric)
        self.after_checkpoint = [hook for hook in (evaluation, best, writer) if hook]
        return [*first, self.history, checkpoint, *self.after_checkpoint]

    def resume_or_load(self, resume=True):
        """As DefaultTrainer's; the loader goes on at the sample where the run stopped, and the
        learning rate is that of this config at this iteration.

        Raises:
            UserError: it has been trained for longer than SOLVER.MAX_ITER.
        """
        base_lrs = self.scheduler.base_lrs  # a checkpoint brings those of its own config
        super().resume_or_load(resume)
        if self.start_iter > self.max_iter:
            raise UserError(
                f"SOLVER.MAX_ITER is {self.max_iter}, the run in {self.cfg.OUTPUT_DIR} has been "
                f"trained for {self.start_iter} iterations: evaluate it with --eval-only"
            )
        self.scheduler.base_lrs = base_lrs
        rates = zip(self.optimizer.param_groups, base_lrs, self.scheduler.get_lr(), strict=True)
        for group, base, rate in rates:
            group.update(initial_lr=base, lr=rate)
        self.history.resumed = resume
        self.data_loader.batch_sampler.start = self.start_iter

    def train(self):
        """
        Raises:
            UserError: the disk is full or can no longer be written, among others.
        """
        with preemption.heeded():
            try:
                return super().train()
            except OSError as error:
                if error.errno not in DISK_ERRORS:
                    raise
                raise UserError(
                    f"{error.filename or self.cfg.OUTPUT_DIR} cannot be written "
                    f"({error.strerror}): mend that and go on with --resume"
                ) from error

    def before_train(self):
        super().before_train()
        if self.start_iter > 0:  # what was left to do when the checkpoint was written
            self.iter = self.storage.iter = self.start_iter - 1
            for hook in self.after_checkpoint:
                hook.after_step()
            self.iter = self.storage.iter = self.start_iter

    def after_train(self):
        self.iter = min(self.iter, self.max_iter)  # one more where nothing was left to do
        super().after_train()

    @classmethod
    def build_test_loader(cls, cfg, dataset_name):
        return build_test_loader(cfg, dataset_name)

    def state_dict(self):
        return {**super().state_dict(), "run": self.run, "class_names": self.class_names}

    def load_state_dict(self, state):
        """
        Raises:
            UserError: it is the state of another experiment, or of another trainer.
        """
        if "run" not in state:
            raise UserError(
                f"OUTPUT_DIR {self.cfg.OUTPUT_DIR} holds the run of another trainer, perhaps "
                "Detectron2's own: start from its weights (MODEL.WEIGHTS) in another OUTPUT_DIR"
            )
        check_same_run(state["run"], self.run)
        order = ClassOrder(state["class_names"], f"the run in {self.cfg.OUTPUT_DIR}")
        check_same_classes(self.class_names, order, f"data set {self.cfg.DATASETS.TRAIN[0]}")
        super().load_state_dict(state)

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
