"""Outputs that are rounded and kept, against the same written out densely."""

import pickle
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sad.data.one_piece import OnePiece
from sad.losses.distillation import NEVER, teacher_power
from sad.terms.kept import KeptOutputs, expanded, to_keep
from sad.terms.term import Outputs

CPU = torch.device("cpu")
ANCHORS, CLASSES = 3, 4
SIZES = [(8, 8), (4, 4), (2, 2)]  # of the batch
OWN = {"whole": SIZES, "flat": [(5, 8), (3, 4), (2, 2)], "thin": [(8, 5), (4, 3), (2, 2)]}
FLOOR = 0.01


def outputs(sizes, mean=-4.0, seed=0, deltas=True):
    generator = torch.Generator().manual_seed(seed)

    def noise(channels):
        return [torch.randn(1, h * w * ANCHORS, channels, generator=generator) for h, w in sizes]

    logits = [2 * level + mean for level in noise(CLASSES)]
    return Outputs(logits=logits, deltas=noise(4) if deltas else None)


def written_out(of_image, own, floor):
    """The logits that an image should come back with, in a batch of SIZES."""
    levels = []
    for logits, (h, w), (height, width) in zip(of_image.logits, own, SIZES, strict=True):
        scores = logits.sigmoid()
        below = scores < floor
        rest = scores[below].double().mean().float().logit()
        full = torch.full((height, width, ANCHORS, CLASSES), NEVER)
        rounded = torch.where(below, rest, logits.half().float())
        full[:h, :w] = rounded.view(h, w, ANCHORS, CLASSES)
        levels.append(full.view(1, -1, CLASSES))
    return levels


def equal(one: KeptOutputs, other: KeptOutputs) -> bool:
    arrays, of_other = ({**vars(kept), **dict(enumerate(kept.maps))} for kept in (one, other))
    assert len(arrays.pop("maps")) == len(of_other.pop("maps"))
    pairs = [(value, of_other[name]) for name, value in arrays.items()]
    return all(a is b is None or (a.dtype == b.dtype and np.array_equal(a, b)) for a, b in pairs)


@pytest.mark.parametrize("floor", [0, FLOOR])
def test_images_of_three_sizes_come_back_in_one_batch(floor):
    images = [outputs(own, seed=seed) for seed, own in enumerate(OWN.values())]
    kept = [to_keep(image, own, floor)[0] for image, own in zip(images, OWN.values(), strict=True)]
    found = expanded(kept, SIZES, CPU, {"logits", "deltas"})
    of_images = [written_out(x, own, floor) for x, own in zip(images, OWN.values(), strict=True)]
    for level, wanted in zip(found.logits, zip(*of_images, strict=True), strict=True):
        assert level.is_contiguous() and torch.allclose(level, torch.cat(wanted), rtol=1e-6)


@pytest.mark.parametrize("floor", [0, FLOOR])
def test_cells_beyond_an_image_count_for_nothing(floor):
    """Neither in the number that the loss is divided by, nor as a score to learn."""
    own = OWN["flat"]
    kept = to_keep(outputs(own), own, floor)[0]
    alone, in_batch = (expanded([kept], sizes, CPU, {"logits"}) for sizes in (own, SIZES))
    for of_own, of_batch in zip(alone.logits, in_batch.logits, strict=True):
        power = teacher_power(of_own).item()
        assert teacher_power(of_batch).item() == pytest.approx(power, rel=1e-6)
        scores = of_batch.sigmoid().flatten()
        assert (scores > 1e-9).sum() == of_own.numel() and scores.min() >= 0


def test_all_boxes_come_back_with_all_scores():
    image = outputs(OWN["thin"])
    found = expanded([to_keep(image, OWN["thin"], 0)[0]], SIZES, CPU, {"logits", "deltas"})
    for level, (h, w) in enumerate(OWN["thin"]):
        wanted = torch.zeros(*SIZES[level], ANCHORS, 4)
        wanted[:h, :w] = image.deltas[level][0].half().float().view(h, w, ANCHORS, 4)
        assert torch.equal(found.deltas[level][0], wanted.flatten(0, 2))


