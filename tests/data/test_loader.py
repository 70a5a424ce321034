"""The mix of labelled and unlabelled images, its repeatability, and broken image files."""

import itertools
import json
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from hypothesis import given, settings
from hypothesis import strategies as st

from processes import run_workers
from sad.data.datasets import register_coco_set
from sad.data.images import ImageError
from sad.data.loader import MixedBatchSampler, MixedDataset, SampleKey, build_mixed_loader
from sad.engine.unreadable import ReadableShare
from sad.utils.errors import UserError
from toy import peak_memory, png_bomb


def batches(count, *, start=0, **arguments):
    sampler = MixedBatchSampler(**arguments)
    sampler.start = start
    return list(itertools.islice(sampler, count))


def indices(batch):
    return [key.index for key in batch]


def labeled_share(sampled, num_labeled):
    drawn = [index for batch in sampled for index in indices(batch)]
    return sum(index < num_labeled for index in drawn) / len(drawn)


# --- which images -------------------------------------------------------------------------------


@pytest.mark.parametrize(("labeled", "unlabeled"), [(23, 24), (10, 40), (7, 3)])
def test_alternate_takes_every_other_batch_from_all_images(labeled, unlabeled):
    """The authors' mix: about 75 % labelled on COCO (115k + 120k), 60 % with 1,000 + 4,000."""
    everything = labeled + unlabeled
    # Whole epochs of both streams, so that the share is exact.
    sampled = batches(2 * everything * labeled, num_labeled=labeled, num_unlabeled=unlabeled,
                      batch_size=1)  # fmt: skip
    assert all(indices(batch)[0] < labeled for batch in sampled[0::2])
    mixed = Counter(index for batch in sampled[1::2] for index in indices(batch))
    assert set(mixed) == set(range(everything))
    assert len(set(mixed.values())) == 1
    expected = (1 + labeled / everything) / 2
    assert labeled_share(sampled, labeled) == pytest.approx(expected, abs=1e-12)


def test_alternate_starts_with_labeled_images():
    sampled = batches(40, num_labeled=4, num_unlabeled=400, batch_size=4)
    for number, batch in enumerate(sampled):
        if number % 2 == 0:
            assert max(indices(batch)) < 4
    assert any(max(indices(batch)) >= 4 for batch in sampled[1::2])


def test_union_shows_every_image_once_an_epoch():
    sampled = batches(9, num_labeled=6, num_unlabeled=12, batch_size=4, mix="union")
    drawn = [index for batch in sampled for index in indices(batch)]
    assert sorted(drawn[:18]) == sorted(drawn[18:]) == list(range(18))
    assert drawn[:18] != drawn[18:]
    assert labeled_share(sampled, 6) == 6 / 18


@pytest.mark.parametrize("ratio", [(1, 1), (1, 3), (3, 1), (0, 1), (1, 0)])
def test_ratio_is_exact_in_every_batch(ratio):
    sampled = batches(30, num_labeled=5, num_unlabeled=50, batch_size=4, mix="ratio", ratio=ratio)
    expected = 4 * ratio[0] // sum(ratio)
    assert [sum(index < 5 for index in indices(batch)) for batch in sampled] == [expected] * 30
    if ratio[1]:
        drawn = [index for batch in sampled for index in indices(batch) if index >= 5]
        assert len(set(drawn[:50])) == len(drawn[:50])  # each once, before any comes again


def test_without_unlabeled_images_every_mix_is_the_labeled_set():
    expected = batches(6, num_labeled=6, num_unlabeled=0, batch_size=3, mix="alternate")
    assert sorted(indices(expected[0]) + indices(expected[1])) == list(range(6))
    for mix in ("union", "ratio"):
        assert batches(6, num_labeled=6, num_unlabeled=0, batch_size=3, mix=mix) == expected


def test_seeds_give_other_orders():
    arguments = {"num_labeled": 50, "num_unlabeled": 50, "batch_size": 4}
    assert batches(5, seed=1, **arguments) == batches(5, seed=1, **arguments)
    assert batches(5, seed=1, **arguments) != batches(5, seed=2, **arguments)


MIXES = st.sampled_from(["alternate", "union", "ratio"])


