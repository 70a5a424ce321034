"""What a teacher says of a batch is the same to the last bit, however much of it was kept."""

import itertools
import shutil
from functools import partial

import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from sad.data.loader import build_mixed_loader
from sad.data.teacher_cache import TeacherCache
from sad.losses.distillation import (
    DISTILLATION_LOSSES,
    NEVER,
    agreed_outside,
    kl_divergence,
    teacher_power,
)
from sad.losses.fused import FusedClassLosses
from sad.modeling import ask_teacher as asking
from sad.modeling.ask_teacher import ask_teacher
from sad.modeling.teacher import build_teacher, teacher_answer, teacher_outputs
from sad.terms import needed
from sad.terms.term import Targets

TERMS = ("SAD.DISTILL.TERMS", "('class','box')")
MAPS = ("SAD.DISTILL.FEATURE.MASK", "gaussian")
PAIRS = {
    "scores": ("SAD.yaml", *TERMS),
    "scores and maps": ("SAD.yaml", TERMS[0], "('class','box','feature')", *MAPS),
    "maps": ("TAR.yaml",),
}
UNION = ("SAD.LOADER.MIX", "union", "DATALOADER.ASPECT_RATIO_GROUPING", False)


class Run:
    """A teacher, batches of wide, tall and square images in two sizes, flipped or not, and a
    folder of its answers.
    """

    def __init__(self, toy, root, *opts, batch=4, pair="scores"):
        of_cache = ("SAD.TEACHER.CACHE.DIR", str(root), "SAD.TEACHER.CACHE.LEAVE_FREE_GB", 0.0)
        size = ("SOLVER.IMS_PER_BATCH", batch)
        config, *terms = PAIRS[pair]
        self.cfg = toy.cfg(config, *UNION, *terms, *of_cache, *size, *opts)
        self.need = needed(self.cfg.SAD.DISTILL.TERMS)
        self.cache = TeacherCache.of(self.cfg)
        self.teacher = build_teacher(self.cfg)[0]
        self.asked = []
        self.teacher.backbone.register_forward_hook(
            lambda _, given, __: self.asked.append(len(given[0]))
        )

    def batches(self, count=4):
        return list(itertools.islice(build_mixed_loader(self.cfg), count))

    def ask(self, samples):
        sides = [max(side) for side in zip(*(x["image"].shape[-2:] for x in samples), strict=True)]
        return ask_teacher(
            self.teacher,
            samples,
            tuple(-(-side // 32) * 32 for side in sides),
            image_format="BGR",
            need=self.need,
            precision="float32",
            cache=self.cache,
        )


def pairs_of(one, other):
    """Tensors of two outputs, at least one."""
    found = [
        pair
        for kind in ("logits", "deltas", "features")
        if getattr(one, kind) is not None
        for pair in zip(getattr(one, kind), getattr(other, kind), strict=True)
    ]
    assert found
    return found


def same(one, other):
    return all(torch.equal(*pair) for pair in pairs_of(one, other))


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_it_makes_no_difference_what_was_kept(toy, tmp_path, pair):
    run = Run(toy, tmp_path / "kept", pair=pair)
    computed = [run.ask(batch) for batch in run.batches()]
    assert run.asked
    run.asked.clear()
    read = [run.ask(batch) for batch in run.batches()]
    assert not run.asked and all(map(same, computed, read))
    # Half of the files are gone, so that other images are computed together.
    for path in sorted((tmp_path / "kept").rglob("??????????*"))[::2]:
        if path.is_file():
            path.unlink()
    mixed = [run.ask(batch) for batch in run.batches()]
    assert run.asked and all(map(same, computed, mixed))


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_an_image_is_answered_alike_in_any_batch(toy, tmp_path, pair):
    """Also one by one, and with the images in another order."""
    run = Run(toy, tmp_path, pair=pair)
    for batch in run.batches():
        together = run.ask(batch)
        backwards = run.ask(batch[::-1])
        singles = [run.ask([sample]) for sample in batch]
        for level, other in pairs_of(together, backwards):
            assert torch.equal(level, other.flip(0))
        for number, single in enumerate(singles):
            for found, alone in pairs_of(together, single):
                assert alone[0].numel() < found[0].numel() or torch.equal(alone[0], found[number])


def test_regions_at_an_edge_are_pooled_as_from_the_image_alone(toy, tmp_path):
    """Also where its batch is larger on both sides."""
    run = Run(toy, tmp_path, pair="maps")
    image = torch.randint(256, (3, 64, 64), dtype=torch.uint8)
    sample = {"image": image, "kept": None, "kept_path": run.cache.path(image)}
    boxes = torch.tensor([[40.0, 40, 64, 64], [0, 60, 64, 64], [61, 3, 64, 6], [0, 0, 64, 64]])
    answers = []
    for side in (64, 96):
        outputs = ask_teacher(
            run.teacher,
            [sample],
            (side, side),
            image_format="BGR",
            need=run.need,
            precision="float32",
            cache=run.cache,
        )
        regions = [Instances((64, 64), proposal_boxes=Boxes(boxes))]
        targets = Targets([], torch.empty(1, 0), [0], [], 2, regions=regions)
        teacher_answer(run.teacher, outputs, targets, run.need)
        assert outputs.features[0].shape[-1] == side // 4
        answers.append((*outputs.roi_logits, *outputs.roi_deltas))
    for alone, in_batch in zip(*answers, strict=True):
        assert torch.allclose(alone, in_batch, rtol=1e-5, atol=1e-6 * alone.abs().max().item())


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["kl", "adl", "qfl"])
def test_of_cells_beyond_an_image_nothing_is_learned(toy, tmp_path, name, fused):
    """The loss of a batch is that of its images, each by itself."""
    run = Run(toy, tmp_path)
    batch = next(b for b in run.batches() if len({x["image"].shape for x in b}) > 1)
    outputs = run.ask(batch)
    number, classes = len(batch), outputs.logits[0].shape[2]
    generator = torch.Generator().manual_seed(0)
    student = [
        torch.randn(level.shape, generator=generator, requires_grad=True)
        for level in outputs.logits
    ]
    labels = torch.full((number, sum(level.shape[1] for level in student)), classes)
    options = {"gamma": 2.0, "beta": 1.5, "form": "kl", "alpha": 0.5}
    loss = partial(DISTILLATION_LOSSES[name], **options)
    if fused:
        one_pass = FusedClassLosses(name, focal_alpha=0.25, focal_gamma=2.0, **options)
        everyone = list(range(number))
        arguments = student, outputs.logits, labels, [], everyone, 1.0, 1.0, outputs.inside
        focal, found = one_pass(*arguments)
        (focal + found).backward()
    else:
        theirs = agreed_outside(outputs.logits, student, range(number), outputs.inside)
        pairs = zip(student, theirs, strict=True)
        found = sum(loss(x, z, torch.full(x.shape[:2], classes)).sum() for x, z in pairs)
        found.backward()
    wanted, outside = 0.0, 0
    for image, sample in enumerate(batch):
        kept = run.cache.read(sample["kept_path"])
        alone = run.ask([sample]).logits
        for level, (h, w, *_) in enumerate(kept.levels.tolist()):
            size = outputs.inside[level][0]
            x = student[level][image].unflatten(0, (*size, -1))
            own = x[:h, :w].flatten(0, 2)
            wanted += loss(own, alone[level][0], torch.full(own.shape[:1], classes)).sum().item()
            slope = student[level].grad[image].unflatten(0, (*size, -1))
            beyond = torch.cat([slope[h:].flatten(), slope[:h, w:].flatten()])
            assert beyond.abs().sum() < 1e-6 * len(beyond) + 1e-9 and slope[:h, :w].any()
            outside += len(beyond)
    assert outside and found.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("floor", [0.0, 0.001])
def test_in_a_batch_of_many_sizes_an_answer_is_nearly_the_teachers(toy, tmp_path, floor):
    """But for the cells beyond an image, where it would look at nothing. Sums over all cells are
    what the loss is divided by, and the loss of a student.
    """
    run = Run(toy, tmp_path, "SAD.TEACHER.CACHE.FLOOR", floor, batch=8)
    cache, sizes = run.cache, set()
    for batch in run.batches():
        sizes |= {x["image"].shape for x in batch}
        found = [torch.cat(run.ask(batch).logits, dim=1)]
        run.cache = None
        exact = torch.cat(run.ask(batch).logits, dim=1)
        found.append(exact.masked_fill(found[0] == NEVER, NEVER))
        run.cache = cache
        powers = [teacher_power(z).item() for z in found]
        assert powers[0] == pytest.approx(powers[1], rel=0.1)
        student = torch.full_like(found[0], -5.0)
        losses = [kl_divergence(student, z).sum().item() for z in found]
        assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert len(sizes) > 2


@pytest.mark.parametrize("pair", PAIRS)
def test_alone_an_answer_is_the_teachers_but_for_the_rounding(toy, tmp_path, pair):
    run = Run(toy, tmp_path, "SAD.TEACHER.CACHE.FLOOR", 0.0, pair=pair)
    for sample in run.batches()[0]:
        exact = teacher_outputs(run.teacher, [sample["image"]], "BGR", run.need)
        pairs = pairs_of(exact, run.ask([sample]))
        for exact, found in pairs:
            noise = 1e-6 * exact.abs().max().item()
            assert torch.allclose(exact, found, rtol=2**-10, atol=noise)


@pytest.mark.parametrize("name", ["adl", "kl", "fdl"])
def test_the_floor_changes_the_loss_by_little(toy, tmp_path, name):
    """And the number that it is divided by, for a student that is not far from the teacher."""
    run = Run(toy, tmp_path)
    run.teacher.head.cls_score.bias.data -= 6.0  # which lets many scores fall below the floor
    sample = run.batches(1)[0][0]
    exact = teacher_outputs(run.teacher, [sample["image"]], "BGR", {"logits"})
    exact, kept = (torch.cat(x.logits, dim=1)[0] for x in (exact, run.ask([sample])))
    assert 0.1 < (exact.sigmoid() < 0.001).float().mean() < 0.9
    student = exact + torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))
    background = torch.full((len(exact),), exact.shape[1])
    options = {"gamma": 2.0, "beta": 1.5, "form": "kl", "alpha": 0.5}
    losses = [
        DISTILLATION_LOSSES[name](student, z, background, **options).sum().item()
        for z in (exact, kept)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.02) and losses[0] != losses[1]
    assert teacher_power(kept) == pytest.approx(teacher_power(exact).item(), rel=0.01)


