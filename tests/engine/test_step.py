"""One step: accumulation, clipping, precision, and losses and gradients that are no numbers."""

import copy
import re

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.modeling import box_regression, build_model
from detectron2.utils.events import EventStorage

from recorded import Recorder, history, make_trainer, train
from sad.data.loader import build_mixed_loader
from sad.engine.trainer import SADTrainer
from sad.losses import fused
from sad.modeling.adapters import dense
from sad.utils.errors import UserError

TEN = ("SOLVER.MAX_ITER", 10)


@pytest.mark.slow
def test_gradient_norm_of_the_whole_model_is_clipped(toy, tmp_path):
    one = ("SOLVER.MAX_ITER", 10, "SOLVER.LR_DROPS", (), "SOLVER.WARMUP_ITERS", 0)
    gradients = {}
    for clip in (0.0, 0.001, 1e6):
        torch.manual_seed(0)
        recorder = Recorder()
        opts = (*one, "OUTPUT_DIR", str(tmp_path), "SOLVER.CLIP_FULL_MODEL_NORM", clip)
        trainer = make_trainer(toy.cfg("SAD.yaml", *opts), recorder)
        trainer.max_iter = 1
        trainer.train()
        gradients[clip] = recorder.gradients
    norm = torch.stack([gradient.norm() for gradient in gradients[0.0]]).norm().item()
    assert norm > 0.01
    clipped = torch.stack([gradient.norm() for gradient in gradients[0.001]]).norm().item()
    assert clipped == pytest.approx(0.001, rel=1e-3)
    for free, short, loose in zip(*gradients.values(), strict=True):
        torch.testing.assert_close(short, free * (0.001 / norm), rtol=1e-3, atol=1e-9)
        assert torch.equal(loose, free)


def test_accumulated_gradient_is_the_mean_of_the_micro_batches(toy, tmp_path):
    """With a plain RetinaNet and Detectron2's own normalisers."""
    one = ("SOLVER.MAX_ITER", 1, "SOLVER.LR_DROPS", (), "SOLVER.CLIP_FULL_MODEL_NORM", 0.0)
    opts = (*one, "SOLVER.IMS_PER_BATCH", 4, "DATASETS.TEST", (), "SOLVER.BASE_LR", 0.0)
    trainer, recorder = train(
        toy, tmp_path / "run", "student.yaml", *opts, "SOLVER.ACCUMULATION_STEPS", 2
    )
    batch = next(iter(build_mixed_loader(trainer.cfg)))
    assert len(batch) == 4 and [len(samples) for samples in recorder.samples] == [2, 2]
    torch.manual_seed(0)
    model = build_model(trainer.cfg)
    with EventStorage():
        micro_batches = [model(batch[:2]), model(batch[2:])]
    for losses in micro_batches:
        (sum(losses.values()) / 2).backward()
    expected = [parameter.grad for parameter in model.parameters()]
    for ours, theirs in zip(recorder.gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    for name in ("loss_cls", "loss_box_reg"):  # the whole batch's are logged
        mean = sum(losses[name].item() for losses in micro_batches) / 2
        assert history(trainer, name) == [pytest.approx(mean)]


AMP = ("SOLVER.AMP.ENABLED", True, "SOLVER.AMP.PRECISION")


@pytest.fixture
def loss_inputs(monkeypatch):
    """The kinds of numbers that reach the focal loss and the box loss, by the loss's name."""
    seen = {}
    for module, name in (
        (fused, "focal_slope"),
        (dense, "dense_box_regression_loss"),
        (box_regression, "smooth_l1_loss"),
    ):
        loss = getattr(module, name)

        def spy(*args, name=name, loss=loss, **kwargs):
            tensors = [x for x in args if isinstance(x, torch.Tensor) and x.is_floating_point()]
            seen.setdefault(name, set()).update(x.dtype for x in tensors)
            return loss(*args, **kwargs)

        monkeypatch.setattr(module, name, spy)
    return seen


@pytest.mark.parametrize(
    ("precision", "teacher"),
    [
        ("bfloat16", "bfloat16"),
        pytest.param("bfloat16", "float32", marks=pytest.mark.slow),
        pytest.param("float16", "bfloat16", marks=pytest.mark.slow),
        ("float16", "float32"),
    ],
)
def test_mixed_precision_trains(toy, tmp_path, precision, teacher, loss_inputs):
    opts = (*TEN, "DATASETS.TEST", (), "SOLVER.IMS_PER_BATCH", 4, "SOLVER.ACCUMULATION_STEPS", 2)
    exact, _ = train(toy, tmp_path / "exact", "SAD.yaml", *opts)
    loss_inputs.clear()
    opts += (*AMP, precision, "SAD.TEACHER.PRECISION", teacher)
    trainer, _ = train(toy, tmp_path / "amp", "SAD.yaml", *opts)
    for key in ("loss_cls", "loss_box_reg", "loss_distill_class"):
        ours, theirs = history(trainer, key), history(exact, key)
        assert ours[0] == pytest.approx(theirs[0], rel=0.05)
        assert ours != theirs
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.model.parameters())
    assert loss_inputs["focal_slope"] == {torch.float32}
    assert loss_inputs["smooth_l1_loss"] == {torch.float32}


