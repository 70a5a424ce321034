"""The teacher's inference: images -> batches -> detections -> threshold -> json -> report."""

import logging
from functools import cache
from itertools import groupby

import numpy as np
import torch
from detectron2.data import DatasetFromList, DatasetMapper, MapDataset
from detectron2.data.build import trivial_batch_collator
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.structures import ImageList
from detectron2.utils import comm
from torch.utils.data import DataLoader
from tqdm import tqdm

from . import pseudo_labels
from .config import get_sad_cfg
from .errors import UserError
from .label_job import LabelingJob, reason
from .label_report import write_report
from .pseudo_labels import DETECTION
from .teacher import load_retinanet

logger = logging.getLogger(__name__)


def form_batches(
    padded: list[tuple[int, int]], resized: list[tuple[int, int]], batch_size: int
) -> list[list[int]]:
    """Group images for inference so that no image's padding depends on its batch.

    A convolution near the right and lower border sees the padding, so an image's logits depend on
    the padded shape of its batch. Here all images of a batch have the same padded shape, which is
    the one they have alone. The batches do not depend on the number of processes either.

    Args:
        padded, resized: (height, width) of each image with and without padding.
    Returns:
        lists of positions; largest shapes first, so that too little memory shows at once.
    """

    def key(position):
        height, width = padded[position]
        return -height * width, padded[position], resized[position]

    batches = []
    order = sorted(range(len(padded)), key=key)  # stable: equal shapes stay in the list's order
    for _, group in groupby(order, key=lambda position: padded[position]):
        group = list(group)
        batches += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    return batches


def _shapes(model, cfg, images: list[dict]) -> tuple[list, list]:
    """(height, width) that the teacher computes each image at: (padded, resized)."""

    @cache
    def resize(height, width):
        size = cfg.INPUT.MIN_SIZE_TEST
        if size == 0:  # Detectron2: no resizing
            return height, width
        return ResizeShortestEdge.get_output_shape(height, width, size, cfg.INPUT.MAX_SIZE_TEST)

    @cache
    def pad(height, width):
        image = torch.empty((1, height, width), device="meta")  # a shape without memory
        backbone = model.backbone
        return tuple(
            ImageList.from_tensors(
                [image],
                backbone.size_divisibility,
                padding_constraints=backbone.padding_constraints,
            ).tensor.shape[-2:]
        )

    resized = [resize(image["height"], image["width"]) for image in images]
    return [pad(*shape) for shape in resized], resized


class ReadOrReport:
    """Detectron2's mapper at test time; an image it cannot read comes with the reason instead."""

    def __init__(self, cfg):
        self.mapper = DatasetMapper(cfg, is_train=False)

    def __call__(self, record: dict) -> dict:
        try:
            return self.mapper(record)
        except Exception as error:  # decoders raise anything, from OSError to struct.error
            return {**record, "unreadable": reason(error)}


@torch.no_grad()
def predict(
    model, cfg, job: LabelingJob, positions: list[int], batches: list[list[int]]
) -> tuple[np.ndarray, dict[int, str]]:
    """Run the teacher over this process's batches of `positions`' indices.

    Images are read by DATALOADER.NUM_WORKERS processes.

    Returns:
        (M,) array of DETECTION, by falling score within an image; {position: why unreadable}
    Raises:
        UserError: too many of these images are unreadable.
    """
    records = [
        {
            "position": position,
            "file_name": job.path(position),
            "height": job.images[position]["height"],
            "width": job.images[position]["width"],
        }
        for position in positions
    ]
    loader = DataLoader(
        MapDataset(DatasetFromList(records, copy=False), ReadOrReport(cfg)),
        batch_sampler=batches,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
    )
    found, unreadable = [np.empty(0, DETECTION)], {}
    description = f"labelling (1 of {comm.get_world_size()} processes)"
    with tqdm(
        desc=description if comm.get_world_size() > 1 else "labelling",
        total=sum(map(len, batches)),
        unit="image",
        mininterval=1,  # a log file keeps every update
        disable=not comm.is_main_process(),
    ) as progress:
        for batch in loader:
            for item in batch:
                if "unreadable" in item:
                    logger.warning(f"skipping {item['file_name']}: {item['unreadable']}")
                    unreadable[item["position"]] = item["unreadable"]
            job.check_unreadable({**job.unreadable, **unreadable})
            readable = [item for item in batch if "unreadable" not in item]
            outputs = model(readable) if readable else []
            for item, output in zip(readable, outputs, strict=True):
                found.append(_to_detections(item["position"], output["instances"]))
            progress.update(len(batch))
    return np.concatenate(found), unreadable


