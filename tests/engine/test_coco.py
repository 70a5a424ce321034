"""Every yaml of configs/COCO for a RetinaNet: what it says, and its whole life on a tiny COCO."""

import functools
import json
import math
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
import torchvision
from detectron2.data import get_detection_dataset_dicts
from detectron2.modeling import build_model
from PIL import Image
from pycocotools.coco import COCO

import coco_tree
from sad.checkpoint.checkpointer import SADCheckpointer
from sad.config.load import get_sad_cfg
from sad.data.datasets import BUILTIN
from sad.data.loader import build_mixed_loader
from sad.engine.schedule import derive_schedule
from sad.export.initial_weights import convert_torchvision_file, slice_file
from sad.modeling.build import build_detector
from sad.modeling.teacher import check_pair
from sad.preflight.values import check_config
from toy import REPOSITORY, TRAIN_NET, run_script, run_train_net, save_random_teacher

CONFIGS = REPOSITORY / "configs" / "COCO"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
NAMES = [name for name in NAMES if not name.startswith(("FasterRCNN", "TAR"))]
LABEL_UNLABELED = REPOSITORY / "scripts" / "label_unlabeled.py"

# Row of the paper -> its config. Tables 2 to 4 repeat their teachers and students.
ROWS = {
    "Table 1, baseline": "RetinaNet_R50_half_800",
    "Table 1, beta 0": "ADL_R50_half_800_from_R50_beta0",
    "Table 1, beta 0.5": "ADL_R50_half_800_from_R50_beta0.5",
    "Table 1, beta 1": "ADL_R50_half_800_from_R50_beta1",
    "Table 1, beta 1.5, and Table 2": "ADL_R50_half_800_from_R50",
    "Table 1, beta 1.5, the text's teacher": "ADL_R50_half_800_from_X50",
    "Table 1, feature map mimic": "FeatureL2_R50_half_800_from_R50",
    "Table 1, FDL": "FDL_R50_half_800_from_R50",
    "section 4.1, logit mimic": "LogitL2_R50_half_800_from_R50",
    "plain KL": "KL_R50_half_800_from_R50",
    "Table 2, R-50 (T)": "RetinaNet_R50_800",
    "Table 2, R-50-up (S)": "RetinaNet_R50_up_400",
    "Table 2, R-50-up": "ADL_R50_up_400_from_R50_800",
    "Table 2, X-101 (T)": "RetinaNet_X101_600",
    "Table 2, R-50 (S)": "RetinaNet_R50_600",
    "Table 2, R-50": "ADL_R50_600_from_X101",
    **{
        f"Table 3, {pair}, {row}": f"{row}_{pair}"
        for row in ("HT", "ST", "SAD")
        for pair in ("R50_up_400_from_R50_800", "R50_half_800_from_R50", "R50_600_from_X101")
    },
    "Table 4, R-101 (T)": "RetinaNet_R101_600",
    "Table 4, R-50 from R-101": "SAD_R50_600_from_R101",
    "Table 4, X-101 (T)": "RetinaNet_X101_500",
    "Table 4, R-101 (S)": "RetinaNet_R101_500",
    "Table 4, R-101 from X-101": "SAD_R101_500_from_X101",
    "Table 5, RetinaNet-101-800": "RetinaNet_R101_800",
    "the released code": "SAD_R50_600_from_R101_released",
    **{
        f"past the paper, {kind}, {pair}": f"{kind}_{pair}"
        for kind, pairs in (
            ("HT", ("R101_600_from_R101", "X101_600_from_X101", "R50_800_from_R50")),
            ("SAD_self", ("R50_600_from_R101", "R50_600_from_X101", "R50_half_800_from_R50")),
        )
        for pair in pairs
    },
}
IDS = {category["id"] for category in coco_tree.CATEGORIES}
CAPS = {400: 667, 500: 833, 600: 1000, 800: 1333}  # shorter side -> longest side


def config(name: str, *opts):
    return get_sad_cfg(str(CONFIGS / f"{name}.yaml"), opts)


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    """The configs name their teachers' files from here."""
    monkeypatch.chdir(REPOSITORY)


# --- what the yamls say -------------------------------------------------------------------------