@settings(max_examples=40, deadline=None)
@given(MIXES, st.integers(0, 30), st.integers(0, 3), st.booleans())
def test_a_later_start_is_the_tail(mix, start, seed, grouped):
    groups = [index % 3 == 0 for index in range(15)] if grouped else None
    arguments = {
        **{"num_labeled": 7, "num_unlabeled": 8, "batch_size": 3, "mix": mix},
        **{"ratio": (1, 2), "seed": seed, "groups": groups},
    }
    whole = batches(start + 5, **arguments)
    assert batches(5, start=start, **arguments) == whole[start:]


@pytest.mark.parametrize(
    ("mix", "streams"),
    [("alternate", [0, 0, 0, 1, 1, 1]), ("union", [1] * 6), ("ratio", [0, 1, 0, 1, 0, 1])],
)
def test_sample_seeds_are_seed_stream_and_position(mix, streams):
    sampled = batches(20, num_labeled=7, num_unlabeled=8, batch_size=3, mix=mix, seed=4)
    seeds = [key.augmentation_seed for batch in sampled for key in batch]
    assert [stream for _, stream, _ in seeds[:6]] == streams
    for stream in set(streams):
        of_stream = [seed for seed in seeds if seed[1] == stream]
        assert of_stream == [(4, stream, k) for k in range(len(of_stream))]


@settings(max_examples=40, deadline=None)
@given(MIXES, st.integers(1, 5), st.lists(st.booleans(), min_size=12, max_size=12))
def test_wide_and_tall_images_never_share_a_batch(mix, batch_size, groups):
    arguments = {"num_labeled": 5, "num_unlabeled": 7, "mix": mix, "groups": groups}
    sampled = batches(40, batch_size=batch_size, **arguments)
    assert all(len({groups[index] for index in indices(batch)}) == 1 for batch in sampled)
    assert all(len(batch) == batch_size for batch in sampled)
    # No image is lost while it waits for its group's batch: every key is its own sample.
    seeds = [key.augmentation_seed for batch in sampled for key in batch]
    assert len(set(seeds)) == len(seeds)


def test_grouping_keeps_the_share_of_labeled_images():
    """Groups only delay images, so over many epochs the mix stays what it is."""
    groups = [True] * 10 + [True] * 10 + [False] * 20
    sampled = batches(2000, num_labeled=10, num_unlabeled=30, batch_size=4, mix="union",
                      groups=groups)  # fmt: skip
    assert labeled_share(sampled, 10) == pytest.approx(10 / 40, abs=0.01)


# --- several processes --------------------------------------------------------------------------


def batches_of_workers(monkeypatch, world_size, count, **arguments):
    """What each of the workers draws."""
    with monkeypatch.context() as patch:
        patch.setattr(comm, "get_world_size", lambda: world_size)
        of_rank = []
        for rank in range(world_size):
            patch.setattr(comm, "get_rank", lambda rank=rank: rank)
            of_rank.append(batches(count, **arguments))
        return of_rank


RATIOS = [("ratio", (1, 1)), ("ratio", (1, 3)), ("ratio", (3, 1))]
EVERY_MIX = [("alternate", (1, 1)), ("union", (1, 1)), *RATIOS]


@pytest.mark.parametrize(("mix", "ratio"), EVERY_MIX)
@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("workers", range(1, 9))
def test_workers_share_a_step(mix, ratio, batch_size, workers, monkeypatch):
    """Together they see the samples that one worker sees, with the same augmentations."""
    arguments = {"num_labeled": 12, "num_unlabeled": 24, "mix": mix, "ratio": ratio, "seed": 3}
    alone = batches(40, batch_size=batch_size * workers, **arguments)
    together = batches_of_workers(monkeypatch, workers, 40, batch_size=batch_size, **arguments)
    for whole, *shares in zip(alone, *together, strict=True):
        assert sorted(whole) == sorted(key for share in shares for key in share)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("mix", "ratio"), EVERY_MIX)
