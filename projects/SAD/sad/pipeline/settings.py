"""Settings that fit the data and the machine, each with its reason."""

import math

import torch
from fvcore.nn import ActivationCountAnalysis

from ..config.defaults import detector_name, flat
from ..config.load import get_sad_cfg
from ..modeling.anchor_advice import find_better
from ..modeling.anchor_fit import IOU, as_trained, best_iou
from ..modeling.build import build_detector
from .detectors import Detector, kind_of
from .facts import Facts, Machine
from .networks import Network
from .yaml_text import Setting, as_settings

BATCH = 8  # images; the networks' learning rates are for so many
EPOCHS = 30  # of the labelled images for a teacher that starts from pre-trained weights
LEAST, MOST = 600, 90_000  # iterations of such a teacher
LONGER = 4.5  # times as many for students, and for a teacher that starts from random weights
ROUNDS = 0  # of self-training of the teacher
ROUND = 2  # iterations of a round of self-training for one of the teacher
SMALL_BOX = 8  # pixels; of the boxes nine in ten shall be at least so large
LIMITS = {"cpu": (320, 640), "gpu": (1333, 1333)}  # longer side: without need, and at most
GROWN = 2  # times the latter at most, where no anchor fits the boxes
CROP = 0.6  # of an image's sides is seen at least
BYTES_PER_ACTIVATION = 4 * 4  # float32: output, norm, ReLU, gradient


def choose_size(facts: Facts, machine: Machine, given: int | None = None) -> Setting:
    """The longer side of the images in training and in use; unless given, a multiple of 32."""
    if given:
        why = f"as --size asks for; {_small(facts, given):.0%} of the boxes"
        return Setting("INPUT.MAX_SIZE_TRAIN", given, f"{why} are below {SMALL_BOX} pixels")
    usual, most = LIMITS[_device(machine)]
    size = _up(min(facts.long_side, usual))
    why = f"the images' longer side, {facts.long_side} pixels (median)"
    if facts.long_side > usual:
        why += f", brought to what {'a GPU' if machine.gpus else 'a CPU'} trains in time"
    while size + 32 <= min(most, facts.long_side) and _small(facts, size) > 0.1:
        size += 32
        why = f"so that at most a tenth of the boxes is below {SMALL_BOX} pixels"
    return Setting("INPUT.MAX_SIZE_TRAIN", size, f"{why}; {_small(facts, size):.0%} are smaller")


def _device(machine: Machine) -> str:
    return "gpu" if machine.gpus else "cpu"


def _small(facts: Facts, size: int) -> float:
    return (facts.sides_at(size) < SMALL_BOX).double().mean().item()


def _up(size: float) -> int:
    return 32 * math.ceil(size / 32)


def base_settings(
    facts: Facts,
    machine: Machine,
    networks: list[Network],
    *,
    flips: tuple[bool, str],
    size: int | None = None,
) -> list[Setting]:
    """What teacher and students have in common.

    Args:
        networks: teacher and student.
        flips: whether images may be mirrored, and why (not).
        size: the longer side of the images, in pixels; chosen if it is not given.
    """
    largest = size or GROWN * LIMITS[_device(machine)][1]
    size = choose_size(facts, machine, size)
    detector = networks[0].detector
    levels = detector.levels(size.value, any(network.has_all_levels for network in networks))
    found = [
        Setting("MODEL.META_ARCHITECTURE", detector.architecture),
        Setting("MODEL.WEIGHTS", ""),
        *detector.level_settings(*levels),
        Setting(detector.keys.num_classes, len(facts.class_names), _listed(facts.class_names)),
        size,
        Setting("INPUT.MIN_SIZE_TRAIN", [size.value]),
        Setting("INPUT.MIN_SIZE_TEST", size.value),
        Setting("INPUT.MAX_SIZE_TEST", size.value),
        *_usual(detector, facts, machine, flips),
    ]
    return [*found, *_anchors(facts, networks[0], found, largest)]


