"""What users get wrong: each mistake ends in one sentence and exit code 2, with nothing written.

A row of the table is a mistake, the command that makes it, and what the sentence must say: the key
or file, and what to do. {toy} is a folder with a good problem, {wrong} one with bad files, {out}
one that does not exist.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from processes import locked
from sad.modeling.build import build_detector
from sad.pipeline.paths import Paths
from sad.pipeline.plan import make_plan
from sad.pipeline.request import Request
from sad.utils.files import LOCK
from toy import REPOSITORY, TRAIN_NET, run_script

# --- the mistakes -------------------------------------------------------------------------------

TRAIN = "train_net --config-file {toy}/SAD.yaml OUTPUT_DIR {out} "
RCNN = "train_net --config-file {toy}/rcnn_student.yaml OUTPUT_DIR {out} "
TAR = "train_net --config-file {toy}/TAR.yaml OUTPUT_DIR {out} "
LABEL = (
    "label_unlabeled --config-file {toy}/teacher.yaml --images {toy}/unlabeled "
    "--json {toy}/annotations/image_info.json --output {out}/targets.json "
)
LABEL_ALL = LABEL + "--weights {toy}/teacher.pth --labeled-json {toy}/annotations/labeled.json "
LABEL_FOLDER = (
    "label_unlabeled --config-file {toy}/teacher.yaml --weights {toy}/teacher.pth --labeled-json "
    "{toy}/annotations/labeled.json --output {wrong}/targets.json "
)
CALIBRATE = (
    "calibrate --config-file {toy}/teacher.yaml --weights {toy}/teacher.pth --val-json "
    "{toy}/annotations/pseudo_labels.json --val-images {toy}/unlabeled --images {wrong}/images "
    "--labeled-json {toy}/annotations/labeled.json --output {out} "
)
LABELS = "--labeled {toy}/annotations/labeled.json --images {toy}/labeled "
DISTILL = "distill --output {out} " + LABELS
TESTED = DISTILL + "--test {toy}/annotations/labeled.json "
ONCE = "--teacher tiny "  # what {wrong}/planned was planned with
SLICE = (
    "convert_weights slice --full-config {toy}/teacher.yaml --config-file {toy}/student.yaml "
    "--weights {toy}/teacher.pth --output "
)
DIGITS = "make_digits --root {out} "
REPORT = "report --output {out} "
TABLES = " --output {out}/runs --results {out}/results --tables {out}/tables "

# fmt: off
MISTAKES = {
    # the command line of train_net.py
    "no config file": (
        "train_net OUTPUT_DIR {out}", "--config-file is missing", "give a yaml"),
    "config file that does not exist, the nearest is named": (
        "train_net --config-file {toy}/SAD.yml", "SAD.yml does not exist", "did you mean SAD.yaml"),
    "config file whose base does not exist": (
        "train_net --config-file {wrong}/no_base.yaml", "no_base.yaml",
        "absent.yaml does not exist"),
    "weights given as the config file": (
        "train_net --config-file {toy}/teacher.pth", "config", "teacher.pth"),
    "config that is no yaml": (
        "train_net --config-file {wrong}/broken.yaml", "broken.yaml", "line 1"),
    "Detectron2's LazyConfig": (
        "train_net --config-file {wrong}/lazy.py OUTPUT_DIR {out}", "lazy.py", "a yaml is wanted"),
    "folder given as the config file": (
        "train_net --config-file {toy}/labeled OUTPUT_DIR {out}", "labeled: it is a folder",
        "a yaml is wanted"),
    "config that holds no keys": (
        "train_net --config-file {wrong}/empty.yaml OUTPUT_DIR {out}", "empty.yaml",
        "holds no keys", "a yaml is wanted"),
    "unknown flag": (
        "train_net --config-file {toy}/SAD.yaml --evaluate", "--evaluate"),
    "flag after the KEY VALUE pairs": (
        TRAIN + "--resume", "--resume stands among the KEY VALUE pairs", "put it before them"),
    "key without a value": (
        TRAIN + "SOLVER.BASE_LR", "SOLVER.BASE_LR has no value", "KEY VALUE pairs"),
    "--num-gpus 0": (
        TRAIN.replace("OUT", "--num-gpus 0 OUT"), "--num-gpus is 0", "at least 1"),
    "--num-gpus that is no number": (
        TRAIN.replace("OUT", "--num-gpus all OUT"), "--num-gpus", "'all'"),
    "--num-machines 0": (
        TRAIN.replace("OUT", "--num-machines 0 OUT"), "--num-machines is 0", "at least 1"),
    "--machine-rank of a machine there is not": (
        TRAIN.replace("OUT", "--num-machines 2 --machine-rank 2 OUT"),
        "--machine-rank is 2", "below --num-machines 2"),
    "two machines without an address": (
        TRAIN.replace("OUT", "--num-machines 2 OUT"), "--dist-url tcp://HOST:PORT"),
    "address without tcp://": (
        TRAIN.replace("OUT", "--num-gpus 2 --dist-url 127.0.0.1:29500 OUT"),
        "--dist-url is 127.0.0.1:29500", "tcp://HOST:PORT"),
    "address without a port": (
        TRAIN.replace("OUT", "--num-machines 2 --dist-url tcp://node1 OUT"),
        "--dist-url is tcp://node1", "tcp://HOST:PORT"),
    "port that is none": (
        TRAIN.replace("OUT", "--num-gpus 2 --dist-url tcp://node1:295000 OUT"),
        "--dist-url is tcp://node1:295000", "tcp://HOST:PORT"),
    "--timeout nan": (
        TRAIN.replace("OUT", "--timeout nan OUT"), "--timeout", "from 0.01"),

    # TAR
    "TAR: a term of dense detectors": (
        TAR + "SAD.DISTILL.TERMS \"('feature','class')\"", "SAD.DISTILL.TERMS has class",
        "its terms are feature, roi_class, roi_box"),
    "TAR: its terms forgotten": (
        RCNN + "MODEL.META_ARCHITECTURE Distiller SAD.STUDENT.META_ARCHITECTURE GeneralizedRCNN",
        "SAD.DISTILL.TERMS has class", "does not emit"),
    "a term of regions for a RetinaNet": (
        TRAIN + "SAD.DISTILL.TERMS \"('roi_box',)\"", "SAD.DISTILL.TERMS has roi_box",
        "its terms are class, box, feature"),
    "shared proposals of a RetinaNet": (
        TRAIN + "SAD.DISTILL.PROPOSALS union", "SAD.DISTILL.PROPOSALS is union", "RetinaNet"),
    "TAR: proposals of nobody": (
        TAR + "SAD.DISTILL.PROPOSALS both", "SAD.DISTILL.PROPOSALS is 'both'",
        "one of student, teacher, union"),
    "TAR: a loss of dense detectors": (
        TAR + "SAD.DISTILL.ROI_CLASS.LOSS adl", "SAD.DISTILL.ROI_CLASS.LOSS is 'adl'",
        "one of bce, kl, l2"),
    "TAR: a gate with a typo": (
        TAR + "SAD.DISTILL.ROI_BOX.GATE proposals", "SAD.DISTILL.ROI_BOX.GATE is 'proposals'",
        "did you mean proposal?"),
    "TAR: regions with a typo": (
        TAR + "SAD.DISTILL.ROI_CLASS.PROPOSALS foreground", "SAD.DISTILL.ROI_CLASS.PROPOSALS is",
        "fg_teacher_right"),
    "TAR: temperature without a say": (
        TAR + "SAD.DISTILL.ROI_CLASS.TEMPERATURE 2.0", "SAD.DISTILL.ROI_CLASS.TEMPERATURE is 2.0",
        "no say beside SAD.DISTILL.ROI_CLASS.LOSS bce"),
    "TAR: temperature 0": (
        TAR + "SAD.DISTILL.ROI_CLASS.LOSS kl SAD.DISTILL.ROI_CLASS.TEMPERATURE 0.0",
        "SAD.DISTILL.ROI_CLASS.TEMPERATURE is 0.0", "above 0"),
    "TAR: width of a Gaussian that is a box": (
        TAR + "SAD.DISTILL.FEATURE.MASK box SAD.DISTILL.FEATURE.SIGMA2 1.0",
        "SAD.DISTILL.FEATURE.SIGMA2 is 1.0", "MASK box"),
    "TAR: mask with a typo": (
        TAR + "SAD.DISTILL.FEATURE.MASK gauss", "SAD.DISTILL.FEATURE.MASK is 'gauss'",
        "did you mean gaussian?"),
    "TAR: no layer between maps of other widths": (
        TAR + "SAD.DISTILL.FEATURE.LAYER none", "SAD.DISTILL.FEATURE.LAYER is none",
        "give auto or another layer"),
    "TAR: way of a decay that is none": (
        TAR + "SAD.DISTILL.ROI_BOX.DECAY cosine", "SAD.DISTILL.ROI_BOX.DECAY is cosine",
        "DECAY_TO"),
    "TAR: decay above 1": (
        TAR + "SAD.DISTILL.ROI_BOX.DECAY_TO 2.0", "SAD.DISTILL.ROI_BOX.DECAY_TO is 2.0",
        "from 0 to 1"),
    "TAR: weight 0": (
        TAR + "SAD.DISTILL.ROI_BOX.WEIGHT 0.0", "SAD.DISTILL.ROI_BOX.WEIGHT is 0",
        "leave roi_box out of"),
    "TAR: soft targets alone": (
        TAR + "SAD.TARGETS.UNLABELED \"('soft',)\"", "SAD.TARGETS.UNLABELED is",
        "GeneralizedRCNN is taught in the regions", "add 'hard'"),
    "a mask without hard targets": (
        TRAIN + "SAD.DISTILL.TERMS \"('feature',)\" SAD.DISTILL.FEATURE.MASK box "
        "SAD.TARGETS.UNLABELED \"('soft',)\"", "SAD.DISTILL.FEATURE.MASK box", "hard targets"),
    "TAR: global divisors": (
        TAR + "SOLVER.LOSS_NORMALIZERS global", "SOLVER.LOSS_NORMALIZERS is 'global'",
        "must be local"),
    "TAR: a teacher of another size": (
        TAR + "SAD.TEACHER.INPUT_SCALE 2.0", "SAD.TEACHER.INPUT_SCALE is 2", "must be 1"),
    "TAR: a teacher of another kind of scores": (
        TAR + "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE True", "teacher and student differ in their class",
        "the teacher has a softmax, the student sigmoids"),
    "TAR: a RetinaNet as the teacher": (
        TAR + "SAD.TEACHER.CONFIG_FILE {toy}/teacher.yaml SAD.TEACHER.WEIGHTS {toy}/teacher.pth",
        "the teacher is a RetinaNet and the student a GeneralizedRCNN", "no pair"),
    "TAR: feature maps of other strides": (
        TAR + "MODEL.ROI_HEADS.IN_FEATURES \"['p2','p3']\"", "differ in their strides",
        "the teacher has [4, 8, 16, 32], the student [4, 8]"),
    "TAR: boxes that other heads would train on": (
        TAR + "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES True",
        "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES is True", "must be False"),
    "TAR: a cascade": (
        TAR + "MODEL.ROI_HEADS.NAME CascadeROIHeads", "MODEL.ROI_HEADS.NAME is", "cascades"),

    # names of keys and types of values
    "typo in a section": (
        TRAIN + "SAD.DISTIL.LOSS kl", "SAD.DISTIL.LOSS is no key",
        "did you mean SAD.DISTILL."),
    "typo in a key": (
        TRAIN + "SOLVER.BASE_RL 0.1", "SOLVER.BASE_RL is no key", "did you mean SOLVER.BASE_LR?"),
    "key in small letters": (
        TRAIN + "solver.max_iter 5", "solver.max_iter is no key", "did you mean SOLVER.MAX_ITER?"),
    "typo in a key of a yaml": (
        "train_net --config-file {wrong}/typo.yaml", "typo.yaml", "SAD.TEECHER is no key",
        "did you mean SAD.TEACHER?"),
    "word for a number": (
        TRAIN + "SAD.DISTILL.CLASS.GAMMA two", "SAD.DISTILL.CLASS.GAMMA is two (str)",
        "must be a number"),
    "whole number for a float": (
        TRAIN + "SAD.DISTILL.CLASS.WEIGHT 1", "SAD.DISTILL.CLASS.WEIGHT is 1 (int)",
        "decimal point: 1.0"),
    "fraction of an image": (
        TRAIN + "SOLVER.IMS_PER_BATCH 2.5", "SOLVER.IMS_PER_BATCH is 2.5", "a whole number"),
    "one name for a list of names": (
        TRAIN + "DATASETS.TRAIN toy_labeled", "DATASETS.TRAIN is toy_labeled", "must be a list"),
    "value for a section": (
        TRAIN + "SAD.DISTILL kl", "SAD.DISTILL is kl", "a section of keys"),
    "None for a number": (
        TRAIN + "SOLVER.BASE_LR None", "SOLVER.BASE_LR is empty", "such as 0.001"),
    "nan in a yaml": (
        "train_net --config-file {wrong}/nan.yaml", "SAD.DISTILL.CLASS.WEIGHT is nan",
        "must be finite"),

    # values
    "negative learning rate": (
        TRAIN + "SOLVER.BASE_LR -0.01", "SOLVER.BASE_LR is -0.01", "at least 0"),
    "infinite learning rate": (
        TRAIN + "SOLVER.BASE_LR 1e999", "SOLVER.BASE_LR is inf", "must be finite"),
    "no iterations": (
        TRAIN + "SOLVER.MAX_ITER 0", "SOLVER.MAX_ITER is 0", "at least 1"),
    "empty batch": (
        TRAIN + "SOLVER.IMS_PER_BATCH 0", "SOLVER.IMS_PER_BATCH is 0", "at least 1"),
    "batch that micro-batches cannot share": (
        TRAIN + "SOLVER.ACCUMULATION_STEPS 3", "SOLVER.IMS_PER_BATCH is 2",
        "a multiple of 1 ranks"),
    "batch that cannot be scaled to the ranks": (
        TRAIN + "SOLVER.REFERENCE_WORLD_SIZE 4", "SOLVER.IMS_PER_BATCH is 2", "a multiple of"),
    "no accumulation steps": (
        TRAIN + "SOLVER.ACCUMULATION_STEPS 0", "SOLVER.ACCUMULATION_STEPS is 0", "at least 1"),
    "learning rate that drops at iterations instead of shares": (
        TRAIN + "SOLVER.LR_DROPS (60000,80000)", "SOLVER.LR_DROPS is (60000, 80000)",
        "shares of MAX_ITER"),
    "drops of the learning rate given twice": (
        TRAIN + "SOLVER.STEPS (6,8) SOLVER.LR_DROPS (0.6,0.8)", "SOLVER.STEPS is (6, 8)",
        "SOLVER.LR_DROPS is (0.6, 0.8)", "give one, and () for the other"),
    "drop of the learning rate before the start": (
        TRAIN + "SOLVER.STEPS (0,8)", "SOLVER.STEPS is (0, 8)", "above 0"),
    "unknown schedule, the nearest is named": (
        TRAIN + "SOLVER.LR_SCHEDULER_NAME CosineLR", "SOLVER.LR_SCHEDULER_NAME is 'CosineLR'",
        "did you mean WarmupCosineLR?"),
    "negative warm-up": (
        TRAIN + "SOLVER.WARMUP_ITERS -1", "SOLVER.WARMUP_ITERS is -1", "at least 0"),
    "early stop that nothing is evaluated for": (
        TRAIN + "SOLVER.EARLY_STOP.PATIENCE 3", "SOLVER.EARLY_STOP.PATIENCE 3",
        "give TEST.EVAL_PERIOD"),
    "early stop without a set to evaluate on": (
        TRAIN + "SOLVER.EARLY_STOP.PATIENCE 3 TEST.EVAL_PERIOD 2 DATASETS.TEST ()",
        "SOLVER.EARLY_STOP.PATIENCE 3", "a data set in DATASETS.TEST"),
    "early stop on a set without annotations": (
        TRAIN + "SOLVER.EARLY_STOP.PATIENCE 3 TEST.EVAL_PERIOD 2 "
        "DATASETS.REGISTER.toy_unlabeled.IMAGES {toy}/labeled "
        """DATASETS.TEST "('toy_unlabeled',)" """,
        "SOLVER.EARLY_STOP watches the AP on toy_unlabeled", "has no annotations"),
    "early stop of a rate that falls all the time": (
        TRAIN + "SOLVER.EARLY_STOP.PATIENCE 3 TEST.EVAL_PERIOD 2 "
        "SOLVER.LR_SCHEDULER_NAME WarmupCosineLR", "SOLVER.LR_SCHEDULER_NAME WarmupCosineLR",
        "give WarmupMultiStepLR"),
    "early stop beside a term that fades": (
        TRAIN + "SOLVER.EARLY_STOP.PATIENCE 3 TEST.EVAL_PERIOD 2 SAD.DISTILL.CLASS.DECAY_TO 0.5",
        "SOLVER.EARLY_STOP.PATIENCE 3", "SAD.DISTILL.CLASS.DECAY_TO", "leave one of them out"),
    "gain of an early stop that is off": (
        TRAIN + "SOLVER.EARLY_STOP.MIN_GAIN 0.5", "SOLVER.EARLY_STOP.MIN_GAIN is 0.5",
        "no say beside SOLVER.EARLY_STOP.PATIENCE 0"),
    "negative patience": (
        TRAIN + "SOLVER.EARLY_STOP.PATIENCE -1", "SOLVER.EARLY_STOP.PATIENCE is -1", "at least 0"),
    "negative clipping": (
        TRAIN + "SOLVER.CLIP_FULL_MODEL_NORM -1.0", "CLIP_FULL_MODEL_NORM is -1.0", "at least 0"),
    "checkpoint every 0 iterations": (
        TRAIN + "SOLVER.CHECKPOINT_PERIOD 0", "SOLVER.CHECKPOINT_PERIOD is 0", "at least 1"),
    "negative evaluation period": (
        TRAIN + "TEST.EVAL_PERIOD -1", "TEST.EVAL_PERIOD is -1", "at least 0"),
    "negative number of loading processes": (
        TRAIN + "DATALOADER.NUM_WORKERS -2", "DATALOADER.NUM_WORKERS is -2", "at least 0"),
    "percent for a share": (
        TRAIN + "DATALOADER.MAX_UNREADABLE 5.0", "DATALOADER.MAX_UNREADABLE is 5.0", "from 0 to 1"),
    "seed beyond 32 bits": (
        TRAIN + "SEED 5000000000", "SEED is 5000000000", "below 2147483648"),
    "unknown precision": (
        TRAIN + "SOLVER.AMP.PRECISION fp16", "AMP.PRECISION is 'fp16'", "bfloat16, float16"),
    "unknown pixel format": (
        TRAIN + "INPUT.FORMAT BGRA", "INPUT.FORMAT is 'BGRA'", "did you mean BGR?"),
    "typo in the loss": (
        TRAIN + "SAD.DISTILL.CLASS.LOSS adll", "SAD.DISTILL.CLASS.LOSS is 'adll'",
        "did you mean adl?"),
    "negative beta": (
        TRAIN + "SAD.DISTILL.CLASS.BETA -1.5", "SAD.DISTILL.CLASS.BETA is -1.5", "at least 0"),
    "typo in the targets": (
        TRAIN + """SAD.TARGETS.LABELED "('hard','sotf')" """, "SAD.TARGETS.LABELED",
        "did you mean soft?"),
    "mix ratio of 0 to 0": (
        TRAIN + "SAD.LOADER.RATIO (0,0)", "SAD.LOADER.RATIO is (0, 0)", "two counts of images"),
    "mix ratio that leaves out the unlabelled images": (
        TRAIN + "SAD.LOADER.MIX ratio SAD.LOADER.RATIO (1,0)", "SAD.LOADER.RATIO is (1, 0)",
        "each above 0"),
    "mix ratio for another mix": (
        TRAIN + "SAD.LOADER.RATIO (1,3)", "SAD.LOADER.RATIO is (1, 3)", "SAD.LOADER.MIX alternate"),
    "gamma for a loss without one": (
        TRAIN + "SAD.DISTILL.CLASS.LOSS kl SAD.DISTILL.CLASS.GAMMA 1.0",
        "SAD.DISTILL.CLASS.GAMMA is 1.0", "no say beside SAD.DISTILL.CLASS.LOSS kl", "default 2.0"),
    "normaliser for feature maps": (
        TRAIN + """SAD.DISTILL.TERMS "['feature']" SAD.DISTILL.CLASS.NORMALIZER elements""",
        "SAD.DISTILL.CLASS.NORMALIZER is elements", "no say beside SAD.DISTILL.TERMS"),
    "compiling what is not done": (
        TRAIN + "SAD.DISTILL.CLASS.COMPILE True SAD.DISTILL.CLASS.FUSED False",
        "SAD.DISTILL.CLASS.COMPILE is True", "no say beside SAD.DISTILL.CLASS.FUSED False"),
    "teacher that nothing is learnt from": (
        TRAIN + """SAD.TARGETS.LABELED "('hard',)" SAD.TARGETS.UNLABELED "('hard',)" """,
        "learns from soft targets", "SAD.TARGETS.LABELED", "add 'soft'"),
    "unlabelled images that nothing is learnt from": (
        TRAIN + """SAD.DISTILL.TERMS () SAD.TARGETS.UNLABELED "('soft',)" """,
        "SAD.TARGETS.UNLABELED is ('soft',)", "SAD.DISTILL.TERMS []", "add 'hard'"),
    "no targets at all": (
        TRAIN + "SAD.TARGETS.LABELED () SAD.TARGETS.UNLABELED ()", "SAD.TARGETS.LABELED is ()",
        "add 'hard'"),
    "distillation of weight 0": (
        TRAIN + "SAD.DISTILL.CLASS.WEIGHT 0.0", "SAD.DISTILL.CLASS.WEIGHT is 0",
        "leave class out of SAD.DISTILL.TERMS"),
    "GPU where there is none": (
        TRAIN + "MODEL.DEVICE cuda:99", "MODEL.DEVICE is cuda:99", "GPUs: give"),
    "device that torch does not know": (
        TRAIN + "MODEL.DEVICE gpu", "MODEL.DEVICE is 'gpu'", "cpu, cuda or"),

    # the network
    "detector that is not known": (
        TRAIN + "MODEL.META_ARCHITECTURE PanopticFPN", "MODEL.META_ARCHITECTURE is",
        "RetinaNet, FCOS, GeneralizedRCNN, Distiller"),
    "Faster R-CNN without its heads": (
        TRAIN + "MODEL.META_ARCHITECTURE GeneralizedRCNN", "MODEL.ROI_HEADS.NAME is",
        "must be StandardROIHeads with MODEL.META_ARCHITECTURE GeneralizedRCNN"),
    "cascade of box heads": (
        RCNN + "MODEL.ROI_HEADS.NAME CascadeROIHeads", "MODEL.ROI_HEADS.NAME is 'CascadeROIHeads'",
        "StandardROIHeads", "cascades"),
    "box head on res5": (
        RCNN + "MODEL.ROI_HEADS.NAME Res5ROIHeads", "MODEL.ROI_HEADS.NAME is 'Res5ROIHeads'",
        "StandardROIHeads", "C4"),
    "rotated boxes": (
        RCNN + "MODEL.PROPOSAL_GENERATOR.NAME RRPN", "MODEL.PROPOSAL_GENERATOR.NAME is 'RRPN'",
        "must be RPN", "not rotated"),
    "rotated boxes in the second stage": (
        RCNN + "MODEL.ROI_HEADS.NAME RROIHeads", "MODEL.ROI_HEADS.NAME is 'RROIHeads'",
        "StandardROIHeads", "rotated"),
    "proposals of a file": (
        RCNN + "MODEL.PROPOSAL_GENERATOR.NAME PrecomputedProposals",
        "MODEL.PROPOSAL_GENERATOR.NAME is", "makes its own proposals"),
    "proposals of a file beside the RPN's": (
        RCNN + "MODEL.LOAD_PROPOSALS True", "MODEL.LOAD_PROPOSALS is True", "must be False"),
    "masks of a Faster R-CNN": (
        RCNN + "MODEL.MASK_ON True", "MODEL.MASK_ON is True", "must be False"),
    "keypoints of a Faster R-CNN": (
        RCNN + "MODEL.KEYPOINT_ON True", "MODEL.KEYPOINT_ON is True", "must be False"),
    "losses of a Faster R-CNN divided globally": (
        RCNN + "SOLVER.LOSS_NORMALIZERS global", "SOLVER.LOSS_NORMALIZERS is 'global'",
        "must be local", "divides its losses"),
    "typo in the box head": (
        RCNN + "MODEL.ROI_BOX_HEAD.NAME FastRCNNConvFCHed", "MODEL.ROI_BOX_HEAD.NAME is",
        "did you mean FastRCNNConvFCHead?"),
    "box head without layers": (
        RCNN + "MODEL.ROI_BOX_HEAD.NUM_FC 0", "MODEL.ROI_BOX_HEAD.NUM_FC and NUM_CONV are 0",
        "at least one layer"),
    "thresholds of an RPN without a label for each": (
        RCNN + "MODEL.RPN.IOU_THRESHOLDS [0.5]", "MODEL.RPN.IOU_LABELS is [0, -1, 1]",
        "one more than MODEL.RPN.IOU_THRESHOLDS [0.5]"),
    "feature map that the RPN has not": (
        RCNN + """MODEL.RPN.IN_FEATURES "['p2','p3','p4','p9']" """, "no network", "p9"),
    "anchor sizes of fewer levels than the RPN's": (
        RCNN + "MODEL.ANCHOR_GENERATOR.SIZES [[16],[32]]", "MODEL.ANCHOR_GENERATOR.SIZES",
        "must be 1 or 4", "MODEL.RPN.IN_FEATURES"),
    "number of classes of a Faster R-CNN": (
        RCNN + "MODEL.ROI_HEADS.NUM_CLASSES 80", "MODEL.ROI_HEADS.NUM_CLASSES is 80",
        "must be 2"),
    "unlabelled images for a Faster R-CNN alone": (
        RCNN + """DATASETS.UNLABELED "('toy_labeled',)" """, "DATASETS.UNLABELED is",
        "Distiller"),
    "evaluation of a Faster R-CNN with a RetinaNet's weights": (
        RCNN.replace("OUT", "--eval-only OUT") + "MODEL.WEIGHTS {wrong}/student.pth",
        "MODEL.WEIGHTS", "student.pth", "do not fit the model, keys:"),
    "typo in the backbone": (
        TRAIN + "MODEL.BACKBONE.NAME build_small_resnet_fpn", "MODEL.BACKBONE.NAME is",
        "did you mean build_small_resnet_fpn_backbone?"),
    "feature map that the backbone has not": (
        TRAIN + """MODEL.RETINANET.IN_FEATURES "('p3','p4','p9')" """, "no network", "MODEL", "p9"),
    "anchor sizes of fewer levels than there are": (
        TRAIN + "MODEL.ANCHOR_GENERATOR.SIZES [[16],[32]]", "MODEL.ANCHOR_GENERATOR.SIZES",
        "must be 1 or 3"),
    "anchor sizes that are no lists": (
        TRAIN + "MODEL.ANCHOR_GENERATOR.SIZES [16,32,64]", "MODEL.ANCHOR_GENERATOR.SIZES",
        "a list"),
    "three pixel means for grey images": (
        TRAIN + "INPUT.FORMAT L", "MODEL.PIXEL_MEAN", "must be of length 1"),

    # the teacher
    "no teacher's weights": (
        TRAIN + "SAD.TEACHER.WEIGHTS ''", "SAD.TEACHER.WEIGHTS is empty",
        "give the teacher's yaml"),
    "teacher's weights that do not exist": (
        TRAIN + "SAD.TEACHER.WEIGHTS absent.pth", "teacher.yaml with absent.pth", "do not exist"),
    "LazyConfig for a teacher": (
        TRAIN + "SAD.TEACHER.CONFIG_FILE {wrong}/lazy.py", "lazy.py", "a yaml is wanted"),
    "C4 for a teacher": (
        TRAIN + "SAD.TEACHER.CONFIG_FILE {wrong}/faster_rcnn.yaml", "faster_rcnn.yaml",
        "MODEL.ROI_HEADS.NAME is 'Res5ROIHeads'"),
    "Faster R-CNN that teaches a RetinaNet": (
        TRAIN + "SAD.TEACHER.CONFIG_FILE {toy}/rcnn_teacher.yaml SAD.TEACHER.WEIGHTS "
        "{toy}/rcnn_teacher.pth", "a GeneralizedRCNN and the student a RetinaNet", "no pair"),
    "student's weights for the teacher": (
        TRAIN + "SAD.TEACHER.WEIGHTS {wrong}/student.pth", "teacher.yaml with", "student.pth",
        "do not fit"),
    "teacher of other classes": (
        TRAIN + "MODEL.RETINANET.NUM_CLASSES 3", "MODEL.RETINANET.NUM_CLASSES is 3",
        "it must be 2"),
    "teacher of other anchors": (
        TRAIN + "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS [[0.5,1.0]]", "number of anchors per cell"),

    "check of a teacher that is not named": (
        "train_net --config-file {toy}/student.yaml --check-teacher OUTPUT_DIR {out}",
        "SAD.TEACHER.CONFIG_FILE is empty", "give the teacher's yaml"),

    # data sets
    "typo in a data set": (
        TRAIN + """DATASETS.TRAIN "('toy_labelled',)" """, "DATASETS.TRAIN names 'toy_labelled'",
        "did you mean toy_labeled?"),
    "no data set": (
        TRAIN + "DATASETS.TRAIN ()", "DATASETS.TRAIN is empty", "name a labelled data set"),
    "data set that was not downloaded": (
        TRAIN + """DATASETS.TRAIN "('coco_2017_train',)" """,
        "instances_train2017.json does not exist",
        "$DETECTRON2_DATASETS"),
    "pseudo-labels that are not written yet": (
        TRAIN + "DATASETS.REGISTER.toy_pseudo_labels.JSON absent.json",
        "absent.json does not exist"),
    "images without hard targets": (
        TRAIN + """DATASETS.UNLABELED "('toy_unlabeled',)" """, "toy_unlabeled holds no boxes",
        "scripts/label_unlabeled.py"),
    "boxes given by their corners": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/corners.json", "corners.json",
        "look like corners x0, y0, x1, y1", "DATASETS.MAX_BOXES_OUTSIDE"),
    "boxes given in shares of the image": (
        TRAIN + "DATASETS.REGISTER.toy_pseudo_labels.JSON {wrong}/shares.json", "shares.json",
        "under a pixel", "DATASETS.MAX_BOXES_UNDER_A_PIXEL"),
    "labels for images of another type of id": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/text_ids.json", "holds no boxes",
        "image_id '60' is a text", "such as 10"),
    "labels that are all crowds": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/crowds.json", "holds no boxes",
        "12 crowds (iscrowd 1)"),
    "crowd flag that is none": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/crowd_flag.json", "annotations, id 1",
        "iscrowd is 'perhaps', not 0 or 1"),
    "category of another type": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/text_category.json",
        "annotations, id 1: category_id is '2', a text, the ids of categories are numbers"),
    "json of another tool": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/via.json", "it looks like VIA's"),
    "test set without a label": (
        TRAIN + "DATASETS.REGISTER.toy_unlabeled.JSON {wrong}/no_labels.json "
        "DATASETS.REGISTER.toy_unlabeled.IMAGES {toy}/labeled "
        """DATASETS.TEST "('toy_unlabeled',)" """,
        "data set toy_unlabeled holds no boxes: there are no annotations"),
    "teacher of other names": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/gray.json", "teacher.pth",
        "gray.json have other classes", "'dark' and 'gray'"),
    "teacher that does not name its classes": (
        TRAIN + "SAD.TEACHER.WEIGHTS {wrong}/nameless.pth", "nameless.pth do not name",
        "SAD.TEACHER.CLASS_NAMES"),
    "masks for a box detector": (
        TRAIN + "MODEL.MASK_ON True", "MODEL.MASK_ON is True", "must be False"),
    "data of more classes than the model": (
        "train_net --config-file {toy}/student.yaml OUTPUT_DIR {out} "
        "DATASETS.REGISTER.toy_labeled.JSON {wrong}/three_classes.json",
        "MODEL.RETINANET.NUM_CLASSES is 2", "must be 3"),
    "annotations cut short": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/cut.json", "cut.json is no whole json",
        "copy it again"),

    # images
    "image that is not there": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.IMAGES {wrong}/images",
        "toy_labeled: 1 of 6 images of", "labeled.json do not exist", "images/000004.png",
        "take them out"),
    "test image that is not there": (
        TRAIN + "DATASETS.REGISTER.toy_unlabeled.IMAGES {wrong}/images "
        """DATASETS.TEST "('toy_unlabeled',)" """, "toy_unlabeled: 1 of 6 images of",
        "images/000004.png"),
    "test image that is empty": (
        TRAIN + "DATASETS.REGISTER.toy_unlabeled.JSON {toy}/annotations/labeled.json "
        "DATASETS.REGISTER.toy_unlabeled.IMAGES {wrong}/empty "
        """DATASETS.TEST "('toy_unlabeled',)" """, "toy_unlabeled: 1 of 6 images cannot be read",
        "empty/000004.png (it is empty", "an evaluation needs every one"),
    "evaluation without one of the images": (
        TRAIN.replace("SAD", "student").replace("OUT", "--eval-only OUT")
        + "MODEL.WEIGHTS {wrong}/student.pth DATASETS.REGISTER.toy_labeled.IMAGES {wrong}/images",
        "toy_labeled: 1 of 6 images of", "images/000004.png"),
    "images of floats": (
        TRAIN + "DATASETS.REGISTER.toy_pseudo_labels.IMAGES {wrong}/floats",
        "toy_pseudo_labels: 6 of 6 images tried cannot be read", "mode F", "8 or 16 bits"),
    "images of other sizes than the annotations say": (
        TRAIN + "DATASETS.REGISTER.toy_labeled.JSON {wrong}/wider.json",
        "labeled/000001.png", "64 x 48 pixels, its annotations say 65 x 48"),
    "images of more pixels than are allowed": (
        TRAIN + "DATALOADER.MAX_IMAGE_PIXELS 3000", "64 x 48 pixels",
        "more than DATALOADER.MAX_IMAGE_PIXELS 3000"),
    "no pixels allowed": (
        TRAIN + "DATALOADER.MAX_IMAGE_PIXELS 0", "DATALOADER.MAX_IMAGE_PIXELS is 0", "at least 1"),
    "labelled images given as unlabelled ones": (
        TRAIN + "DATASETS.REGISTER.toy_pseudo_labels.IMAGES {toy}/labeled",
        "6 of 6 images of DATASETS.UNLABELED are labelled or tested on",
        "no unlabelled image is left"),

    # weights and folders
    "starting weights that do not exist": (
        TRAIN + "MODEL.WEIGHTS absent.pth", "MODEL.WEIGHTS absent.pth", "do not exist",
        "made by scripts/convert_weights.py"),
    "folder of starting weights": (
        TRAIN + "MODEL.WEIGHTS {wrong}/run", "MODEL.WEIGHTS", "run are a folder", "name a file"),
    "starting weights cut short": (
        TRAIN + "MODEL.WEIGHTS {wrong}/cut.pth", "MODEL.WEIGHTS", "cut.pth cannot be read"),
    "torchvision's weights as they are": (
        TRAIN + "MODEL.WEIGHTS {wrong}/resnet.pth", "MODEL.WEIGHTS", "resnet.pth",
        "0 of the 36 tensors", "scripts/convert_weights.py"),
    "weights of a wider network": (
        TRAIN + "MODEL.WEIGHTS {toy}/teacher.pth", "MODEL.WEIGHTS", "teacher.pth",
        "of the 36 tensors", "scripts/convert_weights.py"),
    "folder of a training that is under way": (
        "train_net --config-file {toy}/SAD.yaml OUTPUT_DIR {wrong}/busy", "OUTPUT_DIR",
        "busy is in use by process", "name another folder"),
    "folder of another run": (
        "train_net --config-file {toy}/SAD.yaml OUTPUT_DIR {wrong}/run", "OUTPUT_DIR",
        "run holds a run (last_checkpoint): give --resume"),
    "finished run that does not say its last checkpoint": (
        "train_net --config-file {toy}/SAD.yaml --resume OUTPUT_DIR {wrong}/done", "OUTPUT_DIR",
        "done holds model_final.pth", "no last_checkpoint"),
    "folder below a file": (
        "train_net --config-file {toy}/SAD.yaml OUTPUT_DIR {wrong}/cut.json/run", "OUTPUT_DIR",
        "cannot be written to", "name another folder"),
    "no folder": (
        "train_net --config-file {toy}/SAD.yaml OUTPUT_DIR ''", "OUTPUT_DIR is empty", "name a"),
    "evaluation without weights": (
        TRAIN.replace("OUT", "--eval-only OUT"), "--eval-only needs MODEL.WEIGHTS", "--resume"),
    "evaluation of a run there is not": (
        TRAIN.replace("OUT", "--eval-only --resume OUT"), "OUTPUT_DIR", "holds no checkpoint"),
    "evaluation of another network's weights": (
        TRAIN.replace("OUT", "--eval-only OUT") + "MODEL.WEIGHTS {toy}/teacher.pth",
        "MODEL.WEIGHTS", "teacher.pth", "do not fit the model, keys:"),
    "evaluation on data of other classes": (
        TRAIN.replace("SAD", "student").replace("OUT", "--eval-only OUT")
        + "MODEL.WEIGHTS {wrong}/student.pth "
        "DATASETS.REGISTER.toy_labeled.JSON {wrong}/three_classes.json",
        "MODEL.RETINANET.NUM_CLASSES is 2", "must be 3"),

    # label_unlabeled.py
    "labelling with a LazyConfig": (
        LABEL.replace("{toy}/teacher.yaml", "{wrong}/lazy.py")
        + "--weights {toy}/teacher.pth --threshold 0.5", "lazy.py", "a yaml is wanted"),
    "labelling that is under way": (
        LABEL_ALL.replace("{out}/targets.json", "{wrong}/busy.json"), "--output",
        "busy_labelling is in use by process"),
    "labelling at an address without a port": (
        LABEL_ALL + "--num-gpus 2 --dist-url tcp://node1", "--dist-url is tcp://node1",
        "tcp://HOST:PORT"),
    "labelling with weights that do not exist": (
        LABEL + "--weights absent.pth --threshold 0.5", "absent.pth", "do not exist"),
    "labelling with another network's weights": (
        LABEL + "--weights {wrong}/student.pth --threshold 0.5", "student.pth", "do not fit"),
    "labelling with a C4": (
        LABEL.replace("{toy}/teacher.yaml", "{wrong}/faster_rcnn.yaml")
        + "--weights {toy}/teacher.pth --threshold 0.5", "MODEL.ROI_HEADS.NAME is 'Res5ROIHeads'"),
    "labelling with a Faster R-CNN and a RetinaNet's weights": (
        LABEL.replace("{toy}/teacher.yaml", "{toy}/rcnn_teacher.yaml")
        + "--weights {toy}/teacher.pth --threshold 0.5", "rcnn_teacher.yaml with", "do not fit"),
    "nothing to calibrate the threshold with": (
        LABEL + "--weights {toy}/teacher.pth", "give --labeled-json"),
    "threshold in percent": (
        LABEL + "--weights {toy}/teacher.pth --threshold 50", "--threshold", "from 0 to 1"),
    "threshold for all classes and for each": (
        LABEL_ALL + "--threshold 0.5 --class-thresholds {wrong}/half.json",
        "--class-thresholds", "not allowed with argument --threshold"),
    "thresholds by class that do not exist": (
        LABEL_ALL + "--class-thresholds absent.json", "--class-thresholds absent.json",
        "cannot be opened"),
    "thresholds by class that are no json": (
        LABEL_ALL + "--class-thresholds {toy}/teacher.yaml", "teacher.yaml is no json"),
    "thresholds by class that are a list": (
        LABEL_ALL + "--class-thresholds {wrong}/list.json", "list.json is [0.5, 0.5]",
        "{class name: score}"),
    "thresholds for some of the classes": (
        LABEL_ALL + "--class-thresholds {wrong}/half.json", "half.json has no score",
        "class 'dark'", "add it"),
    "threshold for a class that the teacher has not": (
        LABEL_ALL + "--class-thresholds {wrong}/more.json", "names 'lights'",
        "did you mean light?"),
    "threshold of a class in percent": (
        LABEL_ALL + "--class-thresholds {wrong}/percent.json", "percent.json gives 'dark' 50",
        "from 0 to 1"),
    "labels of other classes than the teacher's": (
        LABEL + "--weights {toy}/teacher.pth --labeled-json {wrong}/three_classes.json",
        "the teacher and", "three_classes.json have other classes", "'gray'"),
    "typo in the set to label": (
        "label_unlabeled --config-file {toy}/SAD.yaml --weights {wrong}/student.pth "
        "--threshold 0.5 --dataset toy_unlabelled --output {out}/targets.json",
        "toy_unlabelled is no registered", "did you mean toy_unlabeled?"),
    "image folder that does not exist": (
        LABEL_ALL.replace("{toy}/unlabeled", "{toy}/absent"), "image folder",
        "absent does not exist"),
    "image folder of labelled images alone": (
        LABEL_FOLDER + "--images {toy}/labeled", "6 of 6 images of", "are labelled or tested on",
        "no unlabelled image is left"),
    "image folder of floats": (
        LABEL_FOLDER + "--images {wrong}/floats", "6 of 6 images cannot be read", "mode F",
        "8 or 16 bits"),
    "image folder of other files": (
        LABEL_FOLDER + "--images {toy}/annotations", "there are no images in", "other endings"),
    "empty batches": (
        LABEL_ALL + "--batch-size 0", "--batch-size", "at least 1"),
    "pseudo-labels written to a folder": (
        LABEL_ALL.replace("{out}/targets.json", "{wrong}"), "--output", "is a folder",
        "name the json"),
    "pseudo-labels below a file": (
        LABEL_ALL.replace("{out}", "{wrong}/cut.json"), "--output", "cannot be written to"),

    "labelling with weights that do not name their classes": (
        LABEL_ALL.replace("{toy}/teacher.pth", "{wrong}/nameless.pth"), "nameless.pth do not name",
        "--class-names"),
    "labelling by labels of other names": (
        LABEL_ALL.replace("{toy}/annotations/labeled.json", "{wrong}/gray.json"), "the teacher",
        "gray.json have other classes", "'dark' and 'gray'"),
    "labelling by labels that are all crowds": (
        LABEL_ALL.replace("{toy}/annotations/labeled.json", "{wrong}/crowds.json"),
        "no boxes to calibrate", "12 crowds"),
    "labelling by boxes given by their corners": (
        LABEL_ALL.replace("{toy}/annotations/labeled.json", "{wrong}/corners.json"),
        "look like corners x0, y0, x1, y1"),

    # calibrate.py
    "teacher judged by its training images": (
        CALIBRATE.replace("pseudo_labels.json --val-images {toy}/un",
                          "labeled.json --val-images {toy}/"),
        "the teacher was trained on", "labeled.json", "give a json of held-out images"),
    "teacher judged by images without boxes": (
        CALIBRATE.replace("{toy}/annotations/pseudo_labels.json", "{wrong}/no_labels.json"),
        "no_labels.json has no boxes to measure the teacher by", "no annotations"),
    "held-out images of other classes": (
        CALIBRATE.replace("{toy}/annotations/pseudo_labels.json", "{wrong}/gray.json"),
        "the teacher and", "gray.json have other classes"),
    "held-out images in no folder": (
        CALIBRATE.replace("--val-images {toy}/unlabeled", "--val-images {toy}/absent"),
        "image folder", "absent of", "does not exist"),
    "calibration without unlabelled images": (
        CALIBRATE, "5 of 5 images of", "no unlabelled image is left"),
    "calibration on images that cannot be read": (
        CALIBRATE.replace("{wrong}/images", "{wrong}/floats"), "none of 6 images of", "mode F"),
    "calibration of weights that do not name their classes": (
        CALIBRATE.replace("{toy}/teacher.pth", "{wrong}/nameless.pth"),
        "nameless.pth do not name", "--class-names"),
    "calibration of a teacher that is not there": (
        CALIBRATE.replace("{toy}/teacher.pth", "absent.pth"), "absent.pth", "do not exist"),
    "student's AP beyond all": (
        CALIBRATE + "--student-ap 101", "--student-ap", "from 0 to 100"),
    "no images to label": (CALIBRATE + "--to-label 0", "--to-label", "at least 1"),

    # distill.py
    "nothing to learn from": (
        "distill --output {out}", "nothing to learn from", "--labeled LABELS", "--data FOLDER"),
    "no folder to write to": ("distill " + LABELS, "--output"),
    "an empty name of the folder to write to": (
        "distill --output '' " + LABELS, "--output is empty", "name a folder"),
    "a file as the folder to write to": (
        "distill --output {toy}/SAD.yaml " + LABELS, "SAD.yaml is a file", "name a folder"),
    "a folder that another process writes to": (
        TESTED.replace("{out}", "{wrong}/busy"), "--output", "busy is in use by"),
    "labels that do not exist": (
        "distill --output {out} --labeled absent.json", "absent.json do not exist", "name a json"),
    "labels that are an image": (
        "distill --output {out} --labeled {toy}/labeled/000004.png",
        "000004.png are no json, yaml, xml or folder"),
    "a folder without labels": (
        "distill --output {out} --labeled {toy}/unlabeled", "no labels in", "COCO json"),
    "an empty folder of labels": (
        "distill --output {out} --labeled {wrong}/folder.pth", "no labels in"),
    "a json that was cut short": (
        DISTILL.replace("{toy}/annotations/labeled.json", "{wrong}/cut.json"), "cut.json",
        "no whole json"),
    "another tool's json": (
        DISTILL.replace("{toy}/annotations/labeled.json", "{wrong}/via.json"), "via.json",
        "looks like VIA's"),
    "a json without annotations": (
        DISTILL.replace("labeled.json", "image_info.json"), "image_info.json",
        "has no annotations"),
    "boxes as corners": (
        TESTED.replace("{toy}/annotations/labeled.json", "{wrong}/corners.json", 1),
        "corners.json", "look like corners"),
    "images that are elsewhere": (
        DISTILL.replace("{toy}/labeled ", "{wrong}/folder.pth "), "no images in", "folder.pth"),
    "a folder of images that does not exist": (
        DISTILL.replace("{toy}/labeled ", "{toy}/absent "), "absent does not exist", "--images"),
    "labels of two layouts": (
        "distill --output {out} --labeled {wrong}/two_layouts", "several layouts", "--layout yolo"),
    "a layout that is none": (DISTILL + "--layout coko", "--layout", "coko"),
    "a layout that does not fit": (
        DISTILL + "--layout voc", "--layout is voc", "looks like a COCO json"),
    "a data.yaml without names": (
        "distill --output {out} --labeled {wrong}/nameless.yaml", "nameless.yaml names no classes"),
    "a data.yaml that is broken": (
        "distill --output {out} --labeled {wrong}/broken.yaml", "broken.yaml", "mend it"),
    "an xml that is none of Pascal VOC": (
        "distill --output {out} --labeled {wrong}/svg", "no Pascal VOC xmls"),
    "an xml that declares entities": (
        "distill --output {out} --labeled {wrong}/entities", "declares a document type",
        "remove the declaration"),
    "hardly any labels and none to test on": (
        DISTILL, "6 labelled images and none to test on", "give --test"),
    "validation labels that do not exist": (TESTED + "--val absent.json", "absent.json do not"),
    "validation labels of other classes": (
        TESTED + "--val {wrong}/gray.json", "gray.json have other classes"),
    "no folder of unlabelled images": (
        TESTED + "--unlabeled {toy}/absent", "absent"),
    "a folder without unlabelled images": (
        TESTED + "--unlabeled {wrong}/folder.pth", "no images in", "folder.pth"),
    "a folder as --data that does not exist": (
        "distill --output {out} --data absent", "--data absent is no folder"),
    "--data beside --labeled": (
        DISTILL + "--data {toy}", "--data has no say beside --labeled"),
    "--configs beside --labeled": (
        DISTILL + "--configs {toy}", "--configs has no say beside --labeled"),
    "--minutes beside --iterations": (
        TESTED + "--minutes 3 --iterations 5", "--minutes", "--iterations"),
    "no iterations of the one command": (TESTED + "--iterations 0", "--iterations", "at least 1"),
    "no time": (TESTED + "--minutes 0", "--minutes", "at least 0.1"),
    "no process": (TESTED + "--num-gpus 0", "--num-gpus is 0"),
    "a seed below 0": (TESTED + "--seed -1", "--seed", "at least 0"),
    "a student that is no network": (
        TESTED + "--student smal", "no network 'smal'", "did you mean small"),
    "a teacher that is no network": (TESTED + "--teacher R51", "no network 'R51'", "R50"),
    "a network that timm does not know": (
        TESTED + "--teacher timm:resnet81", "resnet81", "does not know"),
    "a network of timm's without maps": (
        TESTED + "--student timm:vit_tiny_patch16_224", "vit_tiny", "8, 16, 32 are needed"),
    "a yaml as a network that does not exist": (
        TESTED + "--student absent.yaml", "absent.yaml does not exist"),
    "weights of a teacher without its yaml": (
        TESTED + "--teacher-weights {toy}/teacher.pth", "--teacher-weights goes with --teacher"),
    "weights of a teacher that do not exist": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights absent.pth", "absent.pth",
        "do not exist"),
    "weights of a teacher without names of classes": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights {wrong}/nameless.pth",
        "nameless.pth do not name their classes", "SAD.TEACHER.CLASS_NAMES"),
    "weights of another network": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights {wrong}/student.pth",
        "student.pth"),
    "a teacher of other classes": (
        TESTED.replace("--labeled {toy}/annotations/labeled.json", "--labeled {wrong}/gray.json")
        + "--teacher {toy}/teacher.yaml --teacher-weights {toy}/teacher.pth", "other classes"),
    "configs in no folder": (
        "distill --output {out} --configs absent --unlabeled x", "absent/teacher.yaml"),
    "configs that learn from unlabelled images, without any": (
        "distill --output {out} --configs {toy}", "SAD.yaml learns from unlabelled images",
        "give --unlabeled"),
    "configs with unlabelled images that do not exist": (
        "distill --output {out} --configs {toy} --unlabeled absent", "absent"),

    "images beside --data": (
        "distill --output {out} --data {toy} --images {toy}/labeled",
        "--data has no say beside --images"),
    "a student beside --configs": (
        "distill --output {out} --configs {toy} --unlabeled {toy}/unlabeled --student small",
        "--configs has no say beside --student"),
    "flips beside --configs": (
        "distill --output {out} --configs {toy} --unlabeled {toy}/unlabeled --no-flips",
        "--configs has no say beside --flips"),
    "an output among the unlabelled images": (
        TESTED.replace("{out}", "{toy}/unlabeled/out") + "--unlabeled {toy}/unlabeled",
        "lies in --unlabeled", "name a folder elsewhere"),
    "an output among all images": (
        "distill --output {toy} --data {toy}", "lies in --data", "name a folder elsewhere"),
    "an output below a file": (
        TESTED.replace("{out}", "{wrong}/cut.json/out"), "--output", "cannot be written to"),
    "an output that holds configs of something else": (
        TESTED.replace("{out}", "{wrong}/theirs"), "theirs holds configs of something else"),
    "an output that holds another program's plan": (
        TESTED.replace("{out}", "{wrong}/plan"), "plan.json is none that this command has written"),
    "an output whose record is cut short": (
        TESTED.replace("{out}", "{wrong}/cut_record") + ONCE, "cut_record/state.json is none"),
    "another student in the same output": (
        TESTED.replace("{out}", "{wrong}/planned") + ONCE + "--student small", "--student changed",
        "to be done again: student, calibration, SAD and student_long", "--redo"),
    "another seed in the same output": (
        TESTED.replace("{out}", "{wrong}/planned") + ONCE + "--seed 1", "--seed changed",
        "everything", "--redo"),
    "other labels in the same output": (
        TESTED.replace("{out}", "{wrong}/planned").replace(
            "labeled.json", "pseudo_labels.json", 1).replace("/labeled ", "/unlabeled ") + ONCE,
        "the labels of train, the labels of test changed", "--redo"),
    "a config that was broken since": (
        TESTED.replace("{out}", "{wrong}/broken_config") + ONCE, "student.yaml"),
    "labels without a box": (
        TESTED.replace("{toy}/annotations/labeled.json", "{wrong}/no_labels.json", 1),
        "no_labels.json"),
    "labels that are crowds alone": (
        TESTED.replace("{toy}/annotations/labeled.json", "{wrong}/crowds.json", 1), "crowds.json",
        "holds no boxes"),
    "test labels without a box": (
        DISTILL + "--test {wrong}/crowds.json", "crowds.json", "holds no boxes"),
    "labelled images as the unlabelled ones": (
        TESTED + "--unlabeled {wrong}/copies", "no unlabelled image is left", "labelled ones"),
    "unlabelled images that cannot be read": (
        TESTED + "--unlabeled {wrong}/floats", "no unlabelled image is left", "cannot be read"),
    "a json as the unlabelled images": (
        TESTED + "--unlabeled {toy}/annotations/image_info.json", "image_info.json is no folder"),
    "two names of one set": (
        "distill --output {out} --data {wrong}/twice", "names of one set", "leave one of them"),
    "a test set without a train set": (
        "distill --output {out} --data {wrong}/untrained", "holds test, but no train"),
    "all sets as --labeled": (
        "distill --output {out} --labeled {wrong}/sets", "holds test and train sets", "--data"),
    "YOLO's labels without images": (
        "distill --output {out} --labeled {wrong}/imageless", "has a txt of its name"),
    "a detector that is none": (
        TESTED + "--detector FasterRcnn", "--detector is 'FasterRcnn'",
        "one of RetinaNet, FasterRCNN", "did you mean FasterRCNN?"),
    "a Faster R-CNN as a student of a RetinaNet": (
        TESTED + "--teacher tiny --student {toy}/rcnn_student.yaml",
        "rcnn_student.yaml describes a GeneralizedRCNN", "another --detector"),
    "a RetinaNet as a teacher of a Faster R-CNN": (
        TESTED + "--teacher {toy}/teacher.yaml --detector FasterRCNN",
        "teacher.yaml describes a RetinaNet", "another --detector"),
    "a RetinaNet as a student of a Faster R-CNN that is there": (
        TESTED + "--teacher {toy}/rcnn_teacher.yaml --teacher-weights {toy}/rcnn_teacher.pth "
        "--student {toy}/student.yaml", "student.yaml describes a RetinaNet", "FasterRCNN"),
    "another detector than that of a teacher that is there": (
        TESTED + "--teacher {toy}/rcnn_teacher.yaml --teacher-weights {toy}/rcnn_teacher.pth "
        "--detector RetinaNet", "rcnn_teacher.yaml describes a GeneralizedRCNN", "RetinaNet"),
    "a detector beside --configs": (
        "distill --output {out} --configs {toy} --unlabeled {toy}/unlabeled --detector FasterRCNN",
        "--configs has no say beside --detector"),
    "another detector in the same output": (
        TESTED.replace("{out}", "{wrong}/planned") + ONCE + "--detector FasterRCNN",
        "--detector changed", "everything", "--redo"),
    "configs of two detectors": (
        "distill --output {out} --configs {wrong}/two_detectors --unlabeled {toy}/unlabeled",
        "teacher.yaml describes a RetinaNet", "student.yaml a GeneralizedRCNN", "of one detector"),
    "configs of a Faster R-CNN without a TAR.yaml": (
        "distill --output {out} --configs {wrong}/no_tar --unlabeled {toy}/unlabeled",
        "no_tar/TAR.yaml does not exist"),
    "a folder as a teacher's weights": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights {wrong}/run", "run"),
    "a network of timm's without a name": (TESTED + "--student timm:", "timm"),
    "configs without a test set": (
        "distill --output {out} --configs {wrong}/untested --unlabeled {toy}/unlabeled",
        "teacher.yaml tests on nothing"),
    "unlabelled images for configs that take none": (
        "distill --output {out} --configs {wrong}/supervised --unlabeled {toy}/unlabeled",
        "learns from no unlabelled images"),
    "a typo in the set of unlabelled images": (
        "distill --output {out} --configs {toy} --unlabeled toy_unlabelled",
        "toy_unlabelled is no folder and no data set", "did you mean toy_unlabeled?"),

    # inspect_data.py
    "nothing to look into": ("inspect_data --output {out}", "--labeled"),
    "labels to look into that do not exist": (
        "inspect_data --output {out} --labeled absent.json", "absent.json do not exist"),
    "one flag too many to look into a folder": (
        "inspect_data --output {out} --data {toy} --val x.json", "--val has no say beside --data"),

    # own_data_table.py
    "a row of no form": ("own_data_table --row bins", "'bins' is not of the form NAME=DIR"),
    "a row of a folder without a report": (
        "own_data_table --row bins=absent", "absent/report.json does not exist"),

    # convert_weights.py
    "weights written in a format that Detectron2 does not read": (
        SLICE + "{out}/narrow.pt", "--output", "narrow.pt", "from a .pth alone"),
    "weights written to a folder": (
        SLICE + "{wrong}/folder.pth", "--output", "is a folder", "name the .pth"),
    "narrow model that is the wider one": (
        "convert_weights slice --full-config {toy}/student.yaml --config-file {toy}/teacher.yaml "
        "--weights {wrong}/student.pth --output {out}/narrow.pth",
        "cannot be cut to", "too small"),
    "Detectron2's weights taken for torchvision's": (
        "convert_weights torchvision --weights {toy}/teacher.pth --output {out}/x.pth",
        "teacher.pth", "no state dict of a torchvision ResNet"),

    # make_digits.py
    "no labelled digits": (DIGITS + "--labeled 0", "labeled is 0", "at least 1 image"),
    "digits larger than the image": (
        DIGITS + "--object-size 16 200", "object_size is 16 to 200", "from 8 to 128"),
    "digits below a file": (
        "make_digits --root {wrong}/cut.json/digits", "cannot be written to", "cut.json/digits"),

    # report.py
    "run without a name": (REPORT + "--run {wrong}/run", "--run", "NAME=DIR"),
    "report on a run that is not finished": (
        REPORT + "--run one={wrong}/run", "config.yaml does not exist", "train_net.py --resume"),
    "report on no images": (REPORT + "--run one={wrong}/run --images 0", "--images", "at least 1"),
    "gain over nothing": (
        REPORT + "--run one={wrong}/run --distilled one", "--distilled NAME", "--baseline NAME"),
    "gain over a run that is not there": (
        REPORT + "--run one={wrong}/run --distilled one --baseline alone",
        "--baseline 'alone'", "must be one of one"),
    "other weights than the figures are of": (
        REPORT + "--run one={wrong}/run --weights model_best.pth", "model_best.pth", "--test-set"),

    # reproduce.py, imbalance.py and benchmark.py
    "table that the paper has not": ("reproduce --table 7" + TABLES, "--table", "'7'"),
    "no table": ("reproduce" + TABLES, "give --table or --sweep"),
    "seeds with spaces": (
        "reproduce --table 1 --seeds '0 1 2'" + TABLES, "--seeds is '0 1 2'", "such as 0,1,2"),
    "negative seed": (
        "reproduce --table 1 --seeds=-1" + TABLES, "--seeds is '-1'", "such as 0,1,2"),
    "runs on no GPU": ("reproduce --table 1 --num-gpus 0" + TABLES, "--num-gpus", "at least 1"),
    "sweep without running": ("reproduce --sweep --no-run" + TABLES, "--sweep", "--no-run"),
    "results written below a file": (
        "reproduce --table 1 --no-run --output {out} --tables {out} --results {wrong}/cut.json/r",
        "--results", "cannot be written to"),
    "results that are cut short": (
        "reproduce --table 1 --no-run --output {out} --tables {wrong} --results {wrong}",
        "digits.json", "restore"),
    "benchmark that does not exist": (
        "imbalance --benchmark digits8" + TABLES, "--benchmark", "'digits80'"),
    "benchmark of one round": ("benchmark --rounds 1", "--rounds", "at least 3"),
    "picture of something else": ("draw_method docs/photo.png", "unrecognized arguments"),
    "page of something else": ("write_config_page README.md", "unrecognized arguments"),
    "benchmark of a section that is none": ("benchmark --section loss", "--section", "'losses'"),
    "no jobs": ("imbalance --no-run --jobs 0" + TABLES, "--jobs", "at least 1"),
}
# fmt: on

CHANGES = {  # what is done to each annotation of a good json
    "corners": lambda coco, a: a.update(bbox=_corners(a["bbox"])),
    "shares": lambda coco, a: a.update(bbox=[value / 100 for value in a["bbox"]]),
    "text_ids": lambda coco, a: a.update(image_id=str(a["image_id"])),
    "crowds": lambda coco, a: a.update(iscrowd=1),
    "crowd_flag": lambda coco, a: a.update(iscrowd="perhaps"),
    "text_category": lambda coco, a: a.update(category_id=str(a["category_id"])),
    "gray": lambda coco, a: coco["categories"][1].update(name="gray"),
}


def _corners(box: list) -> list:
    x, y, w, h = box
    return [x, y, x + w, y + h]


IN_THE_SHELL = (
    "typo in a section",
    "C4 for a teacher",
    "folder of another run",
    "annotations cut short",
    "labelling with another network's weights",
    "negative seed",
)

# --- and how they end ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wrong(toy, tmp_path_factory):
    """A folder of files that are given in the place of others."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, text in {
        "broken.yaml": "SAD: [",
        "no_base.yaml": "_BASE_: absent.yaml",
        "typo.yaml": f"_BASE_: {toy.root}/SAD.yaml\nSAD: {{TEECHER: {{WEIGHTS: a.pth}}}}",
        "nan.yaml": f"_BASE_: {toy.root}/SAD.yaml\nSAD: {{DISTILL: {{CLASS: {{WEIGHT: .nan}}}}}}",
        "faster_rcnn.yaml": "MODEL: {META_ARCHITECTURE: GeneralizedRCNN}",
        "cut.json": json.dumps(toy.json("labeled.json"))[:500],
        "digits.json": "{",
        "half.json": '{"light": 0.5}',
        "more.json": '{"light": 0.5, "dark": 0.5, "lights": 0.5}',
        "percent.json": '{"light": 0.5, "dark": 50}',
        "list.json": "[0.5, 0.5]",
        "lazy.py": "model = dict(num_classes=2)",
        "nameless.yaml": "train: images",
        "svg/a.xml": "<svg/>",
        "entities/a.xml": '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
        "two_layouts/a.xml": "<annotation/>",
        "two_layouts/a.txt": "0 0.5 0.5 0.1 0.1",
        **{f"twice/{x}/labels/a.txt": "0 0.5 0.5 0.1 0.1" for x in ("val", "valid")},
        "untrained/test/labels/a.txt": "0 0.5 0.5 0.1 0.1",
        **{f"sets/{x}/labels/a.txt": "0 0.5 0.5 0.1 0.1" for x in ("train", "test")},
        "imageless/labels/a.txt": "0 0.5 0.5 0.1 0.1",
        "imageless/data.yaml": "names: [cat]",
        "theirs/configs/base.yaml": "MINE: 1",
        "plan/plan.json": '{"days": 3}',
        "empty.yaml": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("svg", "entities", "two_layouts"):
        Image.new("RGB", (8, 8)).save(folder / name / "a.png")
    content = toy.json("labeled.json")
    content["categories"].append({"id": 9, "name": "gray"})
    (folder / "three_classes.json").write_text(json.dumps(content))
    (folder / "via.json").write_text(json.dumps({"a.png1": {"filename": "a.png", "regions": []}}))
    for name, change in CHANGES.items():
        content = toy.json("labeled.json")
        for annotation in content["annotations"]:
            change(content, annotation)
        (folder / f"{name}.json").write_text(json.dumps(content))
    content = {**toy.json("labeled.json"), "annotations": []}
    (folder / "no_labels.json").write_text(json.dumps(content))
    content = toy.json("labeled.json")
    for image in content["images"]:
        image["width"] += 1
    (folder / "wider.json").write_text(json.dumps(content))
    shutil.copytree(toy.root / "unlabeled", folder / "images")
    (folder / "images" / "000004.png").unlink()
    shutil.copytree(toy.root / "labeled", folder / "empty")
    (folder / "empty" / "000004.png").write_bytes(b"")
    (folder / "floats").mkdir()
    for path in (toy.root / "unlabeled").iterdir():
        grey = Image.open(path).convert("F")
        grey.save(folder / "floats" / path.name, "TIFF")
    (folder / "folder.pth").mkdir()
    (folder / "run").mkdir()
    (folder / "done").mkdir()
    (folder / "done" / "model_final.pth").touch()
    (folder / "run" / "last_checkpoint").write_text("model_final.pth")
    model = build_detector(toy.cfg("student.yaml"))
    torch.save({"model": model.state_dict()}, folder / "student.pth")
    teacher = {"model": build_detector(toy.cfg("teacher.yaml")).state_dict()}
    torch.save(teacher, folder / "nameless.pth")
    (folder / "cut.pth").write_bytes((folder / "student.pth").read_bytes()[:1000])
    torch.save({"layer1.0.conv1.weight": torch.zeros(3, 3)}, folder / "resnet.pth")
    shutil.copytree(toy.root / "labeled", folder / "copies")
    write_configs(folder / "untested", toy, "DATASETS: {TEST: []}")
    write_configs(folder / "supervised", toy, "DATASETS: {UNLABELED: []}")
    rcnn = {"teacher": "rcnn_teacher", "student": "rcnn_student"}
    write_configs(folder / "two_detectors", toy, names={**rcnn, "teacher": "teacher", "TAR": "TAR"})
    write_configs(folder / "no_tar", toy, names={**rcnn, "SAD": "SAD"})
    for name in ("planned", "cut_record", "broken_config"):
        write_plan(folder / name, toy)
    (folder / "cut_record" / "state.json").write_text('{"teacher": ')
    (folder / "broken_config" / "configs" / "student.yaml").write_text("SOLVER: [")
    for name in ("busy", "busy_labelling"):
        (folder / name).mkdir()
    with locked(folder / "busy"), locked(folder / "busy_labelling"):
        yield folder


