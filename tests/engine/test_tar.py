"""Whole runs of TAR: learning, resumed, killed and gone on, in several ranks, in bfloat16."""

import shutil

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from interrupted import assert_same, kill, start, stepping
from interrupted import train as go_on
from processes import run_ranks
from recorded import history, train
from sad.checkpoint.checkpointer import SADCheckpointer
from sad.data.loader import build_mixed_loader
from sad.engine.trainer import SADTrainer
from sad.modeling.teacher import build_teacher
from toy import run_train_net

pytestmark = pytest.mark.slow

# The random teacher's feature maps are large.
SMALL = ("SAD.DISTILL.FEATURE.WEIGHT", 1e-4, "SOLVER.CLIP_FULL_MODEL_NORM", 1.0)
LOSSES = {
    *("loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"),
    *("loss_distill_feature", "loss_distill_roi_class", "loss_distill_roi_box"),
}
DECAY = (
    *("SAD.DISTILL.ROI_CLASS.DECAY_TO", 0.0, "SAD.DISTILL.ROI_CLASS.DECAY", "cosine"),
    *("SAD.DISTILL.FEATURE.DECAY_TO", 0.0, "SAD.DISTILL.FEATURE.DECAY_STEPS", 4),
)
TWENTY = (
    *("SOLVER.MAX_ITER", 20, "SOLVER.CHECKPOINT_PERIOD", 10, "SAD.DISTILL.PROPOSALS", "union"),
    *("SAD.DISTILL.ROI_BOX.GATE", "always"),
)


def state(path) -> dict:
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    """20 iterations of TAR with a checkpoint after the 10th: (output, trainer, Recorder)."""
    output = tmp_path_factory.mktemp("run")
    return output, *train(toy, output, "TAR.yaml", *SMALL, *DECAY, *TWENTY)


def test_what_is_logged(run):
    _, trainer, _ = run
    assert {x for x in trainer.storage.histories() if x.startswith("loss_")} == LOSSES
    for name in LOSSES:
        assert len(history(trainer, name)) == 20
    foreground = history(trainer, "roi_box/num_foreground")
    assert sum(foreground) > 0 and set(history(trainer, "roi_box/open_gates")) <= {0.0, 1.0}
    assert history(trainer, "roi_class/num_learned") == foreground


def test_checkpoint_is_a_plain_faster_rcnn(toy, run):
    output, trainer, _ = run
    saved = state(output / "model_final.pth")
    stock = build_model(toy.cfg("rcnn_student.yaml"))
    assert list(saved["model"]) == list(stock.state_dict())
    stock.load_state_dict(saved["model"], strict=True)
    layers = trainer.model.terms.state_dict()
    assert len(layers) == 8  # weights and biases of four levels, in a section of their own
    assert not layers.keys() & saved["model"].keys()


def test_evaluations_do_not_change_what_is_learned(toy, tmp_path):
    """Detectron2 samples anchors and regions by torch's own generator."""
    weights = []
    for period in (0, 1):
        opts = ("TEST.EVAL_PERIOD", period, "SOLVER.MAX_ITER", 3, "SOLVER.LR_DROPS", ())
        trainer, _ = train(toy, tmp_path / str(period), "rcnn_student.yaml", *opts)
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())


def test_evaluation_by_either_yaml(toy, run, tmp_path, monkeypatch):
    output, _, _ = run
    found = {}
    for name in ("rcnn_student.yaml", "TAR.yaml"):
        cfg = toy.cfg(name, "OUTPUT_DIR", str(tmp_path / name))
        model = build_model(cfg)
        SADCheckpointer(model, strict=True).load(str(output / "model_final.pth"))
        found[name] = dict(SADTrainer.test(cfg, model)["bbox"])
    one, other = found.values()
    assert one == pytest.approx(other, nan_ok=True, abs=0)
    arguments = ("--eval-only", "OUTPUT_DIR", tmp_path / "evaluated", "MODEL.WEIGHTS")
    run_train_net(monkeypatch, "--config-file", toy.path("TAR.yaml"), *arguments,
                  output / "model_final.pth")  # fmt: skip
    assert (tmp_path / "evaluated" / "inference" / "toy_labeled").is_dir()


def test_resumed_run_is_the_unbroken_run(toy, run, tmp_path):
    output, unbroken, recorded = run
    folder = tmp_path / "resumed"
    folder.mkdir()
    shutil.copy(output / "model_0000009.pth", folder)
    (folder / "last_checkpoint").write_text("model_0000009.pth")
    opts = (*SMALL, *DECAY, *TWENTY, "DATASETS.TEST", ())
    trainer, recorder = train(toy, folder, "TAR.yaml", *opts, resume=True)
    assert recorder.samples == recorded.samples[10:]
    for key in LOSSES:
        assert history(trainer, key) == history(unbroken, key), key
    for key, value in unbroken.model.terms.state_dict().items():
        assert torch.equal(trainer.model.terms.state_dict()[key], value), key
    one, other = (state(x / "model_final.pth")["model"] for x in (folder, output))
    assert all(torch.equal(one[key], other[key]) for key in other)


