"""Every yaml of configs/COCO for a Faster R-CNN: what it says, and its life on a tiny COCO."""

import json
import math
import re
import shlex
import shutil

import pytest
import torch
from detectron2.model_zoo import get_config
from detectron2.modeling import build_model

import coco_tree
from sad.config.defaults import flat
from sad.config.load import get_sad_cfg
from sad.modeling.build import build_detector
from sad.modeling.teacher import check_pair
from sad.preflight.values import check_config
from toy import REPOSITORY, run_script, run_train_net

CONFIGS = REPOSITORY / "configs" / "COCO"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
NAMES = [name for name in NAMES if name.startswith(("FasterRCNN", "TAR"))]
SMALL = (
    *("INPUT.MIN_SIZE_TRAIN", (64,), "INPUT.MAX_SIZE_TRAIN", 96),
    *("INPUT.MIN_SIZE_TEST", 64, "INPUT.MAX_SIZE_TEST", 96, "DATALOADER.NUM_WORKERS", 0),
)
# Detectron2's own yaml of what a yaml here describes.
THEIRS = {
    "FasterRCNN_R50": "faster_rcnn_R_50_FPN_1x",
    "FasterRCNN_R101_3x": "faster_rcnn_R_101_FPN_3x",
    "FasterRCNN_X101_3x": "faster_rcnn_X_101_32x8d_FPN_3x",
}


def config(name: str, *opts):
    return get_sad_cfg(str(CONFIGS / f"{name}.yaml"), opts)


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    """The configs name their teachers' files from here."""
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.parametrize("name", THEIRS)
def test_as_detectron2s(name):
    ours, theirs = config(name), get_config(f"COCO-Detection/{THEIRS[name]}.yaml")
    unused = ("MODEL.ROI_MASK_HEAD", "MODEL.RETINANET", "OUTPUT_DIR", "VERSION", "SOLVER.AMP")
    found = dict(flat(ours))
    for key, value in flat(theirs):
        if not key.startswith(unused):
            assert found[key] == value or list(found[key]) == list(value), key


@pytest.mark.parametrize("name", NAMES)
def test_settings(name):
    cfg = config(name)
    check_config(cfg)
    assert cfg.OUTPUT_DIR == f"output/COCO/{name}"
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR) == (16, 0.02)
    long = "3x" in name.split("_from_")[0] and not name.startswith("TAR") or "unlabeled" in name
    assert cfg.SOLVER.MAX_ITER == (270_000 if long else 90_000)
    assert cfg.SOLVER.STEPS == ((210_000, 250_000) if long else (60_000, 80_000))
    assert (cfg.MODEL.META_ARCHITECTURE == "Distiller") == name.startswith("TAR")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("TAR")])
def test_teacher_and_student_fit(name):
    """On no device: only shapes."""
    cfg = config(name)
    teacher = get_sad_cfg(cfg.SAD.TEACHER.CONFIG_FILE)
    from_zoo = re.match("detectron2://COCO-Detection/(.+?)/", cfg.SAD.TEACHER.WEIGHTS)
    kind = cfg.SAD.TEACHER.CONFIG_FILE.split("/")[-1].removesuffix(".yaml")
    if from_zoo:
        assert from_zoo[1] == THEIRS[kind]
        assert cfg.SAD.TEACHER.CLASS_NAMES
    else:
        assert cfg.SAD.TEACHER.WEIGHTS == f"{teacher.OUTPUT_DIR}/model_final.pth"
    models = []
    for each in (cfg, teacher):
        each.MODEL.META_ARCHITECTURE, each.MODEL.DEVICE = "GeneralizedRCNN", "meta"
        models.append(build_detector(each))
    check_pair(*models, 1.0, {"features", "roi_logits", "roi_deltas"})
    assert all(
        cfg.SAD.DISTILL[term.upper()].DECAY_TO == 0 for term in ("feature", "roi_class", "roi_box")
    )


