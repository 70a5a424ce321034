"""One training iteration, and what it is made of.

The floor of distillation is the student's own iteration plus the part of the teacher's forward that
is needed, taken from the same round: the class branch for SAD; for TAR backbone and box head, on as
many regions as the student samples. "The simple way" computes the whole teacher and the losses as
written, in torch's own order of memory, with the teacher's batch norms as layers of their own. Else
these are folded into its convolutions. Every arm trains on one batch that lies in memory, in the
same precision.

The last rows of each config, at small size alone, are ratios of two arms. Where the teacher's
answers are kept they are computed and written, or read, for each batch. "Readers" are
DATALOADER.NUM_WORKERS, which read the answers and send the batch to the process that trains.
"""

import os
import tempfile
from functools import partial
from itertools import repeat

import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from ...config.detector_keys import TWO_STAGES, keys_of, value_of
from ...config.load import get_sad_cfg
from ...engine.step import SADStep
from ...modeling.build import build_detector, settle
from ...modeling.distiller import Distiller
from ...modeling.fold_norms import fold_norms
from ...modeling.teacher import teacher_answer, teacher_outputs
from ...utils.clock import Arms, take_turns
from .kept import kept_rows
from .timing import Options, Table, compare, peak_memory

# Configs that distill, images of a batch, their height and width.
SIZES = {
    "small": [
        ("configs/digits/SAD_ADL.yaml", 8, (128, 128)),
        ("configs/digits80/student_ADL.yaml", 8, (128, 128)),
        ("configs/digits/FasterRCNN/TAR.yaml", 8, (128, 128)),
    ],
    "coco": [
        ("configs/COCO/SAD_R50_600_from_R101.yaml", 16, (600, 800)),
        ("configs/COCO/TAR_R50_from_R101.yaml", 16, (800, 1088)),
    ],
}
OBJECTS = 6


def make_batch(num_classes: int, num_images: int, size: tuple[int, int]) -> list[dict]:
    """Labelled images with soft targets, as the loader gives them: noise with random boxes."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    batch = []
    for number in range(num_images):
        corners = torch.rand(OBJECTS, 2, generator=generator) * 0.7
        sides = 0.1 + 0.2 * torch.rand(OBJECTS, 2, generator=generator)
        boxes = torch.cat([corners, corners + sides], dim=1)
        instances = Instances(size)
        instances.gt_boxes = Boxes(boxes * torch.tensor([width, height, width, height]))
        instances.gt_classes = torch.randint(num_classes, (OBJECTS,), generator=generator)
        batch.append(
            {
                "image": torch.randint(256, (3, *size), dtype=torch.uint8, generator=generator),
                "instances": instances,
                "image_id": number,
                "hard_targets": True,
                "soft_targets": True,
                "unreadable": [],
            }
        )
    return batch


def tame(model):
    """Random weights under frozen batch norm: each of many blocks would double what it is given."""
    for module in model.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.weight.fill_(0.3)
    return model


class Repeated:
    """A loader of one batch, again and again."""

    def __init__(self, batch: list[dict]):
        self.dataset = batch

    def __iter__(self):
        return repeat(self.dataset)


def make_step(cfg, batch: list[dict], teacher) -> SADStep:
    torch.manual_seed(0)
    model = tame(settle(build_model(cfg), cfg)).train()
    if isinstance(model, Distiller):
        model.attach_teacher(teacher)
    return SADStep(model, Repeated(batch), build_optimizer(cfg, model), cfg)


def with_box_branch(teacher):
    """A teacher that computes its boxes too, whenever its class logits are asked for."""

    def boxes(backbone, images, features):
        for name in teacher.head_in_features:
            teacher.head.bbox_pred(teacher.head.bbox_subnet(features[name]))

    teacher.backbone.register_forward_hook(boxes)


def dense_arms(cfg, teacher, batch: list[dict], step) -> Arms:
    """Of a RetinaNet or FCOS; `step` is as of `run_config`. The second is the teacher's part."""
    as_written, own_order = ("SAD.DISTILL.CLASS.FUSED", "False"), ("MODEL.CHANNELS_LAST", "False")
    compiled = "SAD.DISTILL.CLASS.COMPILE"
    return {
        "student": step("MODEL.META_ARCHITECTURE", cfg.SAD.STUDENT.META_ARCHITECTURE).run_step,
        "teacher, class branch": partial(
            teacher_outputs,
            teacher,
            [item["image"] for item in batch],
            cfg.INPUT.FORMAT,
            {"logits"},
            cfg.SAD.TEACHER.PRECISION,
        ),
        "SAD": step(compiled, "never").run_step,
        "SAD, losses as written": step(*as_written).run_step,
        "SAD, losses compiled": step(compiled, "always").run_step,
        "SAD, torch's order of memory": step(compiled, "never", *own_order).run_step,
        "SAD, batch norms not folded": step(compiled, "never", folded=False).run_step,
        "simple way": step(*as_written, *own_order, folded=False, whole_teacher=True).run_step,
    }