@pytest.mark.parametrize("name", ["student.yaml", "SAD.yaml"])
def test_step_that_overflows_is_skipped(toy, tmp_path, name):
    """float16 gradients beyond 65504 are infinite; the scale is halved and training goes on."""
    opts = ("SOLVER.MAX_ITER", 3, "SOLVER.LR_DROPS", (), "DATASETS.TEST", (), *AMP, "float16")

    class Scaled(HookBase):
        """A scale far too large for the first step and a fitting one for the second."""

        def __init__(self):
            self.weights = []

        def before_step(self):
            self.weights.append([p.detach().clone() for p in self.trainer.model.parameters()])
            scale = (1e30, 1024.0, 1024.0)[self.trainer.iter]
            self.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
            self.trainer._trainer.scaler = self.scaler

        def after_step(self):
            if self.trainer.iter == 0:
                gradients = [p.grad for p in self.trainer.model.parameters()]
                assert not all(gradient.isfinite().all() for gradient in gradients)
                assert self.scaler.get_scale() == pytest.approx(5e29)

    hook = Scaled()
    train(toy, tmp_path / "run", name, *opts, "SOLVER.ACCUMULATION_STEPS", 2, hooks=[hook])
    start, skipped, trained = hook.weights
    assert all(map(torch.equal, start, skipped))
    assert not any(map(torch.equal, start, trained))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "named"),
    [("loss", "loss_cls is nan"), ("gradient", "the gradient's norm is inf")],
)
def test_what_is_no_number_stops_the_run_before_the_step(toy, tmp_path, value, named):
    class Poison(HookBase):
        def before_step(self):
            if self.trainer.iter == 4:
                self.before = copy.deepcopy(dict(self.trainer.model.named_parameters()))
                bias = self.trainer._trainer.student.head.cls_score.bias
                if value == "loss":
                    bias.data[0] = torch.nan
                else:
                    bias.register_hook(lambda gradient: gradient * torch.inf)

    poison = Poison()
    opts = (*TEN, "SOLVER.CHECKPOINT_PERIOD", 3, "SOLVER.WARMUP_ITERS", 0, "DATASETS.TEST", ())
    with pytest.raises(UserError, match=f"{named} at iteration 4, learning rate 0.02, ") as error:
        train(toy, tmp_path / "run", "SAD.yaml", *opts, hooks=[poison])
    assert re.search(r"image ids \d0, \d0: .*SOLVER.BASE_LR", str(error.value))
    after = dict(poison.trainer.model.named_parameters())
    changed = [key for key, x in poison.before.items() if not torch.equal(x, after[key])]
    assert changed == (["student.head.cls_score.bias"] if value == "loss" else [])
    assert (tmp_path / "run" / "last_checkpoint").read_text() == "model_0000002.pth"
    # As the sentence says.
    opts += ("SOLVER.BASE_LR", 0.01, "SOLVER.CLIP_FULL_MODEL_NORM", 0.5)
    _, recorder = train(toy, tmp_path / "run", "SAD.yaml", *opts, resume=True)
    assert recorder.iterations == list(range(3, 10))
    assert recorder.learning_rates[0] == {0.01}


def test_proposals_that_are_no_numbers_stop_the_run(toy, tmp_path):
    """Detectron2's RPN raises in the forward, before there is a loss."""

    class Poison(HookBase):
        def before_step(self):
            if self.trainer.iter == 4:
                rpn = self.trainer._trainer.student.proposal_generator
                rpn.rpn_head.anchor_deltas.bias.data[0] = torch.nan

    opts = (*TEN, "SOLVER.CHECKPOINT_PERIOD", 3, "SOLVER.WARMUP_ITERS", 0, "DATASETS.TEST", ())
    with pytest.raises(UserError, match="not finite at iteration 4, learning rate 0.02, ") as error:
        train(toy, tmp_path / "run", "rcnn_student.yaml", *opts, hooks=[Poison()])
    assert re.search(r"image ids \d0, \d0: .*SOLVER.BASE_LR", str(error.value))
    assert (tmp_path / "run" / "last_checkpoint").read_text() == "model_0000002.pth"


def test_other_images_are_refused(toy, tmp_path):
    """As another DATASETS.TEST, or files that were added, may leave other unlabelled images out."""
    opts = ("OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", 2, "DATASETS.TEST", ())
    trainer = SADTrainer(toy.cfg("SAD.yaml", *opts))
    state = trainer._trainer.state_dict()
    trainer._trainer.load_state_dict(state)
    with pytest.raises(UserError, match="--resume goes on with the same images, and these are"):
        trainer._trainer.load_state_dict({**state, "images": "another digest"})