def followed_settings(
    teacher_cfg, facts: Facts, machine: Machine, *, flips: tuple[bool, str]
) -> list[Setting]:
    """What a student must have in common with a teacher that is there already."""
    as_taught = "as the teacher"
    architecture = detector_name(teacher_cfg)
    detector = kind_of(architecture)
    followed = [
        *("MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"),
        *("MODEL.ANCHOR_GENERATOR.OFFSET", *detector.followed),
        *("INPUT.MIN_SIZE_TRAIN", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "INPUT.MAX_SIZE_TRAIN"),
        *("INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST"),
    ]
    values = dict(flat(teacher_cfg))
    return [
        Setting("MODEL.META_ARCHITECTURE", architecture, as_taught),
        Setting("MODEL.WEIGHTS", ""),
        *detector.levels_as(values),
        *(Setting(key, values[key], as_taught) for key in followed),
        *_usual(detector, facts, machine, flips),
    ]


def _usual(
    detector: Detector, facts: Facts, machine: Machine, flips: tuple[bool, str]
) -> list[Setting]:
    """What depends on neither the boxes' sizes nor the teacher."""
    curve = "a curve of precision and recall needs all"
    return [
        *detector.head(facts),
        Setting(detector.keys.score_threshold, 0.001, curve),
        *_most_detections(facts),
        Setting("INPUT.RANDOM_FLIP", "horizontal" if flips[0] else "none", flips[1]),
        Setting(
            "INPUT.CROP.ENABLED",
            True,
            "few images are learned by heart less soon where parts are seen",
        ),
        Setting("INPUT.CROP.TYPE", "relative_range"),
        Setting("INPUT.CROP.SIZE", [CROP, CROP], "height and width, at least this share"),
        Setting(
            "DATALOADER.FILTER_EMPTY_ANNOTATIONS",
            not facts.num_negative,
            f"{facts.num_negative} labelled images show none of the objects",
        ),
        Setting("DATALOADER.NUM_WORKERS", *_workers(machine)),
        Setting("SOLVER.IMS_PER_BATCH", _batch(machine)),
        Setting("SOLVER.WARMUP_ITERS", 100),
        Setting("SOLVER.CLIP_FULL_MODEL_NORM", 1.0, "a few wild batches shall not end the run"),
    ]


def _most_detections(facts: Facts) -> list[Setting]:
    """More than Detectron2's 100 for an image where that many objects are seen."""
    if 2 * facts.most_boxes <= 100:
        return []
    why = f"nineteen of twenty labelled images show at most {facts.most_boxes} objects"
    return [Setting("TEST.DETECTIONS_PER_IMAGE", 100 * math.ceil(facts.most_boxes / 50), why)]