def test_boxes_come_back_where_an_anchor_has_a_score():
    image = outputs(OWN["thin"])
    found = expanded([to_keep(image, OWN["thin"], FLOOR)[0]], SIZES, CPU, {"logits", "deltas"})
    for level, (h, w) in enumerate(OWN["thin"]):
        height, width = SIZES[level]
        has_score = (image.logits[level].sigmoid() >= FLOOR).any(dim=2)[0]
        wanted = torch.zeros(height, width, ANCHORS, 4)
        deltas = image.deltas[level][0].half().float() * has_score[:, None]
        wanted[:h, :w] = deltas.view(h, w, ANCHORS, 4)
        assert 0 < has_score.sum() < len(has_score) or level == 2
        assert torch.equal(found.deltas[level][0], wanted.flatten(0, 2))


@pytest.mark.parametrize("floor", [0, FLOOR, 0.999999])
@pytest.mark.parametrize("deltas", [True, False])
def test_bytes_hold_all(floor, deltas):
    """Also where every score is kept, or none is."""
    kept = to_keep(outputs(OWN["flat"], deltas=deltas), OWN["flat"], floor)[0]
    assert equal(KeptOutputs.from_bytes(b"".join(kept.pieces())), kept)
    all_of_them = kept.levels.prod(axis=1).sum()
    assert {0: all_of_them, 0.999999: 0}.get(floor, len(kept.logits)) == len(kept.logits)
    found = expanded([kept], SIZES, CPU, {"logits", "deltas"} if deltas else {"logits"})
    assert all(level.isfinite().all() for level in found.logits)


def test_what_is_not_kept_has_its_share_of_the_sum():
    image = outputs(SIZES, mean=-6.0)
    found = expanded([to_keep(image, SIZES, 0.05)[0]], SIZES, CPU, {"logits", "deltas"})
    for exact, kept in zip(image.logits, found.logits, strict=True):
        assert kept.sigmoid().sum() == pytest.approx(exact.sigmoid().sum().item(), rel=1e-3)
        assert teacher_power(kept) == pytest.approx(teacher_power(exact).item(), rel=0.1)


def test_numbers_beyond_half_precision_stay_finite():
    image = outputs(SIZES)
    image.logits[0][0, 0, 0], image.deltas[0][0, 0, 0] = 1e6, -1e6
    found = expanded([to_keep(image, SIZES, FLOOR)[0]], SIZES, CPU, {"logits", "deltas"})
    assert found.logits[0][0, 0, 0] == 65504 and found.deltas[0][0, 0, 0] == -65504


def test_a_score_that_is_no_number_is_not_hidden():
    image = outputs(SIZES)
    image.logits[1][0, 3, 1] = float("nan")
    found = expanded([to_keep(image, SIZES, FLOOR)[0]], SIZES, CPU, {"logits", "deltas"})
    assert found.logits[1].isnan().any()


@pytest.mark.parametrize("length", [0, 3, 4, 11, 500, -1])
def test_a_file_that_was_cut_short_is_refused(length):
    data = b"".join(to_keep(outputs(SIZES), SIZES, FLOOR)[0].pieces())
    with pytest.raises(ValueError, match="checksum"):
        KeptOutputs.from_bytes(data[:length])


