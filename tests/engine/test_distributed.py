"""A step is the same however its batch is split over micro-batches and ranks."""

import pytest
import torch
from detectron2.utils import comm

import toy as toy_problem
from processes import run_ranks
from sad.engine.trainer import SADTrainer

# No batch statistics, which see a micro-batch; and a clipped norm, which must be the step's.
NORMS = {
    "FrozenBN": ("MODEL.RESNETS.NORM", "FrozenBN", "MODEL.RETINANET.NORM", ""),
    "GN": (
        *("MODEL.RESNETS.NORM", "GN", "MODEL.RETINANET.NORM", "GN"),
        *("MODEL.RESNETS.STEM_OUT_CHANNELS", 32, "MODEL.RESNETS.RES2_OUT_CHANNELS", 32),
        *("MODEL.FPN.OUT_CHANNELS", 32),
    ),
}
STEP = (
    *("SOLVER.IMS_PER_BATCH", 4, "SOLVER.MAX_ITER", 5, "SOLVER.LR_DROPS", ()),
    *("SOLVER.CLIP_FULL_MODEL_NORM", 1.0, "INPUT.MIN_SIZE_TRAIN", (64,), "DATASETS.TEST", ()),
)
GLOBAL = ("SOLVER.LOSS_NORMALIZERS", "global")
# Where often a micro-batch, or all images of a rank, lack hard targets, or soft ones.
SPLIT = ("SAD.TARGETS.LABELED", ("hard",), "SAD.TARGETS.UNLABELED", ("soft",))


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """The toy problem with images of one size, so that no padding depends on the batch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_problem, "SIZES", [(64, 64)] * 6)
        return toy_problem.build(tmp_path_factory.mktemp("squares"))


def train(cfg, output, dtype, mean):
    """Train a few steps in every rank; the first writes the weights and the logged losses."""
    torch.set_default_dtype(dtype)
    torch.manual_seed(0)  # the command line seeds through default_setup
    trainer = SADTrainer(cfg)
    if mean:
        trainer._trainer.student.loss_normalizer = mean
    lacks_hard, synchronised = [], []  # of each forward of this rank

    def record(model, inputs):
        lacks_hard.append(not inputs[0].targets.hard)
        synchronised.append(getattr(model, "require_backward_grad_sync", True))

    trainer.model.register_forward_pre_hook(record)
    trainer.resume_or_load(False)
    trainer.train()
    weights = dict(getattr(trainer.model, "module", trainer.model).named_parameters())
    for other in comm.all_gather(weights):
        assert all(torch.equal(weights[name], other[name]) for name in weights)
    lacks_hard = comm.all_gather(lacks_hard)
    if comm.is_main_process():
        logged = {
            name: [value for value, _ in trainer.storage.history(name).values()]
            for name in trainer.storage.histories()
            if "loss" in name
        }
        torch.save(
            {
                **{"weights": weights, "logged": logged},
                **{"lacks_hard": lacks_hard, "synchronised": synchronised},
            },
            output,
        )


@pytest.fixture
def trained(squares, tmp_path):
    """A function that trains on some ranks with some accumulation steps.

    The moving mean of the foreground anchors begins at `mean`, or, with None, where it does by
    itself, which depends on the number of forwards.
    """

    def run(ranks, steps, *opts, dtype=torch.float64, mean=100.0):
        cfg = squares.cfg(
            *("SAD.yaml", *STEP, "OUTPUT_DIR", str(tmp_path)),
            *("SOLVER.ACCUMULATION_STEPS", steps, *opts),
        )
        if ranks == 1:
            train(cfg, tmp_path / "trained.pth", dtype, mean)
        else:
            run_ranks(train, cfg, tmp_path / "trained.pth", dtype, mean, count=ranks)
        return torch.load(tmp_path / "trained.pth")

    yield run
    torch.set_default_dtype(torch.float32)


def difference(one: dict, other: dict) -> float:
    """The largest difference of two trainings' weights over the largest weight of the tensor."""
    return max(
        ((weight - other["weights"][name]).abs().max() / weight.abs().max().clamp_min(1e-3)).item()
        for name, weight in one["weights"].items()
    )