def test_killed_run_goes_on_bit_for_bit(toy, tmp_path):
    def cfg(name):
        opts = ("SOLVER.CHECKPOINT_PERIOD", 5, "SEED", 3, "OUTPUT_DIR", str(tmp_path / name))
        return toy.cfg("TAR.yaml", *SMALL, *DECAY, "SOLVER.MAX_ITER", 30, *opts)

    go_on(cfg("unbroken"))
    killed = kill(start(cfg("killed")), tmp_path / "killed", stepping, 60)
    go_on(cfg("killed"))
    assert killed
    one, other = (state(tmp_path / name / "model_final.pth") for name in ("unbroken", "killed"))
    for section in ("model", "terms", "iteration"):
        assert_same(one[section], other[section])


@pytest.mark.parametrize("term", ["feature", "roi_class", "roi_box"])
def test_it_learns(toy, tmp_path, term):
    """Of each term by itself, whose gradient is clipped with the detector's."""
    section = f"SAD.DISTILL.{term.upper()}"
    opts = ("SAD.DISTILL.TERMS", (term,), f"{section}.WEIGHT", 20.0, "SOLVER.BASE_LR", 0.05)
    if term != "feature":
        opts += ("SAD.DISTILL.FEATURE.MASK", "none", "SAD.DISTILL.FEATURE.LAYER", "auto")
        opts += ("SAD.DISTILL.FEATURE.WEIGHT", 1.0)
    if term == "roi_box":
        opts += (f"{section}.GATE", "always", f"{section}.DIVISOR", "fg")
    trainer, _ = train(toy, tmp_path, "TAR.yaml", *opts, *SMALL[2:], "SOLVER.MAX_ITER", 60)
    values = history(trainer, f"loss_distill_{term}")
    assert sum(values[-10:]) < 0.8 * sum(values[:10])


def test_accumulated_gradient_is_the_mean_of_the_micro_batches(toy, tmp_path):
    one = ("SOLVER.MAX_ITER", 1, "SOLVER.LR_DROPS", (), "SOLVER.CLIP_FULL_MODEL_NORM", 0.0)
    opts = (*one, "SOLVER.IMS_PER_BATCH", 4, "DATASETS.TEST", (), "SOLVER.BASE_LR", 0.0)
    opts += ("SOLVER.ACCUMULATION_STEPS", 2, "SAD.LOADER.MIX", "union", *SMALL[:2])
    # All regions are sampled, so that the sampler's chance has no say.
    opts += ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", 10**6, "MODEL.RPN.POSITIVE_FRACTION", 1.0)
    opts += ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 10**6)
    opts += ("MODEL.ROI_HEADS.POSITIVE_FRACTION", 1.0)
    trainer, recorder = train(toy, tmp_path / "run", "TAR.yaml", *opts)
    batch = next(iter(build_mixed_loader(trainer.cfg)))
    assert [len(samples) for samples in recorder.samples] == [2, 2]
    torch.manual_seed(0)
    model = build_model(trainer.cfg)
    model.attach_teacher(build_teacher(trainer.cfg)[0])
    model.terms.load_state_dict(trainer.model.terms.state_dict())
    with EventStorage():
        micro_batches = [model(batch[:2]), model(batch[2:])]
    for losses in micro_batches:
        (sum(losses.values()) / 2).backward()
    for ours, theirs in zip(recorder.gradients, [p.grad for p in model.parameters()], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for name in LOSSES:
        mean = sum(losses[name].item() for losses in micro_batches) / 2
        assert history(trainer, name) == [pytest.approx(mean, rel=1e-5)]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains(toy, tmp_path, precision):
    amp = ("SOLVER.AMP.ENABLED", True, "SOLVER.AMP.PRECISION", precision)
    opts = (*amp, "SAD.TEACHER.PRECISION", precision, "SOLVER.MAX_ITER", 12)
    trainer, _ = train(toy, tmp_path, "TAR.yaml", *SMALL, *opts)
    weights = trainer.model.state_dict().values()
    assert all(x.dtype == torch.float32 for x in weights if x.is_floating_point())
    assert all(x.isfinite().all() for x in weights)


# With one image in each rank, often only one of the two has soft targets.
TARGETS = [(("hard", "soft"), ("hard", "soft")), (("hard", "soft"), ("hard",))]


def train_and_compare(toy, folder, norm):
    for number, (labeled, unlabeled) in enumerate(TARGETS):
        opts = ("SAD.TARGETS.LABELED", labeled, "SAD.TARGETS.UNLABELED", unlabeled)
        opts += ("SOLVER.MAX_ITER", 12, "SOLVER.IMS_PER_BATCH", 2, "SAD.LOADER.MIX", "union")
        opts += ("MODEL.RESNETS.NORM", norm, "SOLVER.BASE_LR", 1e-3)
        trainer, _ = train(toy, folder / str(number), "TAR.yaml", *SMALL, *opts)
        final = dict(trainer.model.module.named_parameters())
        for other in comm.all_gather(final):
            assert all(torch.equal(final[name], other[name]) for name in final)
        assert all(value.isfinite().all() for value in final.values())


@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_two_ranks(toy, tmp_path, norm):
    run_ranks(train_and_compare, toy, tmp_path, norm)
    for number in range(len(TARGETS)):
        stock = build_model(toy.cfg("rcnn_student.yaml", "MODEL.RESNETS.NORM", norm))
        saved = state(tmp_path / str(number) / "model_final.pth")["model"]
        stock.load_state_dict(saved, strict=True)
