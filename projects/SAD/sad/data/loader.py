"""The loader of a training run: labelled and unlabelled images mixed."""

import torch
from detectron2.data import MetadataCatalog
from detectron2.utils import comm

from ..utils.errors import UserError
from .checks import check_files
from .loader_workers import worker_arguments
from .mapper import SADDatasetMapper
from .mixed_dataset import MixedDataset
from .one_piece import OnePiece
from .sampler import MixedBatchSampler
from .shared_read import collector_paused, once_per_machine
from .training_images import read_training_images


def build_mixed_loader(cfg) -> torch.utils.data.DataLoader:
    """Batches of SOLVER.IMS_PER_BATCH / world size samples, endless; see SAD.LOADER.

    A batch is this rank's whole share of a step, so that the samples are the same however many
    micro-batches it is cut into.

    Raises:
        UserError: a set is empty, lacks the annotations it is used for, or has other classes, or a
            step's images cannot be shared out equally.
    """
    check_before_reading(cfg)
    dataset, groups, metadata = once_per_machine(lambda: _read(cfg))
    for name, values in metadata.items():  # the classes, which reading brings to light
        MetadataCatalog.get(name).set(**values)
    num_labeled = dataset.ranges["labeled"][1]
    sampler = MixedBatchSampler(
        num_labeled,
        len(dataset) - num_labeled,
        cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size(),
        mix=cfg.SAD.LOADER.MIX,
        ratio=cfg.SAD.LOADER.RATIO,
        view_epochs=cfg.SAD.LOADER.VIEW_EPOCHS,
        seed=cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed(),
        groups=groups,
    )
    return torch.utils.data.DataLoader(
        dataset,
        generator=torch.Generator(),  # else each start draws from the one that a resume restores
        batch_sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=OnePiece,
        persistent_workers=cfg.DATALOADER.NUM_WORKERS > 0,
        **worker_arguments(cfg.DATALOADER.NUM_WORKERS),
    )


@collector_paused()
def _read(cfg) -> tuple[MixedDataset, list[bool] | None, dict[str, dict]]:
    """The images, which of them are wide where that counts, and the sets' metadata."""
    labeled, unlabeled = read_training_images(cfg)
    groups = None
    if cfg.DATALOADER.ASPECT_RATIO_GROUPING:
        groups = [item["width"] > item["height"] for item in labeled + unlabeled]
    dataset = MixedDataset(labeled, unlabeled, SADDatasetMapper(cfg, is_train=True))
    names = (*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED)
    return dataset, groups, {name: MetadataCatalog.get(name).as_dict() for name in names}


def check_before_reading(cfg) -> None:
    """
    Raises:
        UserError: no data set is named, one lacks its files, or a step's images cannot be shared
            out equally.
    """
    batch, ranks = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch % (ranks * cfg.SOLVER.ACCUMULATION_STEPS):
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {batch}, it must be a multiple of {ranks} ranks x "
            f"SOLVER.ACCUMULATION_STEPS {cfg.SOLVER.ACCUMULATION_STEPS}"
        )
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: name a labelled data set")
    check_files((*cfg.DATASETS.TRAIN, *cfg.DATASETS.UNLABELED))
