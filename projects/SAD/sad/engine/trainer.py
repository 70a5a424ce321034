"""DefaultTrainer for one student with or without a teacher, on GPUs or CPUs."""

import logging
import os
import weakref

import torch
from detectron2.engine import DefaultTrainer, TrainerBase, create_ddp_model, hooks
from detectron2.utils import comm
from fvcore.nn.precise_bn import get_bn_modules

from ..checkpoint.checkpointer import BestWeights, SADCheckpointer
from ..config.defaults import detector_name, distills, stops_early
from ..config.identity import check_same_run, describe_run
from ..data.checks import check_deciding_set, check_test_sets, classes_of
from ..data.classes import check_same_classes
from ..data.datasets import ClassOrder
from ..data.loader import build_mixed_loader
from ..data.shared_read import once_per_machine
from ..evaluation.coco_evaluator import BoxEvaluator
from ..evaluation.finished import record_evaluation
from ..evaluation.loader import build_test_loader
from ..evaluation.weights_record import detections_folder
from ..modeling.adapters import ADAPTERS
from ..modeling.anchors import check_anchors
from ..modeling.build import settle
from ..modeling.teacher import build_teacher
from ..utils.compat import set_max_iter, settle_torchscript
from ..utils.errors import DISK_ERRORS, UserError, sentence_of
from ..utils.preemption import preemption
from .early_stop import EarlyStop, Shortenable
from .hooks import (
    BestCheckpointer,
    Checkpointer,
    CpuTimer,
    MetricsHistory,
    set_aside_metrics,
)
from .pictures import PredictionPictures
from .precise_bn import PreciseBN
from .schedule import derive_schedule, describe_start
from .step import SADStep
from .watch import Watch

logger = logging.getLogger(__name__)


def _with(cfg, key: str, value):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list([key, value])
    return cfg


def _no_user_error(record) -> bool:
    error = record.exc_info and record.exc_info[1]
    return not (error and sentence_of(error))


# TrainerBase logs a traceback of whatever stops the training; one sentence says it all.
logging.getLogger("detectron2.engine.train_loop").addFilter(_no_user_error)