# float64, where rounding cannot push a unit over the bend of its ReLU.
@pytest.mark.parametrize(
    ("norm", "mix"),
    [
        ("FrozenBN", "union"),
        pytest.param("FrozenBN", "alternate", marks=pytest.mark.slow),
        pytest.param("GN", "union", marks=pytest.mark.slow),
    ],
)
def test_step_does_not_depend_on_its_split(trained, norm, mix):
    opts = (*NORMS[norm], *GLOBAL, "SAD.LOADER.MIX", mix)
    whole = trained(1, 1, *opts)
    for ranks, steps in ((1, 4), (2, 1), (2, 2)):
        split = trained(ranks, steps, *opts)
        assert difference(whole, split) < 1e-10, (ranks, steps)
        for name, losses in whole["logged"].items():
            assert split["logged"][name] == pytest.approx(losses, rel=1e-5), name


@pytest.mark.slow
def test_as_many_forwards_begin_alike(trained):
    """Micro-batches stand in for ranks from the first iteration on."""
    opts = (*NORMS["FrozenBN"], *GLOBAL, "SAD.LOADER.MIX", "union")
    whole = trained(1, 4, *opts, mean=None)
    assert difference(whole, trained(2, 2, *opts, mean=None)) < 1e-10
    assert difference(whole, trained(1, 4, *opts, mean=400.0)) == 0


@pytest.mark.slow
def test_in_float32(trained):
    opts = (*NORMS["FrozenBN"], *GLOBAL, "SAD.LOADER.MIX", "union")
    whole, split = (trained(*n, *opts, dtype=torch.float32) for n in ((1, 1), (2, 2)))
    assert 0 < difference(whole, split) < 1e-4


@pytest.mark.slow
def test_local_normalizers_depend_on_the_split(trained):
    """Detectron2's own count the foreground of each forward, and their average moves with each."""
    whole = trained(1, 1, *NORMS["FrozenBN"])
    assert difference(whole, trained(1, 1, *NORMS["FrozenBN"])) == 0
    for ranks, steps in ((1, 2), (2, 1)):
        assert difference(whole, trained(ranks, steps, *NORMS["FrozenBN"])) > 1e-2


def test_rank_without_hard_targets(trained):
    """Some images have boxes alone, the others the teacher's logits alone."""
    opts = (*NORMS["FrozenBN"], *GLOBAL, *SPLIT, "SAD.LOADER.MIX", "union")
    whole = trained(1, 1, *opts)
    for steps in (1, 2):
        split = trained(2, steps, *opts)
        assert split["synchronised"] == ([False] * (steps - 1) + [True]) * 5
        one, other = split["lacks_hard"]
        assert any(a != b for a, b in zip(one, other, strict=True))  # one of the two ranks
        if steps == 2:  # also with the last micro-batch, after which the ranks meet
            assert any(a != b for a, b in zip(one[1::2], other[1::2], strict=True))
        assert difference(whole, split) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("anchors", ["all", "better"])
def test_all_terms_count_each_image_alike(trained, anchors):
    """Also where micro-batches have unequal numbers of images with soft targets."""
    opts = (*NORMS["FrozenBN"], *GLOBAL, "SAD.LOADER.MIX", "union")
    opts += ("SAD.DISTILL.TERMS", "('class','box','feature')", "SAD.DISTILL.BOX.ANCHORS", anchors)
    opts += SPLIT if anchors == "all" else ("SAD.TARGETS.UNLABELED", ("hard",))
    assert difference(trained(1, 1, *opts), trained(2, 2, *opts)) < 1e-10


@pytest.mark.slow
def test_top_anchors_and_channels_count_each_image_alike(trained):
    opts = (*NORMS["FrozenBN"], *GLOBAL, *SPLIT, "SAD.LOADER.MIX", "union")
    opts += ("SAD.DISTILL.TERMS", "('class','feature')", "SAD.DISTILL.FEATURE.LOSS", "cwd")
    opts += ("SAD.DISTILL.CLASS.LOSS", "qfl", "SAD.DISTILL.CLASS.TOP", 0.05)
    opts += ("SAD.DISTILL.CLASS.NORMALIZER", "best_score")
    assert difference(trained(1, 1, *opts), trained(2, 2, *opts)) < 1e-10
