"""Train or evaluate a detector, alone or as the student of a teacher.

    sad train --config-file configs/digits/SAD.yaml --num-gpus 1 [KEY VALUE ...]

torchrun and SLURM's srun may start the processes instead of --num-gpus, see `sad.engine.launch`.
"""

import logging
import os
from datetime import timedelta

from detectron2.engine import default_setup
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from ..checkpoint.checkpointer import SADCheckpointer
from ..config.defaults import device_of, distills, keeps_answers
from ..config.load import config_path, get_sad_cfg
from ..data.classes import check_same_classes, class_order
from ..data.datasets import ClassOrder, known_order, register_from_config
from ..engine import launch
from ..engine.trainer import SADTrainer
from ..evaluation.finished import record_evaluation
from ..exported.open import open_exported, read_card
from ..modeling.teacher import build_teacher
from ..preflight.run import check_evaluation, check_training, runs_alone
from ..preflight.values import check_config
from ..utils.allocator import keep_freed_memory
from ..utils.arguments import add_launch_arguments
from ..utils.errors import UserError
from ..utils.files import lock_folder, make_folder
from ..utils.preemption import preemption

logger = logging.getLogger(__name__)


def add_arguments(parser) -> None:
    parser.add_argument("--config-file", default="", metavar="FILE", help="yaml of the run")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR"
    )
    parser.add_argument(
        "--eval-only",
        action="store_true",
        help="evaluate MODEL.WEIGHTS, which may be an exported file, on DATASETS.TEST, no more",
    )
    parser.add_argument(
        "--check-teacher", action="store_true", help="evaluate the teacher on DATASETS.TEST first"
    )
    add_launch_arguments(parser)


def run(args) -> None:
    logging.raiseExceptions = False  # a full disk is told of once, not for each line of the log
    launch.start(main, args, timedelta(minutes=args.timeout))


def setup(args):
    if not args.config_file:
        raise UserError("--config-file is missing: give a yaml, such as those in configs/")
    args.config_file = config_path(args.config_file)  # which `default_setup` reads once more
    cfg = get_sad_cfg(args.config_file, args.opts)
    check_config(cfg)
    cfg.MODEL.DEVICE = device_of(cfg)
    register_from_config(cfg)
    teaches = not args.eval_only and (distills(cfg) or args.check_teacher)
    if args.eval_only and runs_alone(cfg, args.resume):
        order = ClassOrder(read_card(cfg.MODEL.WEIGHTS).class_names, f"file {cfg.MODEL.WEIGHTS}")
    else:
        order = class_order(cfg, resume=args.resume, evaluates=args.eval_only, teaches=teaches)
    if order:
        register_from_config(cfg, order)
    cfg.freeze()
    if args.eval_only:
        check_evaluation(cfg, args.resume)
    else:
        check_training(cfg, args.resume, args.check_teacher)
    comm.synchronize()  # nobody writes before all have found nothing wrong
    answers = cfg.SAD.TEACHER.CACHE.DIR
    if keeps_answers(cfg) and not args.eval_only and not os.path.isdir(answers):
        make_folder(answers, "SAD.TEACHER.CACHE.DIR")
    make_folder(cfg.OUTPUT_DIR, "OUTPUT_DIR")
    if comm.is_main_process() and not args.eval_only:
        lock_folder(cfg.OUTPUT_DIR, "OUTPUT_DIR")
    comm.synchronize()
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="sad")
    return cfg


def evaluate(cfg, resume):
    if runs_alone(cfg, resume):
        model, weights = open_exported(cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE), cfg.MODEL.WEIGHTS
        names = model.class_names
    else:
        model = SADTrainer.build_model(cfg)
        checkpointer = SADCheckpointer(model, cfg.OUTPUT_DIR, strict=True)
        names = checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume).get("class_names")
        weights = checkpointer.loaded
    if names:
        for known in filter(None, map(known_order, cfg.DATASETS.TEST)):
            check_same_classes(known.names, ClassOrder(names, "the weights"), known.source)
    else:
        logger.warning(
            "The weights do not name their classes: taken for those of the data set, in the order "
            "of its category ids"
        )
    results = SADTrainer.test(cfg, model)
    if comm.is_main_process():
        record_evaluation(cfg.OUTPUT_DIR, cfg.DATASETS.TEST, weights)
        verify_results(cfg, results)
    return results


def main(args):
    """What each process does."""
    cfg = setup(args)
    if cfg.MODEL.DEVICE == "cpu":
        keep_freed_memory()
    if args.eval_only:
        return evaluate(cfg, args.resume)
    with preemption.heeded():
        trainer = SADTrainer(cfg)
        if args.check_teacher:
            evaluate_teacher(cfg)
        trainer.resume_or_load(resume=args.resume)
        return trainer.train()


def evaluate_teacher(cfg):
    logger.info("Evaluating the teacher before training")
    teacher, teacher_cfg = build_teacher(cfg)
    teacher_cfg = teacher_cfg.clone()
    teacher_cfg.defrost()
    teacher_cfg.DATASETS.TEST = cfg.DATASETS.TEST
    teacher_cfg.OUTPUT_DIR = os.path.join(cfg.OUTPUT_DIR, "teacher_check")
    SADTrainer.test(teacher_cfg, teacher)
