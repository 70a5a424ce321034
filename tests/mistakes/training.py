"""Mistakes of training and evaluation: train_net; see tests/field/test_mistakes.py."""

TRAIN = "train_net --config-file {toy}/SAD.yaml OUTPUT_DIR {out} "
RCNN = "train_net --config-file {toy}/rcnn_student.yaml OUTPUT_DIR {out} "
KEPT = TRAIN + "SAD.TEACHER.CACHE.DIR {out}/answers "
TAR = "train_net --config-file {toy}/TAR.yaml OUTPUT_DIR {out} "
LABELS = "--labeled {toy}/annotations/labeled.json --images {toy}/labeled "
DISTILL = "distill --output {out} " + LABELS

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

    # where a run is watched
    "a service that is none": (
        TRAIN + "SAD.WATCH.TO \"('wandbb',)\"", "SAD.WATCH.TO is ('wandbb',)", "wandb, mlflow",
        "did you mean wandb?"),
    "a service that is no list": (
        TRAIN + "SAD.WATCH.TO wandb", "SAD.WATCH.TO is wandb", "a list"),
    "fewer pictures than none": (
        TRAIN + "SAD.WATCH.PICTURES -1", "SAD.WATCH.PICTURES is -1", "at least 0"),

    # the teacher's answers that are kept
    "kept answers of random crops": (
        KEPT + "INPUT.CROP.ENABLED True", "SAD.TEACHER.CACHE.DIR", "INPUT.CROP.ENABLED is True"),
    "kept answers in sizes of a range": (
        KEPT + "INPUT.MIN_SIZE_TRAIN_SAMPLING range", "INPUT.MIN_SIZE_TRAIN_SAMPLING is range",
        "choice"),
    "kept feature maps": (
        KEPT + "SAD.DISTILL.TERMS \"('feature',)\"", "SAD.DISTILL.FEATURE.MASK is none",
        "leave the folder out"),
    "kept proposals": (
        TAR + "SAD.TEACHER.CACHE.DIR {out}/answers SAD.DISTILL.PROPOSALS union",
        "SAD.DISTILL.PROPOSALS is union", "not kept"),
    "kept answers for a loss of all logits alike": (
        KEPT + "SAD.DISTILL.CLASS.LOSS l2", "SAD.DISTILL.CLASS.LOSS is l2"),
    "a floor of kept scores that is a percentage": (
        KEPT + "SAD.TEACHER.CACHE.FLOOR 1.0", "SAD.TEACHER.CACHE.FLOOR is 1.0", "below 1"),
    "a floor and no folder": (
        TRAIN + "SAD.TEACHER.CACHE.FLOOR 0.01", "SAD.TEACHER.CACHE.FLOOR is 0.01",
        "SAD.TEACHER.CACHE.DIR ''"),
    "less than no room on the disk": (
        KEPT + "SAD.TEACHER.CACHE.LEAVE_FREE_GB -1.0", "SAD.TEACHER.CACHE.LEAVE_FREE_GB is -1.0",
        "at least 0"),
    "kept answers in a file": (
        KEPT.replace("{out}/answers", "{toy}/SAD.yaml"), "SAD.TEACHER.CACHE.DIR",
        "name another folder"),

    # TAR
    "TAR: a term of dense detectors": (
        TAR + "SAD.DISTILL.TERMS \"('feature','class')\"", "SAD.DISTILL.TERMS has class",
        "its terms are feature, roi_class, roi_box"),
    "TAR: a key of RetinaNet": (
        TAR + "MODEL.RETINANET.SCORE_THRESH_TEST 0.3", "MODEL.RETINANET.SCORE_THRESH_TEST has no",
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
    "Detectron2's pictures of a step": (
        TRAIN + "VIS_PERIOD 20", "VIS_PERIOD is 20", "MODEL.META_ARCHITECTURE Distiller"),
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
    "a mask beside another loss of feature maps": (
        TAR + "SAD.DISTILL.FEATURE.LOSS pkd SAD.DISTILL.FEATURE.MASK box",
        "SAD.DISTILL.FEATURE.MASK is box", "no say beside SAD.DISTILL.FEATURE.LOSS pkd"),
    "a loss of feature maps with a typo": (
        TAR + "SAD.DISTILL.FEATURE.LOSS pdk", "SAD.DISTILL.FEATURE.LOSS is 'pdk'",
        "did you mean pkd?"),
    "temperature of feature maps that are not divided": (
        TAR + "SAD.DISTILL.FEATURE.TEMPERATURE 2.0", "SAD.DISTILL.FEATURE.TEMPERATURE is 2.0",
        "no say beside SAD.DISTILL.FEATURE.LOSS l2"),
    "top anchors of logits that are subtracted": (
        TRAIN + "SAD.DISTILL.CLASS.LOSS l2 SAD.DISTILL.CLASS.TOP 0.01",
        "SAD.DISTILL.CLASS.TOP is 0.01", "no say beside SAD.DISTILL.CLASS.LOSS l2"),
    "more than all anchors": (
        TRAIN + "SAD.DISTILL.CLASS.TOP 1.5", "SAD.DISTILL.CLASS.TOP is 1.5", "from 0 to 1"),
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
    "mask of objects divided globally": (
        TRAIN + "SAD.DISTILL.TERMS \"('feature',)\" SAD.DISTILL.FEATURE.MASK box "
        "SOLVER.LOSS_NORMALIZERS global", "SAD.DISTILL.FEATURE.MASK box",
        "SOLVER.LOSS_NORMALIZERS global", "make it local"),
    "a decay of a single step": (
        TRAIN + "SAD.DISTILL.CLASS.DECAY_TO 0.0 SAD.DISTILL.CLASS.DECAY_STEPS 1",
        "SAD.DISTILL.CLASS.DECAY_STEPS is 1", "0 or at least 2"),
    "TAR: global divisors": (
        TAR + "SOLVER.LOSS_NORMALIZERS global", "SOLVER.LOSS_NORMALIZERS is 'global'",
        "must be local"),
    "TAR: a teacher of another size": (
        TAR + "SAD.TEACHER.INPUT_SCALE 2.0", "SAD.TEACHER.INPUT_SCALE is 2", "must be 1"),
    "TAR: a teacher of another kind of scores": (
        TAR + "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE True", "teacher and student differ in their class",
        "the teacher has a softmax, the student sigmoids"),
    "TAR: a teacher of other classes": (
        TAR + "SAD.TEACHER.CLASS_NAMES \"('nut','bolt')\"",
        "rcnn_teacher.pth: the weights and the class names given have other classes", "nut"),
    "TAR: more classes than the images have": (
        TAR + "MODEL.ROI_HEADS.NUM_CLASSES 3", "MODEL.ROI_HEADS.NUM_CLASSES", "3"),
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
        TRAIN + "SAD.DISTILL.CLASS.COMPILE always SAD.DISTILL.CLASS.FUSED False",
        "SAD.DISTILL.CLASS.COMPILE is always", "no say beside SAD.DISTILL.CLASS.FUSED False"),
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
}
# fmt: on