def test_a_bit_that_has_turned_is_refused():
    data = bytearray(b"".join(to_keep(outputs(SIZES), SIZES, FLOOR)[0].pieces()))
    data[len(data) // 2] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        KeptOutputs.from_bytes(bytes(data))


def test_arrays_that_are_longer_than_their_file_are_refused():
    """Whoever wrote the checksum below them."""
    data = bytearray(b"".join(to_keep(outputs(SIZES), SIZES, FLOOR)[0].pieces()))
    for position in (4, 8, 12, 16):
        longer = data[:position] + b"\xff\xff\xff\x7f" + data[position + 4 :]
        longer[:4] = zlib.crc32(longer[4:]).to_bytes(4, "little")
        with pytest.raises(ValueError):
            KeptOutputs.from_bytes(bytes(longer))


def _with_index(kept: KeptOutputs, packed: bytes) -> bytes:
    """The file with another index, which comes last, and a checksum that is right."""
    content = b"".join(kept.pieces()[1:-1]) + packed
    return zlib.crc32(content).to_bytes(4, "little") + content


def test_an_index_that_is_no_packed_one_is_refused():
    kept = to_keep(outputs(SIZES), SIZES, FLOOR)[0]
    mask = np.zeros(kept.levels.prod(axis=1).sum(), bool)
    mask[kept.index] = True
    good = np.packbits(mask).tobytes()
    assert equal(KeptOutputs.from_bytes(_with_index(kept, zlib.compress(good))), kept)
    for packed in (b"", b"no zlib", zlib.compress(good[:-1]), zlib.compress(good + b"0")):
        with pytest.raises(ValueError, match="index"):
            KeptOutputs.from_bytes(_with_index(kept, packed))


def test_an_index_that_unpacks_to_much_takes_no_memory():
    kept = to_keep(outputs(SIZES), SIZES, FLOOR)[0]
    data = _with_index(kept, zlib.compress(bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(ValueError, match="index"):
        KeptOutputs.from_bytes(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("floor", [0, FLOOR])
def test_a_reader_hands_all_of_it_over(floor):
    for deltas in (True, False):
        kept = to_keep(outputs(OWN["thin"], deltas=deltas), OWN["thin"], floor)[0]
        assert equal(pickle.loads(pickle.dumps(kept)), kept)


def maps(sizes, seed=0, channels=5):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, channels, h, w, generator=generator) for h, w in sizes]


@pytest.mark.parametrize("with_scores", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_of_three_sizes_come_back_in_one_batch(with_scores, layout):
    images, kept = [], []
    for seed, own in enumerate(OWN.values()):
        image = outputs(own, seed=seed) if with_scores else Outputs()
        image.features = [level.to(memory_format=layout) for level in maps(own, seed)]
        images.append(image)
        kept += to_keep(image, own, 0)
    kinds = {"features", "logits", "deltas"} if with_scores else {"features"}
    found = expanded(kept, SIZES, CPU, kinds)
    assert (found.logits is not None) == with_scores
    for level, (of_batch, size) in enumerate(zip(found.features, SIZES, strict=True)):
        wanted = torch.empty(3, 5, *size)
        for number, image in enumerate(images):
            own = image.features[level].half().float()
            beyond = (0, size[1] - own.shape[3], 0, size[0] - own.shape[2])
            wanted[number] = F.pad(own, beyond, mode="replicate")[0]
        assert of_batch.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(of_batch, wanted) and of_batch.dtype is torch.float32


@pytest.mark.parametrize("with_scores", [False, True])
def test_bytes_and_readers_hold_all_maps(with_scores):
    image = outputs(SIZES) if with_scores else Outputs()
    image.features = [level.movedim(2, 3) for level in maps(SIZES)]
    (kept,) = to_keep(image, SIZES, FLOOR)
    data = b"".join(kept.pieces())
    back = [KeptOutputs.from_bytes(data), *pickle.loads(pickle.dumps(OnePiece([kept])))]
    assert len(kept.maps) == 3 and all(equal(found, kept) for found in back)
    for length in range(len(data) - 200, len(data)):
        with pytest.raises(ValueError):
            KeptOutputs.from_bytes(data[:length])


def test_of_maps_what_is_no_number_or_too_large_is_not_hidden():
    levels = maps(SIZES)
    levels[0][0, 0, 0, :2] = torch.tensor([1e6, float("nan")])
    (kept,) = to_keep(Outputs(features=levels), SIZES, 0)
    found = expanded([kept], SIZES, CPU, {"features"}).features[0][0, 0, 0]
    assert found[0].isinf() and found[1].isnan() and found[2:].isfinite().all()


def test_larger_maps_than_those_of_the_batch_are_an_error():
    (kept,) = to_keep(Outputs(features=maps(SIZES)), SIZES, 0)
    with pytest.raises(ValueError, match=r"8 x 8 cells in a batch of \(5, 8\)"):
        expanded([kept], OWN["flat"], CPU, {"features"})


def test_images_are_kept_each_by_itself():
    images = [outputs(SIZES, seed=seed) for seed in range(3)]
    batch = Outputs(
        *[None],
        *[
            [torch.cat(level) for level in zip(*(getattr(x, kind) for x in images), strict=True)]
            for kind in ("logits", "deltas")
        ],
    )
    singles = [to_keep(image, SIZES, FLOOR)[0] for image in images]
    assert all(map(equal, to_keep(batch, SIZES, FLOOR), singles))


def test_where_no_score_is_kept_boxes_are_zero():
    found = expanded(
        [to_keep(outputs(SIZES), SIZES, 0.999999)[0]], SIZES, CPU, {"logits", "deltas"}
    )
    assert [level.shape for level in found.deltas] == [(1, h * w * ANCHORS, 4) for h, w in SIZES]
    assert not any(level.any() for level in found.deltas)


def test_a_larger_image_than_the_batch_is_an_error():
    kept = to_keep(outputs(SIZES), SIZES, FLOOR)[0]
    with pytest.raises(ValueError, match=r"8 x 8 cells in a batch of \(5, 8\)"):
        expanded([kept], OWN["flat"], CPU, {"logits", "deltas"})