def test_every_row_has_a_config():
    assert set(ROWS.values()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_the_paper(name):
    cfg = config(name)
    check_config(cfg)
    assert cfg.OUTPUT_DIR == f"output/COCO/{name}"
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM) == (16, 0.01, 0.9)
    assert (cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.WARMUP_ITERS) == (1e-4, 1000)
    long = cfg.DATASETS.UNLABELED or "scratch" in name
    steps = {
        (False, False): (63000, 81000),  # 70 % and 90 % of 90,000
        (True, False): (189000, 243000),  # of 270,000
        (True, True): (180000, 240000),  # 2/3 and 8/9
    }[bool(long), name.endswith("released")]
    assert derive_schedule(cfg, 1).SOLVER.STEPS == steps
    scale = int(re.search(r"_(\d{3})(_|$)", name)[1])
    assert cfg.INPUT.MIN_SIZE_TRAIN == (scale,) and cfg.INPUT.MIN_SIZE_TEST == scale
    assert cfg.INPUT.MAX_SIZE_TRAIN == cfg.INPUT.MAX_SIZE_TEST == CAPS[scale]
    assert cfg.DATASETS.TRAIN == ("coco_2017_train",) and cfg.DATASETS.TEST == ("coco_2017_val",)
    assert (cfg.MODEL.META_ARCHITECTURE == "Distiller") == ("from" in name)
    terms, distill = cfg.SAD.DISTILL.TERMS, cfg.SAD.DISTILL.CLASS
    if name.startswith("SAD_self"):
        assert (distill.LOSS, distill.WEIGHT) == ("kl", 1)
    elif name.startswith(("ADL", "SAD", "ST")):
        expected = {"beta0": 0, "beta0.5": 0.5, "beta1": 1, "released": 1}
        assert (distill.LOSS, distill.GAMMA) == ("adl", 2)
        assert distill.BETA == expected.get(name.split("_")[-1], 1.5)
    else:
        losses = {"FDL": "fdl", "KL": "kl", "LogitL2": "l2"}
        kind = name.split("_")[0]
        expected = ["class"] if kind in losses else ["feature"] if kind == "FeatureL2" else []
        assert kind == "RetinaNet" or list(terms) == expected
        assert kind not in losses or distill.LOSS == losses[kind]
    targets = cfg.SAD.TARGETS
    assert targets.LABELED == ("hard", "soft")
    assert targets.UNLABELED == (("soft",) if name.startswith("ST_") else ("hard", "soft"))


@pytest.mark.parametrize("name", [name for name in NAMES if "from" in name])
def test_teacher_and_student_fit(name):
    """On no device: only shapes, and the anchors."""
    cfg = config(name)
    teacher = cfg.SAD.TEACHER.CONFIG_FILE
    assert cfg.SAD.TEACHER.WEIGHTS == f"{get_sad_cfg(teacher).OUTPUT_DIR}/model_final.pth"
    models = [shapes_alone(get_sad_cfg(path)) for path in (CONFIGS / f"{name}.yaml", teacher)]
    check_pair(*models, cfg.SAD.TEACHER.INPUT_SCALE)


MODELS = {}  # many yamls describe one


def shapes_alone(cfg):
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "RetinaNet", "meta", ""
    key = str(cfg.MODEL), cfg.INPUT.FORMAT
    if key not in MODELS:
        MODELS[key] = build_detector(cfg)
    return MODELS[key]


def test_half_means_half_of_every_width():
    full, half = (
        shapes_alone(config(f"RetinaNet_{name}")).state_dict()
        for name in ("R50_800", "R50_half_800")
    )
    kept = ("head.cls_score.weight", "head.bbox_pred.weight", "stem.conv1.weight")
    for key, tensor in full.items():
        if tensor.dim() == 4 and not key.endswith(kept):
            assert [2 * n for n in half[key].shape[:2]] == list(tensor.shape[:2]), key


# --- the tree, through Detectron2's own registration --------------------------------------------


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """The tiny COCO, in place of the one at $DETECTRON2_DATASETS."""
    with coco_tree.registered(tmp_path_factory.mktemp("datasets")) as tree:
        yield tree


def test_what_the_tree_holds(coco):
    modes, turned = set(), set()
    for split in ("train2017", "val2017", "unlabeled2017", "test2017"):
        for path in (coco.root / "coco" / split).iterdir():
            with Image.open(path) as image:
                modes.add(image.mode)
                turned.add(image.getexif().get(coco_tree.ORIENTATION))
    assert modes == {"RGB", "L", "CMYK"} and turned == {None, coco_tree.TURNED_CLOCKWISE}
    train = coco.json("instances_train2017.json")
    ids = [category["id"] for category in train["categories"]]
    assert len(ids) == 80 and ids[-1] == 90 and 12 not in ids
    crowds = [item for item in train["annotations"] if item["iscrowd"]]
    assert all(isinstance(item["segmentation"]["counts"], list) for item in crowds)
    annotated = {item["image_id"] for item in train["annotations"]}
    assert len(crowds) == 4 and len(train["images"]) - len(annotated) == 1
    assert max(image["width"] / image["height"] for image in train["images"]) == 20


