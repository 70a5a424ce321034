#!/usr/bin/env python3
"""Train or evaluate a detector, alone or as the student of a teacher.

python projects/SAD/train_net.py --config-file configs/digits/SAD.yaml --num-gpus 1 [KEY VALUE ...]

torchrun and SLURM's srun may start the processes instead, see `sad.engine.launch`.
"""

import logging
import os
from datetime import timedelta

import sad_command

# Detectron2's focal loss is a TorchScript function: on CPU its compilation takes over a minute, and
# its first call returns other gradient bits than later ones. On GPUs, where it is fused, it stays.
# torch reads this when it is imported.
os.environ.setdefault("PYTORCH_JIT", "1" if sad_command.sees_gpu() else "0")

# First of all: where Detectron2 is missing, this says how to get it.
from sad.utils.errors import UserError, exit_on_user_error

# isort: split
import torch
from detectron2.engine import default_argument_parser, default_setup
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from sad.checkpoint.checkpointer import SADCheckpointer
from sad.config.defaults import distills
from sad.config.load import get_sad_cfg
from sad.data.classes import check_same_classes, class_order
from sad.data.datasets import ClassOrder, known_order, register_from_config
from sad.engine import launch
from sad.engine.trainer import SADTrainer
from sad.modeling.teacher import build_teacher
from sad.preflight.run import check_evaluation, check_training
from sad.preflight.values import check_config
from sad.utils.arguments import between
from sad.utils.files import lock_folder, make_folder
from sad.utils.preemption import preemption

logger = logging.getLogger("sad.train_net")


def setup(args):
    if not args.config_file:
        raise UserError("--config-file is missing: give a yaml, such as those in configs/")
    cfg = get_sad_cfg(args.config_file, args.opts)
    check_config(cfg)
    if not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    register_from_config(cfg)
    teaches = not args.eval_only and (distills(cfg) or args.check_teacher)
    order = class_order(cfg, resume=args.resume, evaluates=args.eval_only, teaches=teaches)
    if order:
        register_from_config(cfg, order)
    cfg.freeze()
    if args.eval_only:
        check_evaluation(cfg, args.resume)
    else:
        check_training(cfg, args.resume, args.check_teacher)
    comm.synchronize()  # nobody writes before all have found nothing wrong
    make_folder(cfg.OUTPUT_DIR, "OUTPUT_DIR")
    if comm.is_main_process() and not args.eval_only:
        lock_folder(cfg.OUTPUT_DIR, "OUTPUT_DIR")
    comm.synchronize()
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="sad")
    return cfg


def evaluate(cfg, resume):
    model = SADTrainer.build_model(cfg)
    checkpointer = SADCheckpointer(model, cfg.OUTPUT_DIR, strict=True)
    names = checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume).get("class_names")
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
        verify_results(cfg, results)
    return results


def main(args):
    cfg = setup(args)
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


@exit_on_user_error
def start():
    logging.raiseExceptions = False  # a full disk is told of once, not for each line of the log
    parser = default_argument_parser()
    parser.add_argument(
        "--check-teacher", action="store_true", help="evaluate the teacher on DATASETS.TEST first"
    )
    parser.add_argument(
        "--timeout",
        type=between(float, 0.01, 1e6),
        default=30,
        metavar="MINUTES",
        help="how long a process waits for the others, rank 0's evaluation included (30)",
    )
    # Detectron2's default is one port for all jobs of a user on a machine.
    parser.set_defaults(dist_url="auto")
    args = parser.parse_args()
    launch.start(main, args, timedelta(minutes=args.timeout))


if __name__ == "__main__":
    start()