def _batch(machine: Machine) -> int:
    """Images of a step, the same number on each rank."""
    if machine.gpus:
        return BATCH * machine.gpus
    return machine.ranks * math.ceil(BATCH / machine.ranks)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _workers(machine: Machine) -> tuple[int, str]:
    if machine.cores <= 2:
        return 0, f"{machine.cores} cores are best left to training itself"
    return min(4, machine.cores // max(1, machine.gpus)), f"{machine.cores} cores"


def as_cfg(settings: list[Setting]):
    pairs = [x for setting in settings for x in (setting.key, setting.value)]
    return get_sad_cfg("", pairs)


def _anchors(
    facts: Facts, network: Network, others: list[Setting], largest: float
) -> list[Setting]:
    """Of so many times the strides as overlaps the boxes most; where these miss many, others, and
    larger images up to a longer side of `largest` pixels.
    """
    found = []
    for times in network.detector.times_stride:
        cfg = as_cfg(
            [*as_settings(network.keys), *others, *_regular(times, network.detector, others)]
        )
        model = build_detector(cfg)
        overlap = best_iou(cfg, model, as_trained(cfg, facts.boxes, facts.sizes)).double()
        found.append((overlap.mean().item(), (overlap >= IOU).double().mean().item(), times, cfg))
    _, before, times, cfg = max(found, key=lambda one: one[0])
    better, after = find_better(cfg, model, facts.boxes, facts.sizes, largest)
    chosen, generator = [], better.MODEL.ANCHOR_GENERATOR
    if better.INPUT.MAX_SIZE_TRAIN != cfg.INPUT.MAX_SIZE_TRAIN:
        grown = "no anchor fits the boxes of smaller images"
        chosen = [
            Setting(f"INPUT.{key}", better.INPUT[key], grown)
            for key in ("MIN_SIZE_TRAIN", "MAX_SIZE_TRAIN", "MIN_SIZE_TEST", "MAX_SIZE_TEST")
        ]
    usual = f"{times} times the strides"
    why = f"for {after:.1%} of the boxes an anchor of IoU {IOU} or more, "
    why += f"of {usual} for {before:.1%}" if better is not cfg else usual
    return [
        *chosen,
        Setting("MODEL.ANCHOR_GENERATOR.SIZES", [list(x) for x in generator.SIZES], why),
        Setting("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [list(x) for x in generator.ASPECT_RATIOS]),
    ]


def _regular(times: float, detector: Detector, others: list[Setting]) -> list[Setting]:
    """The first size of each map of so many times its stride, the others within the octave."""
    names = next(x.value for x in others if x.key == detector.keys.anchor_levels)
    levels, steps = [int(name.removeprefix("p")) for name in names], detector.per_octave
    sizes = [[round(times * 2 ** (level + k / steps), 1) for k in range(steps)] for level in levels]
    return [
        Setting("MODEL.ANCHOR_GENERATOR.SIZES", sizes),
        Setting("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[0.5, 1.0, 2.0]]),
        Setting("MODEL.DEVICE", "meta"),
    ]


def accumulation(settings: list[Setting], network: Network, machine: Machine) -> Setting:
    """Micro-batches, so that a step fits into the memory."""
    cfg = as_cfg([*as_settings(network.keys), *settings, Setting("MODEL.DEVICE", "cpu")])
    cfg.MODEL.WEIGHTS = ""
    model = build_detector(cfg).train()
    size = _up(cfg.INPUT.MAX_SIZE_TRAIN)
    image = torch.zeros(1, len(cfg.MODEL.PIXEL_MEAN), size, size)
    count = ActivationCountAnalysis(model.backbone.eval(), image).unsupported_ops_warnings(False)
    # Ranks have a GPU each, but share the memory of a machine without one.
    of_rank = _batch(machine) // machine.ranks
    images = of_rank if machine.gpus else _batch(machine)
    needed = 2 * count.total() * BYTES_PER_ACTIVATION * images  # the head as much again
    parts = [n for n in range(1, of_rank + 1) if of_rank % n == 0]
    steps = next((n for n in parts if needed / n <= 0.6 * machine.memory), of_rank)
    gigabytes = needed / 1e9
    return Setting(
        "SOLVER.ACCUMULATION_STEPS",
        steps,
        f"{images} images a step need about {gigabytes:.1f} GB of {machine.memory / 1e9:.0f}",
    )


def student_iterations(facts: Facts, machine: Machine) -> tuple[int, str]:
    wanted = round(EPOCHS * facts.num_labeled / _batch(machine), -1)
    iterations = min(max(wanted, LEAST), MOST)
    why = f"{EPOCHS * LONGER:g} times the {facts.num_labeled} labelled images"
    if iterations != wanted:
        why = f"{'at least' if iterations == LEAST else 'at most'} so many"
    return round(LONGER * iterations), why


def teacher_iterations(of_student: int, is_pretrained: bool) -> tuple[int, str]:
    """Pre-trained weights, which students have not, need so much less."""
    if not is_pretrained:
        return of_student, "as the students: it starts from random weights"
    why = f"the students' by {LONGER}: it starts from pre-trained weights"
    return max(1, round(of_student / LONGER)), why