def test_training_leaves_out_images_without_instances_as_detectron2_does(coco):
    """Of 8, one has no annotations and one crowds alone."""
    cfg = config("RetinaNet_R50_600", "DATALOADER.NUM_WORKERS", 0)
    theirs = {item["image_id"] for item in get_detection_dataset_dicts(cfg.DATASETS.TRAIN)}
    ours = {item["image_id"] for item in build_mixed_loader(cfg).dataset.items}
    assert ours == theirs and len(ours) == 6


# --- test-dev -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_submission_for_the_server(coco, monkeypatch, tmp_path):
    """No annotations, so no AP: the run ends in the json that the server takes."""
    yaml, output = CONFIGS / "RetinaNet_R50_half_800_scratch_GN.yaml", tmp_path / "GN"
    model = build_model(get_sad_cfg(str(yaml), ("MODEL.DEVICE", "cpu")))
    torch.save({"model": model.state_dict()}, tmp_path / "weights.pth")
    run_train_net(
        *(monkeypatch, "--config-file", yaml, "--eval-only", *SMALL),
        *("DATASETS.TEST", ("coco_2017_test-dev",), "MODEL.RETINANET.SCORE_THRESH_TEST", 0.0),
        *("MODEL.WEIGHTS", tmp_path / "weights.pth", "OUTPUT_DIR", output),
    )
    submission = (
        output / "inference" / "coco_2017_test-dev" / "detections_test-dev2017_GN_results.json"
    )
    assert f"zip {submission}" in (output / "log.txt").read_text()
    detections = json.loads(submission.read_text())
    images = {image["id"]: image for image in coco.json("image_info_test-dev2017.json")["images"]}
    assert {item["image_id"] for item in detections} == images.keys()
    for item in detections:
        assert item.keys() == {"image_id", "category_id", "bbox", "score"}
        image, (x, y, w, h) = images[item["image_id"]], item["bbox"]
        assert -0.01 <= x <= x + w <= image["width"] + 0.01
        assert -0.01 <= y <= y + h <= image["height"] + 0.01
    assert {item["category_id"] for item in detections} <= IDS
    # COCO's own reader, which the server runs.
    COCO(str(coco.annotations("image_info_test-dev2017.json"))).loadRes(str(submission))


# --- whole lives --------------------------------------------------------------------------------

SMALL = (
    *("INPUT.MIN_SIZE_TRAIN", (64,), "INPUT.MAX_SIZE_TRAIN", 96),
    *("INPUT.MIN_SIZE_TEST", 64, "INPUT.MAX_SIZE_TEST", 96),
    *("DATALOADER.NUM_WORKERS", 0),
)