@pytest.mark.parametrize("workers", range(1, 9))
def test_every_worker_sees_the_whole_mix(mix, ratio, workers, grouped, monkeypatch):
    """Not only all of them together; and at no time one kind alone for long."""
    arguments = {"num_labeled": 12, "num_unlabeled": 24, "mix": mix, "ratio": ratio}
    if grouped:
        arguments["groups"] = [index % 3 == 0 for index in range(36)]
    expected = {"alternate": (1 + 12 / 36) / 2, "union": 12 / 36, "ratio": ratio[0] / sum(ratio)}
    for batch_size in (1, 2):
        of_rank = batches_of_workers(monkeypatch, workers, 1200, batch_size=batch_size, **arguments)
        for sampled in of_rank:
            assert labeled_share(sampled, 12) == pytest.approx(expected[mix], abs=0.06)
            for begin in range(0, 1200, 60):
                assert 0 < labeled_share(sampled[begin : begin + 60], 12) < 1


@pytest.mark.parametrize(("mix", "ratio"), RATIOS)
def test_batches_of_the_ratios_period_are_exact_for_every_worker(mix, ratio, monkeypatch):
    arguments = {"num_labeled": 12, "num_unlabeled": 24, "mix": mix, "ratio": ratio}
    of_rank = batches_of_workers(monkeypatch, 4, 30, batch_size=sum(ratio), **arguments)
    for sampled in of_rank:
        assert all(sum(index < 12 for index in indices(batch)) == ratio[0] for batch in sampled)


@pytest.mark.parametrize(("mix", "ratio"), EVERY_MIX)
def test_a_workers_later_start_is_its_tail(mix, ratio, monkeypatch):
    arguments = {"num_labeled": 7, "num_unlabeled": 8, "mix": mix, "ratio": ratio, "batch_size": 2}
    arguments["groups"] = [index % 3 == 0 for index in range(15)]
    whole = batches_of_workers(monkeypatch, 3, 40, **arguments)
    for rank, sampled in enumerate(batches_of_workers(monkeypatch, 3, 10, start=30, **arguments)):
        assert sampled == whole[rank][30:]


@pytest.mark.parametrize("mix", ["alternate", "union", "ratio"])
def test_groups_move_samples_between_steps_but_do_not_change_them(mix, monkeypatch):
    arguments = {"num_labeled": 12, "num_unlabeled": 24, "mix": mix, "batch_size": 3}
    arguments["groups"] = [index % 3 == 0 for index in range(36)]
    alone = {key.augmentation_seed: key for batch in batches(60, **arguments) for key in batch}
    of_rank = batches_of_workers(monkeypatch, 2, 20, **arguments)
    drawn = [key for sampled in of_rank for batch in sampled for key in batch]
    assert len(set(drawn)) == len(drawn) == 2 * 20 * 3
    assert all(alone[key.augmentation_seed] == key for key in drawn)


def write_batches(folder, cfg):
    loader = build_mixed_loader(cfg)
    drawn = [
        [sample["image_id"] for sample in batch] + [sample["origin"] for sample in batch]
        for batch in itertools.islice(loader, 6)
    ]
    (folder / f"{comm.get_rank()}.json").write_text(json.dumps(drawn))


def test_two_processes_see_other_images(toy, tmp_path):
    cfg = toy.cfg("SAD.yaml", "SAD.LOADER.MIX", "union", "DATALOADER.ASPECT_RATIO_GROUPING", False,
                  "SOLVER.IMS_PER_BATCH", 4)  # fmt: skip
    run_workers(write_batches, tmp_path, cfg)
    zero, one = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert all(len(batch) == 4 for batch in zero + one)  # 2 ids and 2 origins
    epoch = [tuple(batch[i::2]) for batch in zero[:3] + one[:3] for i in (0, 1)]
    assert len(set(epoch)) == 12  # 3 batches x 2 processes x 2 images: each of the 12 once


# --- samples ------------------------------------------------------------------------------------


def same(one, other) -> bool:
    return (
        one["image_id"] == other["image_id"]
        and one["origin"] == other["origin"]
        and torch.equal(one["image"], other["image"])
        and torch.equal(one["instances"].gt_boxes.tensor, other["instances"].gt_boxes.tensor)
    )


def loaded(cfg, count, start=0):
    loader = build_mixed_loader(cfg)
    loader.batch_sampler.start = start
    return list(itertools.islice(loader, count))


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


