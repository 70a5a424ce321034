"""Which images make a batch, on one rank and on many."""

import itertools
from collections import Counter

import pytest
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from hypothesis import given, settings
from hypothesis import strategies as st

from sad.data.sampler import MixedBatchSampler


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
    """About 75 % labelled on COCO (115k + 120k), 60 % with 1,000 + 4,000."""
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


def test_the_order_is_detectron2s():
    """Of its TrainingSampler with the seed of the stream."""
    for labeled, unlabeled, mix, seed in ((9, 0, "union", 7), (4, 5, "union", 8)):
        sampled = batches(30, num_labeled=labeled, num_unlabeled=unlabeled, batch_size=1, mix=mix,
                          seed=7)  # fmt: skip
        drawn = [index for batch in sampled for index in indices(batch)]
        assert drawn == list(itertools.islice(TrainingSampler(9, seed=seed), 30))


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


@pytest.mark.parametrize("mix", ["alternate", "union", "ratio"])
def test_an_image_keeps_its_view_for_some_epochs(mix):
    arguments = {"num_labeled": 7, "num_unlabeled": 8, "batch_size": 1, "mix": mix, "seed": 4}
    plain = batches(300, **arguments)
    kept = batches(300, **arguments, view_epochs=3)
    assert list(map(indices, plain)) == list(map(indices, kept))
    views = {}
    for (key,) in kept:
        views.setdefault((key.augmentation_seed[1], key.index), []).append(key.augmentation_seed)
    for seeds in views.values():
        blocks = [seeds[start : start + 3] for start in range(0, len(seeds), 3)]
        assert all(len(set(block)) == 1 for block in blocks)
        assert len({block[0] for block in blocks}) == len(blocks) > 1
    different = {seed for seeds in views.values() for seed in seeds}
    assert len(different) == sum(len(set(seeds)) for seeds in views.values())  # of one image each


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


def batches_of_ranks(monkeypatch, world_size, count, **arguments):
    """What each rank draws."""
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
@pytest.mark.parametrize("ranks", range(1, 9))
def test_ranks_share_a_step(mix, ratio, batch_size, ranks, monkeypatch):
    """Together they see the samples that one rank sees, with the same augmentations."""
    arguments = {"num_labeled": 12, "num_unlabeled": 24, "mix": mix, "ratio": ratio, "seed": 3}
    alone = batches(40, batch_size=batch_size * ranks, **arguments)
    together = batches_of_ranks(monkeypatch, ranks, 40, batch_size=batch_size, **arguments)
    for whole, *shares in zip(alone, *together, strict=True):
        assert sorted(whole) == sorted(key for share in shares for key in share)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("mix", "ratio"), EVERY_MIX)
@pytest.mark.parametrize(
    "ranks", [1, 2, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4, 6, 7, 8))]
)
def test_every_rank_sees_the_whole_mix(mix, ratio, ranks, grouped, monkeypatch):
    """Not only all of them together; and at no time one kind alone for long."""
    arguments = {"num_labeled": 12, "num_unlabeled": 24, "mix": mix, "ratio": ratio}
    if grouped:
        arguments["groups"] = [index % 3 == 0 for index in range(36)]
    expected = {"alternate": (1 + 12 / 36) / 2, "union": 12 / 36, "ratio": ratio[0] / sum(ratio)}
    for batch_size in (1, 2):
        of_rank = batches_of_ranks(monkeypatch, ranks, 1200, batch_size=batch_size, **arguments)
        for sampled in of_rank:
            assert labeled_share(sampled, 12) == pytest.approx(expected[mix], abs=0.06)
            for begin in range(0, 1200, 60):
                assert 0 < labeled_share(sampled[begin : begin + 60], 12) < 1


@pytest.mark.parametrize(("mix", "ratio"), RATIOS)
def test_batches_of_the_ratios_period_are_exact_for_every_rank(mix, ratio, monkeypatch):
    arguments = {"num_labeled": 12, "num_unlabeled": 24, "mix": mix, "ratio": ratio}
    of_rank = batches_of_ranks(monkeypatch, 4, 30, batch_size=sum(ratio), **arguments)
    for sampled in of_rank:
        assert all(sum(index < 12 for index in indices(batch)) == ratio[0] for batch in sampled)


@pytest.mark.parametrize(("mix", "ratio"), EVERY_MIX)
def test_a_ranks_later_start_is_its_tail(mix, ratio, monkeypatch):
    arguments = {"num_labeled": 7, "num_unlabeled": 8, "mix": mix, "ratio": ratio, "batch_size": 2}
    arguments["groups"] = [index % 3 == 0 for index in range(15)]
    whole = batches_of_ranks(monkeypatch, 3, 40, **arguments)
    for rank, sampled in enumerate(batches_of_ranks(monkeypatch, 3, 10, start=30, **arguments)):
        assert sampled == whole[rank][30:]


@pytest.mark.parametrize("mix", ["alternate", "union", "ratio"])
def test_groups_move_samples_between_steps_but_do_not_change_them(mix, monkeypatch):
    arguments = {"num_labeled": 12, "num_unlabeled": 24, "mix": mix, "batch_size": 3}
    arguments["groups"] = [index % 3 == 0 for index in range(36)]
    alone = {key.augmentation_seed: key for batch in batches(60, **arguments) for key in batch}
    of_rank = batches_of_ranks(monkeypatch, 2, 20, **arguments)
    drawn = [key for sampled in of_rank for batch in sampled for key in batch]
    assert len(set(drawn)) == len(drawn) == 2 * 20 * 3
    assert all(alone[key.augmentation_seed] == key for key in drawn)
