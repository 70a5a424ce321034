"""The teacher's inference: images -> batches -> shards of detections, by any number of processes.

Batches and shards depend on the images and the batch size alone, so the pseudo-labels do not
depend on the number of processes, nor on whether a run was interrupted: it goes on at the first
shard that is missing. A shard is one batch of a short list and about 1,000 images of a million.
"""

import logging
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..config.defaults import device_of
from ..config.load import get_sad_cfg
from ..data.loader_workers import worker_arguments
from ..data.one_piece import OnePiece
from ..modeling.build import load_detector
from ..modeling.fold_norms import fold_norms
from ..modeling.teacher import padded_alone
from .detections import DETECTION, SCORE_UNITS
from .job import LabelingJob
from .keeping import AnswerKeeper
from .merge import merge_shards
from .resume import find_done
from .shards import read_unreadable, write_shard
from .views import ViewMapper, Views, detect_in_views

logger = logging.getLogger(__name__)

NUM_SHARDS = 1024  # at most


def label_images(job: LabelingJob) -> None:
    """Run in every process: write `job.output` and the report beside it.

    Raises:
        UserError: the teacher cannot be loaded, too many images are unreadable, or nothing is left
            to write.
    """
    device = device_of(get_sad_cfg(job.config_file, job.opts))
    model, cfg = load_detector(job.config_file, job.weights, device, job.opts)
    fold_norms(model)
    shards = plan_shards(model, cfg, job)
    done = find_done(job, shards) if comm.is_main_process() else None
    comm.synchronize()
    label_shards(model, cfg, job, shards, comm.all_gather(done)[0])
    comm.synchronize()
    if comm.is_main_process():
        merge_shards(job, cfg, len(shards))