def test_images_without_ground_truth_are_left_out(toy, register):
    content = toy.json("labeled.json")
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 10]
    register("labeled_with_empty", content)
    cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("labeled_with_empty",))
    assert len(build_mixed_loader(cfg).dataset) == 5
    cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("labeled_with_empty",),
                  "DATALOADER.FILTER_EMPTY_ANNOTATIONS", False)  # fmt: skip
    assert len(build_mixed_loader(cfg).dataset) == 6


def test_images_whose_annotations_cannot_be_used_are_no_negatives(toy, register, log):
    content = toy.json("labeled.json")
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 60]
    for annotation in content["annotations"]:
        annotation["iscrowd"] = int(annotation["image_id"] == 10)
        if annotation["image_id"] == 20:
            annotation["bbox"][2] = 0
    register("odd_labels", content)
    for filters, image_ids in ((True, {30, 40, 50}), (False, {30, 40, 50, 60})):
        cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("odd_labels",),
                      "DATALOADER.FILTER_EMPTY_ANNOTATIONS", filters)  # fmt: skip
        dataset = build_mixed_loader(cfg).dataset
        assert {image["image_id"] for image in dataset.items} == image_ids
    assert sum("2 of 6 labelled images" in message for message in log) == 2
    assert sum("1 of 6 labelled images" in message for message in log) == 2


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


def test_instances_of_each_class_are_said(toy, register, log):
    content = toy.json("labeled.json")
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 2]
    register("light_alone", content)
    build_mixed_loader(toy.cfg("SAD.yaml", "DATASETS.TRAIN", ("light_alone",)))
    tables = [message.splitlines() for message in log if "Distribution of instances" in message]
    assert [table[-3].split() for table in tables] == [["light", "6"], ["light", "5"]]
    assert [table[-2].split() for table in tables] == [["dark", "0"], ["dark", "5"]]
    (warning,) = (message for message in log if "1 of 2 classes are without any" in message)
    assert "training labels: dark" in warning


def test_seed_of_the_config(toy):
    def first(seed):
        return [sample["image_id"] for batch in loaded(toy.cfg("SAD.yaml", "SEED", seed), 6)
                for sample in batch]  # fmt: skip

    assert first(1) == first(1) != first(2)
    assert len(first(-1)) == 12  # no seed: any order


# --- refused sets -------------------------------------------------------------------------------


@pytest.fixture
def register(toy, tmp_path):
    """A function that registers a json over the toy's labelled images."""
    names = []

    def write_and_register(name, content):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        register_coco_set(name, str(tmp_path / f"{name}.json"), toy.path("labeled"))
        names.append(name)

    yield write_and_register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_classes_of_two_sets_differ(toy, register):
    content = toy.json("hard_targets.json")
    content["categories"][1]["name"] = "gray"
    register("other_classes", content)
    with pytest.raises(UserError) as error:
        build_mixed_loader(toy.cfg("SAD.yaml", "DATASETS.UNLABELED", ("other_classes",)))
    for part in ("toy_labeled", "other_classes", "'dark'", "'gray'"):
        assert part in str(error.value)


def test_classes_of_two_labeled_sets_differ(toy, register):
    content = toy.json("labeled.json")
    content["categories"][1]["name"] = "gray"
    register("other_classes", content)
    cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("toy_labeled", "other_classes"))
    with pytest.raises(UserError, match="other_classes.*'gray'"):
        build_mixed_loader(cfg)


def test_number_of_classes(toy):
    with pytest.raises(UserError, match=r"NUM_CLASSES is 3, it must be 2: data set toy_labeled"):
        build_mixed_loader(toy.cfg("SAD.yaml", "MODEL.RETINANET.NUM_CLASSES", 3))


def test_hard_targets_without_boxes(toy):
    with pytest.raises(UserError, match=r"hard targets.*toy_unlabeled.*label_unlabeled\.py"):
        build_mixed_loader(toy.cfg("SAD.yaml", "DATASETS.UNLABELED", ("toy_unlabeled",)))