SAD_PAIR = {name: name for name in ("teacher", "student", "SAD")}


def write_configs(folder: Path, toy, last_line: str = "", names: dict = SAD_PAIR) -> None:
    folder.mkdir()
    for name, base in names.items():
        (folder / f"{name}.yaml").write_text(f"_BASE_: {toy.root}/{base}.yaml\n{last_line}\n")


def write_plan(folder: Path, toy) -> None:
    """What the first call of `sad distill` leaves, before its first step."""
    labels = toy.path("annotations/labeled.json")
    request = Request(str(folder), labels, toy.path("labeled"), test=labels, teacher="tiny")
    make_plan(request, Paths(str(folder)))


def test_the_table_covers_every_command():
    commands = {mistake[0].split()[0] for mistake in MISTAKES.values()}
    assert commands == {
        "train_net",
        *(path.stem for path in scripts() if path.stem != "install_detectron2"),
    }


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake, toy, wrong, tmp_path, monkeypatch, capsys):
    name, *arguments = filled_in(mistake, toy, wrong, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = files(toy.root, wrong, tmp_path)
    with pytest.raises(SystemExit) as exit_:
        run_script(monkeypatch, path_of(name), *arguments)
    check(mistake, exit_.value.code, capsys.readouterr().err, toy, wrong, tmp_path)
    assert files(toy.root, wrong, tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("mistake", IN_THE_SHELL)
def test_mistake_in_the_shell(mistake, toy, wrong, tmp_path):
    """From the start of the interpreter to its end; 15 s are for a machine that does no more."""
    name, *arguments = filled_in(mistake, toy, wrong, tmp_path)
    before = files(toy.root, wrong, tmp_path)
    start = os.times()
    done = subprocess.run(
        [sys.executable, path_of(name), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TRAIN_NET.parent)},
        capture_output=True,
        text=True,
    )
    end = os.times()
    check(mistake, done.returncode, done.stderr, toy, wrong, tmp_path)
    assert files(toy.root, wrong, tmp_path) == before
    computed = sum(end[i] - start[i] for i in (2, 3))  # of child processes, user and system
    assert computed < 15


def scripts() -> list[Path]:
    return sorted((REPOSITORY / "scripts").glob("*.py"))


def path_of(name: str) -> Path:
    return TRAIN_NET if name == "train_net" else REPOSITORY / "scripts" / f"{name}.py"


def filled_in(mistake: str, toy, wrong: Path, tmp_path: Path) -> list[str]:
    places = {"{toy}": toy.root, "{wrong}": wrong, "{out}": tmp_path / "out"}
    text = MISTAKES[mistake][0]
    for place, path in places.items():
        text = text.replace(place, str(path))
    return shlex.split(text)


def files(*folders: Path) -> dict:
    found = (path for folder in folders for path in folder.rglob("*"))
    paths = [path for path in found if path.name != LOCK]  # whoever looks at a folder holds it
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def check(mistake: str, code: int, stderr: str, toy, wrong: Path, tmp_path: Path) -> None:
    assert code == 2
    assert "Traceback" not in stderr
    sentences = [line.partition("error: ")[2] for line in stderr.splitlines() if "error: " in line]
    assert len(sentences) == 1 and stderr.rstrip().endswith(sentences[0])
    for part in MISTAKES[mistake][1:]:
        assert part in sentences[0]
    for folder in (toy.root, wrong, tmp_path):  # pytest's are long
        sentences[0] = sentences[0].replace(str(folder), "")
    assert len(sentences[0]) < 350