# --- whole lives --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    with coco_tree.registered(tmp_path_factory.mktemp("datasets")) as tree:
        yield tree


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A function of a yaml of a Faster R-CNN: its random weights, under which nothing grows."""
    folder = tmp_path_factory.mktemp("weights")

    def made(name: str):
        path = folder / f"{name.removesuffix('_3x')}.pth"
        if not path.exists():
            torch.manual_seed(1)
            model = build_model(config(name, "MODEL.DEVICE", "cpu"))
            state = model.state_dict()
            for key, tensor in state.items():
                if key.endswith("conv3.norm.weight"):
                    tensor.fill_(0.1)  # or 33 residual blocks would add up to infinity
                if key.endswith("cls_score.weight"):
                    tensor.fill_(0.0)  # or one class would have all
            names = [category["name"] for category in coco_tree.CATEGORIES]
            torch.save({"model": state, "class_names": names}, path)
        return path

    yield made
    shutil.rmtree(folder)  # 2 GB


def label(monkeypatch, name: str, tree, teacher, teacher_config: str | None = None):
    """Write the pseudo-labels of a yaml with the command that its comment gives, by another teacher
    where one is given: where they are.
    """
    text = (CONFIGS / f"{name}.yaml").read_text()
    lines = [line.removeprefix("#").strip() for line in text.splitlines() if line[:4] == "#   "]
    arguments = shlex.split(" ".join(line.removesuffix("\\") for line in lines))[2:]
    cfg = config(name)
    written = cfg.DATASETS.REGISTER.coco_pseudo_labels.JSON
    replaced = {
        "--config-file": (
            cfg.SAD.TEACHER.CONFIG_FILE,
            teacher_config or cfg.SAD.TEACHER.CONFIG_FILE,
        ),
        "--weights": (cfg.SAD.TEACHER.WEIGHTS, teacher),
        "--num-gpus": ("8", 1),
        "--output": (f"datasets/{written}", tree.root / written),
    }
    for flag, (said, value) in replaced.items():
        at = arguments.index(flag) + 1
        assert arguments[at] == said
        arguments[at] = value
    arguments += ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.001)  # each class has 1/81
    run_script(monkeypatch, REPOSITORY / "scripts" / "label_unlabeled.py", *arguments, *SMALL)
    return tree.root / written


@pytest.mark.slow
@pytest.mark.parametrize("teacher", ["FasterRCNN_R101", "FasterRCNN_R101_3x", "FasterRCNN_X101_3x"])
def test_a_teacher_labels(monkeypatch, coco, weights, teacher):
    """Those whose students have labelled images alone."""
    file = CONFIGS / f"{teacher}.yaml"
    name = "TAR_unlabeled_R50_half_from_R50"
    found = label(monkeypatch, name, coco, weights(teacher), file)
    assert json.loads(found.read_text())["annotations"]
    found.unlink()
    shutil.rmtree(found.with_name(f"{found.stem}_report"))


STUDENTS = [name for name in NAMES if name.startswith(("TAR", "FasterRCNN_R50"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDENTS)
def test_life(monkeypatch, coco, weights, name, tmp_path):
    """Label, train one step, resume for another, evaluate."""
    monkeypatch.setattr("sad.engine.trainer.check_anchors", lambda *_: None)  # tested elsewhere
    cfg, output = config(name), tmp_path / "run"
    opts = ["OUTPUT_DIR", output, *SMALL, "SOLVER.IMS_PER_BATCH", 2, "SOLVER.BASE_LR", 1e-6]
    student = re.sub(r"^TAR_(unlabeled_)?(.+)_from.*", r"FasterRCNN_\2", name)
    if name.startswith("TAR"):
        teacher = weights(cfg.SAD.TEACHER.CONFIG_FILE.split("/")[-1].removesuffix(".yaml"))
        opts += ["SAD.TEACHER.WEIGHTS", teacher, "SAD.TEACHER.CLASS_NAMES", ()]
        if cfg.DATASETS.UNLABELED:
            label(monkeypatch, name, coco, teacher)

    def run(*arguments):
        flags = [x for x in arguments if str(x).startswith("--")]
        rest = [x for x in arguments if x not in flags]
        run_train_net(monkeypatch, "--config-file", CONFIGS / f"{name}.yaml", *flags, *opts, *rest)

    untested = ("DATASETS.TEST", (), "SOLVER.STEPS", ())
    # A run whose weights decay cannot be made longer.
    whole = ("SOLVER.MAX_ITER", 2, "SOLVER.CHECKPOINT_PERIOD", 1)
    run("MODEL.WEIGHTS", weights(student), *whole, *untested)
    (output / "last_checkpoint").write_text("model_0000000.pth")
    for left in ("model_final.pth", "model_0000001.pth"):
        (output / left).unlink()
    run("--resume", *whole, *untested)
    everything = ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0)
    run("--eval-only", "MODEL.WEIGHTS", output / "model_final.pth", *everything)

    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    lines = [line for line in lines if "total_loss" in line]
    assert lines and all(0 < line["total_loss"] < math.inf for line in lines)
    terms = {key for line in lines for key in line if key.startswith("loss_distill_")}
    expected = ("feature", "roi_class", "roi_box") if name.startswith("TAR") else ()
    assert terms == {f"loss_distill_{term}" for term in expected}
    found = output / "inference" / "coco_2017_val" / "coco_instances_results.json"
    results = json.loads(found.read_text())
    saved = torch.load(output / "model_final.pth", weights_only=True)["model"]
    build_model(config(student, "MODEL.DEVICE", "cpu")).load_state_dict(saved, strict=True)
    shutil.rmtree(output)  # hundreds of MB
    assert len(results) > 100