def _to_detections(position: int, instances) -> np.ndarray:
    # Clipping leaves slivers at the border, of which the json's 2 decimals would make no area.
    instances = instances[instances.pred_boxes.nonempty(threshold=0.02)].to("cpu")
    rows = np.empty(len(instances), DETECTION)
    rows["image"] = position
    rows["box"] = instances.pred_boxes.tensor.numpy()
    rows["category"] = instances.pred_classes.numpy()
    scores = instances.scores.numpy().astype(np.float64)
    rows["score"] = scores.round(pseudo_labels.SCORE_DECIMALS)
    return rows


def label_images(job: LabelingJob) -> None:
    """Run in every process: write `job.output` and the report beside it.

    Raises:
        UserError: the teacher cannot be loaded, too many images are unreadable, or nothing is left
            to write.
    """
    wanted = get_sad_cfg(job.config_file, job.opts).MODEL.DEVICE
    device = wanted if torch.cuda.is_available() else "cpu"
    model, cfg = load_retinanet(job.config_file, job.weights, device, job.opts)
    positions = [i for i in range(len(job.images)) if i not in job.unreadable]
    shapes = _shapes(model, cfg, [job.images[position] for position in positions])
    batches = form_batches(*shapes, job.batch_size)[comm.get_rank() :: comm.get_world_size()]
    gathered = comm.gather(predict(model, cfg, job, positions, batches))
    if not comm.is_main_process():
        return
    detections = np.concatenate([found for found, _ in gathered])
    # An image's detections come from one process and stay in their order.
    detections = detections[np.argsort(detections["image"], kind="stable")]
    unreadable = dict(job.unreadable)
    for _, more in gathered:
        unreadable.update(more)
    unreadable = dict(sorted(unreadable.items()))
    job.check_unreadable(unreadable)
    _write(job, cfg, detections, unreadable)


def _write(job: LabelingJob, cfg, detections: np.ndarray, unreadable: dict[int, str]) -> None:
    floor = cfg.MODEL.RETINANET.SCORE_THRESH_TEST
    if not len(detections):
        raise UserError(
            f"the teacher finds nothing above its score floor {floor} in any image: check its "
            "weights (--check-teacher) or lower MODEL.RETINANET.SCORE_THRESH_TEST"
        )
    num_images = len(job.images) - len(unreadable)
    threshold = job.calibration["threshold"]
    if threshold is None:
        threshold = pseudo_labels.calibrate_threshold(
            detections["score"], num_images, job.calibration["target_mean"]
        )
    kept = detections[detections["score"] >= threshold]
    if not len(kept):
        raise UserError(
            f"--threshold {threshold} keeps none of the {len(detections)} detections, "
            f"the highest score is {detections['score'].max()}"
        )
    info = {
        "description": "Hard targets: a teacher's detections above a score threshold",
        "teacher_config": job.config_file,
        "teacher_options": job.opts,
        "teacher_weights": job.weights,
        "teacher_weights_sha256": job.weights_sha256,
        "threshold": threshold,
        "calibration": job.calibration,
    }
    coco = pseudo_labels.hard_target_json(job.images, job.categories, kept, info)
    pseudo_labels.write_json(coco, job.output)
    logger.info(f"wrote {job.output}")
    write_report(
        job,
        detections,
        coco,
        unreadable,
        floor=floor,
        cap=cfg.TEST.DETECTIONS_PER_IMAGE,
    )