def test_soft_targets_need_no_boxes(toy):
    cfg = toy.cfg("SAD.yaml", "DATASETS.UNLABELED", ("toy_unlabeled",),
                  "SAD.TARGETS.UNLABELED", ("soft",), "SAD.LOADER.MIX", "union")  # fmt: skip
    samples = [sample for batch in loaded(cfg, 6) for sample in batch]
    by_origin = {sample["origin"]: sample for sample in samples}
    assert by_origin["unlabeled"]["hard_targets"] is False
    assert by_origin["unlabeled"]["soft_targets"] is True
    assert by_origin["labeled"]["hard_targets"] is True


def test_no_labeled_set(toy):
    with pytest.raises(UserError, match=r"DATASETS\.TRAIN"):
        build_mixed_loader(toy.cfg("student.yaml", "DATASETS.TRAIN", ()))


def test_labeled_set_without_a_single_box(toy, register):
    register("no_boxes", {**toy.json("labeled.json"), "annotations": []})
    with pytest.raises(UserError, match="no_boxes"):
        build_mixed_loader(toy.cfg("student.yaml", "DATASETS.TRAIN", ("no_boxes",)))


@pytest.mark.parametrize("images", [1, 3])
def test_batch_must_be_a_multiple_of_the_workers(toy, monkeypatch, images):
    """With fewer images than workers a batch would never fill."""
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    with pytest.raises(UserError, match=rf"SOLVER\.IMS_PER_BATCH is {images}.* 2 workers"):
        build_mixed_loader(toy.cfg("student.yaml", "SOLVER.IMS_PER_BATCH", images))


@pytest.mark.parametrize("images", [2, 6, 10])
def test_batch_must_be_a_multiple_of_workers_and_steps(toy, monkeypatch, images):
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    opts = ("SOLVER.ACCUMULATION_STEPS", 2, "SOLVER.IMS_PER_BATCH", images)
    with pytest.raises(UserError, match="2 workers x SOLVER.ACCUMULATION_STEPS 2"):
        build_mixed_loader(toy.cfg("student.yaml", *opts))


def test_samples_do_not_depend_on_the_accumulation_steps(toy):
    opts = ("SOLVER.IMS_PER_BATCH", 4, "SOLVER.ACCUMULATION_STEPS")
    for one, other in zip(
        *(loaded(toy.cfg("SAD.yaml", *opts, steps), 3) for steps in (1, 4)), strict=True
    ):
        assert len(one) == 4
        assert all(same(*pair) for pair in zip(one, other, strict=True))


# --- unreadable images --------------------------------------------------------------------------

WAYS_TO_BREAK = {
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "text": lambda path: path.write_text("<html>404</html>"),
    "broken chunk": lambda path: path.write_bytes(
        path.read_bytes().replace(b"IDAT", b"\xdc<\x1a\x9d")
    ),
    "other size": lambda path: shutil.copy(path.with_name("000002.png"), path),
    "2.5 gigapixels": lambda path: path.write_bytes(png_bomb()),
    "as many as Pillow takes": lambda path: path.write_bytes(png_bomb(13_000, 13_000)),
}


@pytest.fixture
def broken(toy, tmp_path):
    """A function that breaks files of a copy of the toy and gives its config."""
    root = tmp_path / "copy"
    shutil.copytree(toy.root / "labeled", root / "labeled")
    shutil.copytree(toy.root / "unlabeled", root / "unlabeled")

    def break_files(way, *names):
        for name in names:
            WAYS_TO_BREAK[way](root / name)
        opts = ["DATASETS.REGISTER.toy_labeled.IMAGES", str(root / "labeled")]
        opts += ["DATASETS.REGISTER.toy_hard_targets.IMAGES", str(root / "unlabeled")]
        return toy.cfg("SAD.yaml", "SAD.LOADER.MIX", "union", *opts)

    return break_files


@pytest.mark.parametrize("way", WAYS_TO_BREAK)
@pytest.mark.parametrize("folder", ["labeled", "unlabeled"])
def test_unreadable_image_is_replaced_by_one_of_its_origin(broken, way, folder):
    before = peak_memory()
    samples = [s for batch in loaded(broken(way, f"{folder}/000003.png"), 30) for s in batch]
    # A bomb is refused; what Pillow takes without an error are 180 million pixels.
    assert peak_memory() - before < (100 if "giga" in way else 800)
    replaced = [sample for sample in samples if sample["unreadable"]]
    assert len(replaced) >= 3
    for sample in replaced:
        assert sample["origin"] == folder
        assert not sample["file_name"].endswith(f"{folder}/000003.png")
        assert all(name.endswith(f"{folder}/000003.png") for name, _ in sample["unreadable"])
    assert len({sample["file_name"] for sample in replaced}) > 1
    # The others are what they would have been.
    assert {s["origin"] for s in samples} == {"labeled", "unlabeled"}


