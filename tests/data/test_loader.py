"""The loader's samples: repeatable, and the same however they are shared out."""

import itertools
import json

import numpy as np
import pytest
from detectron2.utils import comm

from processes import run_ranks
from sad.data.loader import build_mixed_loader
from sad.utils.errors import UserError
from samples import loaded, same


def write_batches(folder, cfg):
    loader = build_mixed_loader(cfg)
    drawn = [
        [sample["image_id"] for sample in batch] + [sample["origin"] for sample in batch]
        for batch in itertools.islice(loader, 6)
    ]
    (folder / f"{comm.get_rank()}.json").write_text(json.dumps(drawn))


def test_two_processes_see_other_images(toy, tmp_path):
    cfg = toy.cfg("SAD.yaml", "SAD.LOADER.MIX", "union", "DATALOADER.ASPECT_RATIO_GROUPING", False,
                  "DATALOADER.FILTER_EMPTY_ANNOTATIONS", False,
                  "SOLVER.IMS_PER_BATCH", 4)  # fmt: skip
    run_ranks(write_batches, tmp_path, cfg)
    zero, one = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert all(len(batch) == 4 for batch in zero + one)  # 2 ids and 2 origins
    epoch = [tuple(batch[i::2]) for batch in zero[:3] + one[:3] for i in (0, 1)]
    assert len(set(epoch)) == 12  # 3 batches x 2 processes x 2 images: each of the 12 once


def test_samples_do_not_depend_on_the_number_of_workers(toy):
    with_none = loaded(toy.cfg("SAD.yaml"), 6)
    np.random.seed(5)
    with_two = loaded(toy.cfg("SAD.yaml", "DATALOADER.NUM_WORKERS", 2), 6)
    for one, other in zip(with_none, with_two, strict=True):
        assert all(same(*pair) for pair in zip(one, other, strict=True))


def test_resumed_loader_gives_the_samples_of_the_unbroken_one(toy):
    whole = loaded(toy.cfg("SAD.yaml"), 9)
    resumed = loaded(toy.cfg("SAD.yaml"), 4, start=5)
    for one, other in zip(whole[5:], resumed, strict=True):
        assert all(same(*pair) for pair in zip(one, other, strict=True))


def test_batches_of_wide_and_of_tall_images(toy):
    for batch in loaded(toy.cfg("SAD.yaml"), 12):
        shapes = [sample["image"].shape for sample in batch]
        assert len({width > height for _, height, width in shapes}) == 1


def test_polygons_have_no_say(toy, register):
    content = toy.json("labeled.json")
    for annotation in content["annotations"]:
        annotation["segmentation"] = [[1, 2, 3, 4]]
    register("labeled_with_masks", content)
    cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("labeled_with_masks",))
    items = build_mixed_loader(cfg).dataset.items
    assert list(items) == list(build_mixed_loader(toy.cfg("student.yaml")).dataset.items)


def test_a_digest_tells_which_images_the_positions_mean(toy, register):
    content = toy.json("labeled.json")
    content["images"] = content["images"][:-1]
    last = toy.json("labeled.json")["images"][-1]["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != last]
    register("fewer", content)
    cfgs = [toy.cfg("SAD.yaml"), toy.cfg("SAD.yaml"), toy.cfg("student.yaml"),
            toy.cfg("SAD.yaml", "DATASETS.TRAIN", ("fewer",))]  # fmt: skip
    one, same, *others = (build_mixed_loader(cfg).dataset.digest for cfg in cfgs)
    assert one == same and len({one, *others}) == 3


def test_seed_of_the_config(toy):
    def first(seed):
        return [sample["image_id"] for batch in loaded(toy.cfg("SAD.yaml", "SEED", seed), 6)
                for sample in batch]  # fmt: skip

    assert first(1) == first(1) != first(2)
    assert len(first(-1)) == 12  # no seed: any order


@pytest.mark.parametrize("images", [1, 3])
def test_batch_must_be_a_multiple_of_the_ranks(toy, monkeypatch, images):
    """With fewer images than ranks a batch would never fill."""
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    with pytest.raises(UserError, match=rf"SOLVER\.IMS_PER_BATCH is {images}.* 2 ranks"):
        build_mixed_loader(toy.cfg("student.yaml", "SOLVER.IMS_PER_BATCH", images))


@pytest.mark.parametrize("images", [2, 6, 10])
def test_batch_must_be_a_multiple_of_ranks_and_steps(toy, monkeypatch, images):
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    opts = ("SOLVER.ACCUMULATION_STEPS", 2, "SOLVER.IMS_PER_BATCH", images)
    with pytest.raises(UserError, match="2 ranks x SOLVER.ACCUMULATION_STEPS 2"):
        build_mixed_loader(toy.cfg("student.yaml", *opts))


def test_samples_do_not_depend_on_the_accumulation_steps(toy):
    opts = ("SOLVER.IMS_PER_BATCH", 4, "SOLVER.ACCUMULATION_STEPS")
    for one, other in zip(
        *(loaded(toy.cfg("SAD.yaml", *opts, steps), 3) for steps in (1, 4)), strict=True
    ):
        assert len(one) == 4
        assert all(same(*pair) for pair in zip(one, other, strict=True))