def two_stage_arms(cfg, teacher, batch: list[dict], step) -> Arms:
    """Of a Faster R-CNN; else as `dense_arms`."""
    tar = step()
    distiller, precision = tar.model, cfg.SAD.TEACHER.PRECISION
    prepared = next(distiller.prepare([batch]))
    targets = prepared.targets
    distiller.adapter.student_outputs(  # which samples regions
        distiller.student, prepared.images, targets, {}, distiller.proposals
    )

    def teach():
        images = [item["image"] for item in batch]
        outputs = teacher_outputs(teacher, images, cfg.INPUT.FORMAT, distiller.need, precision)
        teacher_answer(teacher, outputs, targets, distiller.need, precision)

    return {
        "student": step("MODEL.META_ARCHITECTURE", cfg.SAD.STUDENT.META_ARCHITECTURE).run_step,
        "teacher, backbone and box head": teach,
        "TAR": tar.run_step,
        "TAR, batch norms not folded": step(folded=False).run_step,
    }


def run_config(
    options: Options, config: str, num_images: int, size, folder: str
) -> dict[str, dict]:
    """`folder`: see `kept_rows`."""
    own = ["MODEL.DEVICE", options.device, "MODEL.WEIGHTS", "", "SOLVER.BASE_LR", "1e-6"]
    if options.device == "cuda":
        own += ["SOLVER.AMP.ENABLED", "True", "SAD.TEACHER.PRECISION", "bfloat16"]

    def configure(*opts, folded=True):
        cfg = get_sad_cfg(config, [*own, *opts])
        torch.manual_seed(1)
        file, layout = cfg.SAD.TEACHER.CONFIG_FILE, str(cfg.MODEL.CHANNELS_LAST)
        of_teacher = get_sad_cfg(file, [*own[:4], "MODEL.CHANNELS_LAST", layout])
        teacher = tame(build_detector(of_teacher)).requires_grad_(False).eval()
        if folded:
            fold_norms(teacher)
        return cfg, teacher

    cfg, teacher = configure()
    keys = keys_of(cfg)
    batch = make_batch(value_of(cfg, keys.num_classes), num_images, size)

    def step(*opts, folded=True, whole_teacher=False):
        cfg, teacher = configure(*opts, folded=folded)
        if whole_teacher:
            with_box_branch(teacher)
        return make_step(cfg, batch, teacher)

    with EventStorage():
        arms = (two_stage_arms if keys == TWO_STAGES else dense_arms)(cfg, teacher, batch, step)
        times = take_turns(arms, options.rounds, options.device)
        memory = {name: peak_memory(arm, options.device) for name, arm in arms.items()}
        student_alone = ("MODEL.META_ARCHITECTURE", cfg.SAD.STUDENT.META_ARCHITECTURE)
        kept = {}
        # An answer of COCO's size takes 15 MB or more, so that a batch would be timed by the disk.
        if options.size == "small":
            least, dense = cfg.SAD.TEACHER.CACHE.FLOOR, keys != TWO_STAGES
            method = "SAD" if dense else "TAR"
            kept = kept_rows(options, batch, folder, least, student_alone, step, method, dense)
    student, part = list(arms)[:2]
    floor = f"{student} + {part}"
    times[floor] = [sum(pair) for pair in zip(times[student], times[part], strict=True)]
    rows = compare(times, floor)
    for name, size_in_bytes in memory.items():
        rows[name]["peak memory (MB)"] = size_in_bytes / 1e6
    return rows | kept


def run(options: Options) -> Table:
    rows, notes = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for config, num_images, size in SIZES[options.size]:
            name = config.removeprefix("configs/").removesuffix(".yaml")
            answers = os.path.join(folder, name)
            found = run_config(options, config, num_images, size, answers)
            rows |= {f"{name}: {arm}": row for arm, row in found.items()}
            notes.append(f"{name}: batch {num_images}, {size[0]} x {size[1]} pixels.")
    notes = [" ".join(notes), *__doc__.split("\n\n")[1:]]
    return Table("A training iteration", rows, notes, options.rounds)