def test_replacement_is_repeatable(broken, toy):
    cfg = broken("cut short", "labeled/000003.png")
    for one, other in zip(loaded(cfg, 12), loaded(cfg, 12), strict=True):
        assert all(same(*pair) for pair in zip(one, other, strict=True))
    undamaged = toy.cfg("SAD.yaml", "SAD.LOADER.MIX", "union")
    for one, other in zip(loaded(cfg, 12), loaded(undamaged, 12), strict=True):
        for pair in zip(one, other, strict=True):
            assert same(*pair) or pair[0]["unreadable"]


def refusing(item):
    raise ImageError("broken")


def test_every_image_unreadable_is_an_error_not_a_hang():
    dataset = MixedDataset([{"file_name": f"{n}.png"} for n in range(4)], [], refusing)
    batch = [dataset[SampleKey(n, (0, 0, n))] for n in range(4)]
    assert all("image" not in sample for sample in batch)
    assert all(len(sample["unreadable"]) == MixedDataset.MAX_TRIES for sample in batch)
    # As many as are drawn; those tried in their places are not images of the batch.
    with pytest.raises(UserError, match="^4 of 4 images could not be read, nor 9 that were drawn"):
        ReadableShare(1.0, 100).check(batch)


@pytest.mark.parametrize("bug", [AttributeError, ValueError, OSError, RuntimeError])
def test_mistakes_in_code_are_not_taken_for_broken_images(bug):
    def mapper(item):
        raise bug("a bug")

    dataset = MixedDataset([{"file_name": "a.png"}], [], mapper)
    with pytest.raises(bug, match="a bug"):
        dataset[SimpleNamespace(index=0, augmentation_seed=(0, 0, 0))]


def sample(*unreadable, **more):
    return {
        "image": torch.zeros(3, 4, 4),
        "unreadable": [(name, "broken") for name in unreadable],
        **more,
    }


def test_unreadable_images_are_named_once_and_counted_once(log):
    share = ReadableShare(0.5, 100)
    for _ in range(3):
        share.check([sample("a.png"), sample(), sample("b.png", "c.png")])
    assert (share.seen, share.failed) == (9, {"a.png", "b.png"})  # c.png was only tried
    assert sorted(log) == [f"Image skipped, it cannot be read: {n}.png (broken)" for n in "abc"]


def test_images_that_lack_their_last_bytes_are_named_once_and_counted(log):
    share = ReadableShare(0.0, 100)
    for _ in range(3):
        share.check([sample(truncated=True, file_name=f"{n}.jpg") for n in "ab"])
    assert [message[:8] + message[-5:] for message in log] == ["Image 1 a.jpg", "Image 2 b.jpg"]


def test_a_few_of_a_small_set_and_a_share_of_a_large_one_are_allowed():
    share = ReadableShare(0.01, 700)
    bad = [sample(f"{n}.png") for n in range(8)]
    share.check(bad[:5])  # of the first five
    with pytest.raises(UserError, match=r"^6 of 6 images .*UNREADABLE 0\.01 .*5\.png \(broken"):
        share.check(bad[5:6])
    share.check([sample()] * 1000)
    share.check(bad[6:7])  # 7 of 700: the 1,007 seen are not so many images
    with pytest.raises(UserError, match="^8 of 700 images"):
        share.check(bad[7:])


def test_no_unreadable_image_is_allowed_at_0():
    share = ReadableShare(0.0, 100)
    share.check([sample()] * 10)
    with pytest.raises(UserError, match="^1 of 11 images"):
        share.check([sample("a.png")])


def test_the_counts_come_back():
    share, other = ReadableShare(0.5, 100), ReadableShare(0.5, 100)
    share.check([sample("b.png", "c.png"), sample(truncated=True, file_name="d.jpg")])
    other.load_state_dict(share.state_dict())
    assert other.__dict__ == share.__dict__