class Laboratory:
    """Random teachers, their pseudo-labels and starting weights, each made once."""

    def __init__(self, tree: coco_tree.CocoTree, folder):
        self.tree = tree
        self.folder = folder

    def teacher(self, name: str):
        """Weights for a RetinaNet yaml; all scales of a backbone share them."""
        backbone = re.match(r"RetinaNet_(.+)_\d+$", name)[1]
        path = self.folder / f"teacher_{backbone}.pth"
        if not path.exists():
            save_random_teacher(config(name, "MODEL.DEVICE", "cpu"), path, coco_tree.CATEGORIES)
            content = torch.load(path)
            for key, tensor in content["model"].items():
                if key.endswith("conv3.norm.weight"):
                    tensor.fill_(0.1)  # or 33 residual blocks would add up to infinity
            torch.save(content, path)
        return path

    def starting_weights(self, backbone: str):
        """Random weights in the form and format of those that the yamls name."""
        make = {
            "X101": self._detectron,
            "X50": self._torchvision,
            "R50_half": self._slice,
            "R50_up": lambda _: self.starting_weights("R50"),
        }.get(backbone, self._detectron2)
        return make(backbone)

    def _bottom_up(self, backbone: str) -> dict[str, torch.Tensor]:
        state = torch.load(self.teacher(f"RetinaNet_{backbone}_600"))["model"]
        prefix = "backbone.bottom_up."
        return {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}

    def _detectron2(self, backbone: str):
        """As detectron2://ImageNetPretrained/MSRA/R-50.pkl."""
        path = self.folder / f"start_{backbone}.pkl"
        if not path.exists():
            arrays = {key: x.numpy() for key, x in self._bottom_up(backbone).items()}
            content = {"model": arrays, "__author__": "MSRA", "matching_heuristics": True}
            path.write_bytes(pickle.dumps(content))
        return path

    def _detectron(self, backbone: str):
        """As catalog://ImageNetPretrained/FAIR/X-101-64x4d: batch norm fused, and a text."""
        path = self.folder / f"start_{backbone}.pkl"
        if not path.exists():
            arrays = {"weight_order": "NCHW"}
            for key, x in self._bottom_up(backbone).items():
                if "running" not in key:
                    arrays[detectron_name(key)] = x.numpy()
            path.write_bytes(pickle.dumps(arrays))
        return path

    def _torchvision(self, backbone: str):
        path = self.folder / f"start_{backbone}.pth"
        if not path.exists():
            name = {"X50": "resnext50_32x4d", "torchvision_R50": "resnet50"}[backbone]
            net = torchvision.models.get_model(name, weights=None, zero_init_residual=True)
            for norm in net.modules():
                if isinstance(norm, torch.nn.BatchNorm2d):
                    norm.running_var.uniform_(0.5, 1.5)  # as after training
            torch.save(net.state_dict(), self.folder / "torchvision.pth")
            convert_torchvision_file(str(self.folder / "torchvision.pth"), str(path))
        return path

    def _slice(self, backbone: str):
        path = self.folder / f"start_{backbone}.pth"
        if not path.exists():
            full, half = (CONFIGS / f"RetinaNet_{name}_800.yaml" for name in ("R50", "R50_half"))
            weights = self._torchvision("torchvision_R50")
            slice_file(str(full), str(weights), str(half), str(path))
        return path

    def label(self, monkeypatch, name: str) -> None:
        """Write the pseudo-labels of a yaml with the command that a comment gives."""
        written = self.tree.root / pseudo_labels(name)
        if written.exists():
            return
        same = [other for other in LABELLED if pseudo_labels(other) == pseudo_labels(name)]
        command = max(map(labelling_command, same))  # the others' are empty
        replaced = {
            "--weights": self.teacher(described_by(command)),
            "--num-gpus": 1,
            "--output": written,
        }
        arguments = shlex.split(command)[2:]
        for flag, value in replaced.items():
            arguments[arguments.index(flag) + 1] = value
        run_script(monkeypatch, LABEL_UNLABELED, *arguments, *SMALL)


def described_by(text: str) -> str:
    """The RetinaNet alone whose network the yaml that is named in the text has."""
    return f"RetinaNet_{re.search(r'(?:RetinaNet|HT)_([a-zA-Z0-9_]+?_[0-9]{3})', text)[1]}"


def detectron_name(key: str) -> str:
    """res2.0.conv1.norm.weight -> res2_0_branch2a_bn_s, and so on."""
    for ours, theirs in (
        ("stem.conv1.norm", "res_conv1_bn"),
        ("stem.", ""),
        ("shortcut", "branch1"),
        ("conv1", "branch2a" if key.startswith("res") else "conv1"),
        ("conv2", "branch2b"),
        ("conv3", "branch2c"),
        ("norm.weight", "bn_s"),
        ("norm.bias", "bn_b"),
        ("conv1_bn.weight", "conv1_bn_s"),
        ("conv1_bn.bias", "conv1_bn_b"),
        (".weight", "_w"),
        (".", "_"),
    ):
        key = key.replace(ours, theirs)
    return key


def labelling_command(name: str) -> str:
    """What the comment of a yaml gives as a command, without backslashes; "" if nothing."""
    comment = [
        line.removeprefix("#").strip()
        for line in (CONFIGS / f"{name}.yaml").read_text().splitlines()
        if line.startswith("#   ")
    ]
    return " ".join(line.removesuffix("\\") for line in comment)


@functools.cache
def pseudo_labels(name: str) -> str:
    return config(name).DATASETS.REGISTER.coco_pseudo_labels.JSON