class SADTrainer(DefaultTrainer, Shortenable):
    """DefaultTrainer with the mixed loader, the teacher, and a student checkpoint."""

    def __init__(self, cfg):
        # Not DefaultTrainer's __init__: it wraps models for CUDA alone and picks its own step.
        TrainerBase.__init__(self)
        if cfg.MODEL.DEVICE == "cpu":  # elsewhere no run has the same bits twice
            settle_torchscript()
        cfg = derive_schedule(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        if distills(cfg):
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
        if comm.is_main_process() and ADAPTERS[detector_name(cfg)].learns_by_overlap:
            detector, labeled = getattr(model, "student", model), range(images.num_labeled)
            check_anchors(
                cfg, detector, torch.utils.data.Subset(data_loader.dataset.items, labeled)
            )
        check_test_sets(cfg)
        check_deciding_set(cfg)
        self.run = once_per_machine(lambda: describe_run(cfg))
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)

        on_gpu = cfg.MODEL.DEVICE.startswith("cuda")
        device_ids = [torch.cuda.current_device()] if on_gpu else None
        model = create_ddp_model(model, broadcast_buffers=False, device_ids=device_ids)
        self._trainer = SADStep(model, data_loader, optimizer, cfg)
        terms = getattr(getattr(model, "module", model), "terms", None)
        layers = {"terms": terms} if terms and terms.state_dict() else {}
        self.checkpointer = SADCheckpointer(
            model,
            cfg.OUTPUT_DIR,
            keep=cfg.SOLVER.CHECKPOINTS_TO_KEEP,
            class_names=self.class_names,
            trainer=weakref.proxy(self),
            **layers,
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self._evaluated, self._failed = None, False
        self.pictures = PredictionPictures(cfg, self.class_names)
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_model(cls, cfg):
        return settle(super().build_model(cfg), cfg)

    def build_hooks(self):
        """Detectron2's, with the checkpoint on every rank, and the best weights."""
        cfg, is_main = self.cfg, comm.is_main_process()
        period = cfg.TEST.EVAL_PERIOD
        if is_main:
            set_aside_metrics(cfg.OUTPUT_DIR)
        before = [hooks.IterationTimer(), hooks.LRScheduler()]
        if cfg.MODEL.DEVICE == "cpu":
            before.append(CpuTimer())
        if cfg.TEST.PRECISE_BN.ENABLED and get_bn_modules(self.model):
            data_loader = self.build_train_loader(_with(cfg, "DATALOADER.NUM_WORKERS", 0))
            iterations = cfg.TEST.PRECISE_BN.NUM_ITER
            before.append(PreciseBN(period, self.model, data_loader, iterations))
        self.writers = self.build_writers() if is_main else []
        metrics = os.path.join(cfg.OUTPUT_DIR, "metrics.json")
        self.history = MetricsHistory(metrics, self.writers)
        checkpoint = Checkpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD, period)
        self.after_checkpoint = [hooks.EvalHook(period, self._evaluate)]
        if period > 0 and cfg.DATASETS.TEST:
            test_sets = cfg.DATASETS.TEST
            metric = "bbox/AP" if len(test_sets) == 1 else f"{test_sets[0]}/bbox/AP"
            best = BestWeights(self._trainer.model, cfg.OUTPUT_DIR, class_names=self.class_names)
            if is_main:
                self.after_checkpoint.append(BestCheckpointer(period, best, metric))
            if stops_early(cfg):
                self.after_checkpoint.append(EarlyStop(cfg, metric))
        if is_main:
            self.after_checkpoint += [hooks.PeriodicWriter(self.writers), Watch(cfg)]
        return [*before, self.history, checkpoint, *self.after_checkpoint]

    def _evaluate(self):
        """Of DATASETS.VAL, and at the end of DATASETS.TEST: {kind: numbers}, of several sets for
        each by its name.
        """
        done, sets = min(self.iter + 1, self.max_iter), self.cfg.DATASETS
        names = sets.TEST if done == self.max_iter else sets.VAL or sets.TEST
        if self._failed:
            return {}
        if self._evaluated != (done, names):  # early stop ends a run after an evaluation
            found = self.test(_with(self.cfg, "DATASETS.TEST", names), self.model)
            if len(names) == 1 < len(sets.TEST):
                found = {names[0]: found}
            self._last_eval_results = found  # which DefaultTrainer verifies
            self._evaluated = done, names
            self.pictures.put(self.model)
        return self._last_eval_results

    def resume_or_load(self, resume=True):
        """As DefaultTrainer's; the loader goes on at the sample where the run stopped, and the
        learning rate is that of this config at this iteration.

        Raises:
            UserError: it has been trained for longer than SOLVER.MAX_ITER.
        """
        base_lrs = self.scheduler.base_lrs  # a checkpoint brings those of its own config
        super().resume_or_load(resume)
        position = self.scheduler.last_epoch  # beyond start_iter where early stop has skipped some
        if position > self.cfg.SOLVER.MAX_ITER:
            raise UserError(
                f"SOLVER.MAX_ITER is {self.cfg.SOLVER.MAX_ITER}, the run in "
                f"{self.cfg.OUTPUT_DIR} has been trained for {position} iterations: evaluate it "
                "with --eval-only"
            )
        self.scheduler.base_lrs = base_lrs
        self.go_on_at(position, self.start_iter)
        self.history.resumed = resume
        self.data_loader.batch_sampler.start = self.start_iter

    def go_on_at(self, position: int, done: int) -> None:
        """Set learning rate and end of the run for its place in the schedule.

        Args:
            position: the next iteration in the schedule of SOLVER.MAX_ITER iterations.
            done: iterations that the run has been trained for.
        """
        self.scheduler.last_epoch = position
        self.max_iter = done + self.cfg.SOLVER.MAX_ITER - position
        set_max_iter(self.writers, self.max_iter)
        base_lrs, now = self.scheduler.base_lrs, self.scheduler.get_lr()
        for group, base, rate in zip(self.optimizer.param_groups, base_lrs, now, strict=True):
            group.update(initial_lr=base, lr=rate)

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
        self._failed = self.iter < self.max_iter  # in the last iteration, perhaps
        self.iter = min(self.iter, self.max_iter)  # one more where nothing was left to do
        super().after_train()
        done = self._evaluated == (self.max_iter, self.cfg.DATASETS.TEST)
        if comm.is_main_process() and done and not self._failed:
            final = os.path.join(self.cfg.OUTPUT_DIR, "model_final.pth")
            record_evaluation(self.cfg.OUTPUT_DIR, self.cfg.DATASETS.TEST, final)

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
            detections_folder(cfg.OUTPUT_DIR, dataset_name),
            name=os.path.basename(os.path.normpath(cfg.OUTPUT_DIR)),
        )