def plan_shards(model, cfg, job: LabelingJob) -> list[list[np.ndarray]]:
    """The images to read as shards of batches of positions, in the order to label them."""
    readable = np.ones(len(job.images), bool)
    readable[list(job.unreadable)] = False
    positions = np.flatnonzero(readable).astype(np.int32)
    index = job.images.index[positions]
    sizes = np.stack([index["height"], index["width"]], axis=1)
    batch_size = AnswerKeeper.batch_size if job.keep_for else job.batch_size
    batches = [positions[batch] for batch in plan_batches(model, cfg, sizes, batch_size)]
    length = max(1, -(-len(batches) // NUM_SHARDS))
    return [batches[start : start + length] for start in range(0, len(batches), length)]


def plan_batches(
    model, cfg, sizes: np.ndarray, batch_size: int | Callable[[tuple[int, int]], int]
) -> list[np.ndarray]:
    """`form_batches` of images of these sizes, (N, 2) height and width on disk."""
    return form_batches(*_shapes(model, cfg, sizes), batch_size)


def form_batches(
    padded: np.ndarray,
    resized: np.ndarray,
    batch_size: int | Callable[[tuple[int, int]], int],
) -> list[np.ndarray]:
    """Group images for inference so that no image's padding depends on its batch.

    A convolution near the right and lower border sees the padding, so an image's logits depend on
    the padded shape of its batch. Here all images of a batch have the same padded shape, which is
    the one they have alone.

    Args:
        padded, resized: (N, 2), height and width of each image with and without padding.
        batch_size: images in a batch; or a function of their padded height and width.
    Returns:
        positions; largest shapes first, so that too little memory shows at once.
    """
    # Stable: equal shapes stay in the list's order.
    order = np.lexsort((*resized.T[::-1], *padded.T[::-1], -padded.prod(axis=1)))
    changes = 1 + np.flatnonzero(np.diff(padded[order], axis=0).any(axis=1))
    batches = []
    for group in np.split(order, changes) if len(order) else ():
        shape = tuple(padded[group[0]].tolist())
        size = batch_size(shape) if callable(batch_size) else batch_size
        batches += np.split(group, range(size, len(group), size))
    return batches


def _shapes(model, cfg, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(padded, resized): the (N, 2) shapes that the teacher computes images of `sizes` at."""
    if not len(sizes):
        return sizes, sizes
    pad = cache(partial(padded_alone, model))
    different, which = np.unique(sizes, axis=0, return_inverse=True)
    resized = different
    if cfg.INPUT.MIN_SIZE_TEST:  # Detectron2: 0 is no resizing
        limits = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
        resized = np.array(
            [ResizeShortestEdge.get_output_shape(*size, *limits) for size in different.tolist()]
        )
    padded = np.array([pad(*size) for size in resized.tolist()])
    return padded[which], resized[which]


class ReadableImages(Dataset):
    """The images of a job as the teacher sees them, see `ViewMapper`."""

    def __init__(self, cfg, job: LabelingJob):
        self.job = job
        self.mapper = ViewMapper(cfg, job.views)

    def __getitem__(self, position) -> dict:
        entry = self.job.images[position]
        return self.mapper(
            {
                "position": int(position),
                "file_name": os.path.join(self.job.image_root, entry["file_name"]),
                "height": entry["height"],
                "width": entry["width"],
            }
        )


def label_shards(
    model, cfg, job: LabelingJob, shards: list[list[np.ndarray]], done: Sequence[int] = ()
) -> None:
    """Run the teacher over this process's share of the shards and write each one.

    Images are read by DATALOADER.NUM_WORKERS processes.

    Args:
        done: numbers of shards that are there already.
    Raises:
        UserError: too many of these images are unreadable.
    """
    missing = np.setdiff1d(np.arange(len(shards)), done)
    mine = missing[comm.get_rank() :: comm.get_world_size()].tolist()
    batches = [batch for number in mine for batch in shards[number]]
    loader = iter(
        DataLoader(
            ReadableImages(cfg, job),
            batch_sampler=batches,
            num_workers=cfg.DATALOADER.NUM_WORKERS,
            collate_fn=OnePiece,
            **worker_arguments(cfg.DATALOADER.NUM_WORKERS),
        )
    )
    keeper = AnswerKeeper(model, job.keep_for) if job.keep_for else None
    description = f"labelling (1 of {comm.get_world_size()} processes)"
    all_unreadable = job.unreadable | read_unreadable(job.shards, done)
    with tqdm(
        desc=description if comm.get_world_size() > 1 else "labelling",
        total=sum(map(len, batches)),
        unit="image",
        mininterval=1,  # a log file keeps every update
        disable=not comm.is_main_process(),
    ) as progress:
        for number in mine:
            found, unreadable, truncated = [], {}, []
            files = job.files(np.concatenate(shards[number]))
            for batch in islice(loader, len(shards[number])):
                some = label_batch(model, batch, cfg, job.views, keeper)
                found += some.detections
                unreadable |= some.unreadable
                truncated += some.truncated
                progress.update(len(batch))
            all_unreadable |= unreadable
            job.check_unreadable(all_unreadable)
            write_shard(job.shards, number, files, found, unreadable, truncated)


class LabeledBatch(NamedTuple):
    detections: list[np.ndarray]  # of each readable image, an array of DETECTION
    unreadable: dict[int, str]  # position -> reason
    truncated: list[int]  # positions of images that lack their last bytes


def label_batch(
    model, batch: list[dict], cfg, views: Views, keeper: AnswerKeeper | None = None
) -> LabeledBatch:
    """What the teacher finds in images as `ViewMapper` gives them, each with its `position`."""
    readable = [item for item in batch if "unreadable" not in item]
    unreadable, truncated = {}, []
    for item in batch:
        if "unreadable" in item:
            logger.warning(f"skipping {item['file_name']}: {item['unreadable']}")
            unreadable[item["position"]] = item["unreadable"]
        if "truncated" in item:
            logger.warning(f"{item['file_name']} lacks its last bytes")
            truncated.append(item["position"])
    precision, most = cfg.SAD.TEACHER.PRECISION, cfg.TEST.DETECTIONS_PER_IMAGE
    given, heed = readable, None
    if keeper and readable:
        given, heed = keeper.filled(readable), partial(keeper.keep, readable)
    outputs = detect_in_views(model, given, precision, views, most, heed) if readable else []
    found = [
        _to_detections(item["position"], instances)
        for item, instances in zip(readable, outputs[: len(readable)], strict=True)
    ]
    return LabeledBatch(found, unreadable, truncated)


def _to_detections(position: int, instances) -> np.ndarray:
    # Clipping leaves slivers at the border, of which the json's 2 decimals would make no area.
    instances = instances[instances.pred_boxes.nonempty(threshold=0.02)].to("cpu")
    rows = np.empty(len(instances), DETECTION)
    rows["image"] = position
    rows["box"] = instances.pred_boxes.tensor.numpy()
    rows["category"] = instances.pred_classes.numpy()
    rows["score"] = (instances.scores.numpy().astype(np.float64) * SCORE_UNITS).round()
    return rows
