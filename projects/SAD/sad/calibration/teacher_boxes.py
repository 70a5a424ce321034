"""What the teacher finds in a list of images, in batches as labelling forms them."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from detectron2.data.common import DatasetFromList, MapDataset
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..config.detector_keys import keys_of, value_of
from ..data.loader_workers import worker_arguments
from ..data.one_piece import OnePiece
from ..pseudo_labels.runner import label_batch, plan_batches
from ..pseudo_labels.views import ViewMapper, Views
from ..utils.errors import UserError


class Found(NamedTuple):
    images: list[dict]  # N that could be read
    detections: np.ndarray  # (M,) of DETECTION, by rising position in `images` and falling score
    features: np.ndarray  # (N, F), the backbone's maps, averaged
    unreadable: dict[str, str]  # path -> reason


def find_boxes(model, cfg, images: list[dict], batch_size: int, views: Views, what: str) -> Found:
    """Run the teacher over images.

    Args:
        model, cfg: see `sad.modeling.build.load_detector`.
        images: at least one, dicts with file_name (a path), height and width in pixels.
        views: in which each is shown.
        what: they are, for the progress bar and sentences.
    Raises:
        UserError: none can be read, or the teacher finds nothing in any.
    """
    records = [{**image, "position": number} for number, image in enumerate(images)]
    sizes = np.array([[image["height"], image["width"]] for image in images]).reshape(-1, 2)
    loader = DataLoader(
        MapDataset(DatasetFromList(records, copy=False), ViewMapper(cfg, views)),
        batch_sampler=[batch.tolist() for batch in plan_batches(model, cfg, sizes, batch_size)],
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=OnePiece,
        **worker_arguments(cfg.DATALOADER.NUM_WORKERS),
    )
    found, unreadable, features = [], {}, {}
    bar = tqdm(total=len(images), desc=what, unit="image", mininterval=1)
    with _averaged_maps(model) as maps, bar:
        for batch in loader:
            some = label_batch(model, batch, cfg, views)
            found += some.detections
            unreadable |= some.unreadable
            readable = [item["position"] for item in batch if "unreadable" not in item]
            if readable:
                features |= zip(readable, maps[0], strict=True)  # the images as they are
                maps.clear()
            bar.update(len(batch))
    reasons = {images[position]["file_name"]: why for position, why in sorted(unreadable.items())}
    if not features:
        path, why = next(iter(reasons.items()))
        raise UserError(f"none of the {len(images)} {what} can be read; the first: {path} ({why})")
    detections = np.concatenate(found)
    if not len(detections):
        raise UserError(
            f"the teacher finds nothing in the {what} with a score above "
            f"{value_of(cfg, keys_of(cfg).score_threshold)}: check its weights, or train it longer"
        )
    readable = sorted(features)
    detections["image"] = np.searchsorted(readable, detections["image"])
    return Found(
        [images[position] for position in readable],
        detections[np.argsort(detections["image"], kind="stable")],
        np.array([features[position] for position in readable]),
        reasons,
    )


@contextmanager
def _averaged_maps(model):
    """A list to which each pass through the backbone adds an array (images, channels)."""
    outputs = []

    def keep(module, inputs, maps):
        means = [level.float().mean(dim=(2, 3)) for level in maps.values()]
        outputs.append(torch.cat(means, dim=1).cpu().numpy())

    handle = model.backbone.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()