@pytest.fixture(scope="module")
def laboratory(coco, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    yield Laboratory(coco, folder)
    shutil.rmtree(folder)  # 2 GB


LABELLED = [name for name in NAMES if name.startswith(("SAD_", "HT_"))]


@pytest.mark.parametrize("name", LABELLED)
def test_labelling_command_of_the_comment(name):
    """Some comment has the command that writes the registered file with the yaml's teacher."""
    cfg = config(name)
    (command,) = {
        labelling_command(other)
        for other in LABELLED
        if pseudo_labels(other) == pseudo_labels(name) and labelling_command(other)
    }
    assert f"--config-file {cfg.SAD.TEACHER.CONFIG_FILE} " in command
    assert f"--weights {cfg.SAD.TEACHER.WEIGHTS} " in command
    assert command.endswith(f"--output datasets/{pseudo_labels(name)}")
    assert cfg.DATASETS.REGISTER.coco_pseudo_labels.IMAGES == BUILTIN["coco_2017_unlabeled"][1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["R50_600", "R101_600", "X101_600", "X50_800", "R50_half_800", "R50_up_400"]
)
def test_starting_weights_fill_the_backbone(laboratory, name):
    backbone = re.match(r"(.+)_\d+", name)[1]
    path = laboratory.starting_weights(backbone)
    model = build_model(config(f"RetinaNet_{name}", "MODEL.DEVICE", "cpu"))
    for tensor in model.state_dict().values():
        tensor.fill_(7)
    SADCheckpointer(model).load(str(path))
    left = [
        key for key, x in model.state_dict().items() if x.dtype.is_floating_point and (x == 7).all()
    ]
    assert left and not any("bottom_up" in key for key in left)


@pytest.mark.slow
def test_from_the_shell(coco, tmp_path):
    """With the tree where $DETECTRON2_DATASETS says, and nothing registered by hand."""
    command = [
        *(sys.executable, TRAIN_NET, "--config-file", CONFIGS / "RetinaNet_R50_half_800.yaml"),
        *(*SMALL, "SOLVER.IMS_PER_BATCH", 2, "SOLVER.MAX_ITER", 1),
        *("MODEL.WEIGHTS", "", "OUTPUT_DIR", tmp_path / "run"),
    ]
    environment = {**os.environ, "DETECTRON2_DATASETS": str(coco.root)}
    subprocess.run(list(map(str, command)), env=environment, check=True)
    assert (tmp_path / "run" / "model_final.pth").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_life(monkeypatch, laboratory, name, tmp_path):
    """Label, train one step, resume for another, evaluate."""
    # Advice that takes seconds, and has tests of its own.
    monkeypatch.setattr("sad.engine.trainer.check_anchors", lambda *_: None)
    cfg, output = config(name), tmp_path / "run"
    kind, student = re.match(r"([^_]+)_(?:self_)?(.+?)_\d{3}", name).groups()
    opts = ["OUTPUT_DIR", output, *SMALL, "SOLVER.IMS_PER_BATCH", 2]
    if kind != "RetinaNet":
        teacher = laboratory.teacher(described_by(cfg.SAD.TEACHER.CONFIG_FILE))
        opts += ["SAD.TEACHER.WEIGHTS", teacher]
    if "coco_pseudo_labels" in cfg.DATASETS.UNLABELED:
        laboratory.label(monkeypatch, name)
    start = "" if "scratch" in name else laboratory.starting_weights(student)

    def run(*arguments):
        flags = [x for x in arguments if str(x).startswith("--")]
        rest = [x for x in arguments if x not in flags]
        yaml = CONFIGS / f"{name}.yaml"
        run_train_net(monkeypatch, "--config-file", yaml, *flags, *opts, *rest)

    untested = ("DATASETS.TEST", ())
    run("MODEL.WEIGHTS", start, "SOLVER.MAX_ITER", 1, *untested)
    run("--resume", "SOLVER.MAX_ITER", 2, *untested)
    # A student of two steps is sure of nothing.
    everything = ("MODEL.RETINANET.SCORE_THRESH_TEST", 0.0)
    run("--eval-only", "MODEL.WEIGHTS", output / "model_final.pth", *everything)

    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    # What a batch without hard targets does not count is still that of the first step.
    lines = [line for line in lines if "total_loss" in line]
    # As of a run of two steps from the start: the end of the first one was none.
    assert [line["iteration"] for line in lines] == [1]
    for line in lines:
        assert 0 < line["total_loss"] < math.inf
        terms = {"RetinaNet": [], "HT": [], "FeatureL2": ["feature"]}.get(kind, ["class"])
        assert [key for key in line if key.startswith("loss_distill_")] == [
            f"loss_distill_{term}" for term in terms
        ]
    results = json.loads(
        (output / "inference" / "coco_2017_val" / "coco_instances_results.json").read_text()
    )
    shutil.rmtree(output)  # hundreds of MB
    assert len(results) > 100
    assert {item["category_id"] for item in results} <= IDS