def test_a_network_sees_about_as_many_pixels_at_a_time(toy, tmp_path, monkeypatch):
    """Whatever is missing, and no more than that."""
    monkeypatch.setattr(asking, "PIXELS", 4 * 64 * 64)
    run = Run(toy, tmp_path, "INPUT.MIN_SIZE_TRAIN", "(48,)")
    seen = []
    run.teacher.backbone.register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    (batch,) = run.batches(1)
    run.ask(batch)
    assert {(n, h * w // 1024) for n, _, h, w in seen} == {(2, 6), (4, 4)}
    (batch,) = run.batches(1)
    batch[2]["kept"] = None
    run.asked.clear()
    run.ask(batch)
    assert run.asked in ([2], [4])


def test_a_broken_file_is_computed_again(toy, tmp_path, log):
    run = Run(toy, tmp_path)
    first = [run.ask(batch) for batch in run.batches(1)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[:100])
    run.asked.clear()
    assert all(map(same, first, (run.ask(batch) for batch in run.batches(1))))
    assert run.asked and sum("asked again" in line for line in log) == len(files)
    run.asked.clear()
    assert all(map(same, first, (run.ask(batch) for batch in run.batches(1)))) and not run.asked


@pytest.mark.slow
def test_an_image_or_a_teacher_that_has_changed_is_asked_anew(toy, tmp_path):
    copy = tmp_path / "toy"
    shutil.copytree(toy.root, copy)
    for yaml in copy.glob("*.yaml"):
        yaml.write_text(yaml.read_text().replace(str(toy.root), str(copy)))
    toy = type(toy)(copy)
    run = Run(toy, tmp_path / "kept", batch=12)
    run.ask(run.batches(1)[0])
    assert all(sample["kept"] for sample in run.batches(1)[0])
    path = copy / "labeled" / "000001.png"
    Image.open(path).point(lambda value: 255 - value).save(path)
    kept = {sample["file_name"]: sample["kept"] for sample in run.batches(1)[0]}
    assert [name for name, found in kept.items() if found is None] == [str(path)]
    weights = torch.load(copy / "teacher.pth", weights_only=True)
    weights["model"]["head.cls_score.bias"] += 1
    torch.save(weights, copy / "teacher.pth")
    assert not any(sample["kept"] for sample in Run(toy, tmp_path / "kept").batches(1)[0])


def test_a_teacher_that_sees_larger_images(toy, tmp_path):
    """Its maps have as many cells as those of the student, which enlarges its own."""
    run = Run(toy, tmp_path)
    large = {"image": torch.randint(256, (3, 64, 96), dtype=torch.uint8)}
    given = {
        "image": large["image"][:, ::2, ::2].contiguous(),
        "teacher_image": large["image"],
        "kept": None,
        "kept_path": run.cache.path(large["image"]),
    }
    arguments = {"image_format": "BGR", "need": {"logits"}, "precision": "float32", "scale": 2.0}
    exact = ask_teacher(run.teacher, [given], (32, 64), **arguments)
    found = ask_teacher(run.teacher, [given], (32, 64), **arguments, cache=run.cache)
    for level, wanted in zip(found.logits, exact.logits, strict=True):
        assert level.shape == wanted.shape
