"""Faster R-CNN: Detectron2's own in every command, its detections those of the stock model."""

import json
import pickle

import pytest
import torch
from detectron2 import model_zoo
from detectron2.data.detection_utils import read_image
from detectron2.modeling import GeneralizedRCNN, build_model
from detectron2.utils.events import EventStorage
from PIL import Image, ImageOps

from recorded import train
from sad import Predictor
from sad.config.load import get_sad_cfg
from sad.modeling.adapters import adapter_of
from sad.modeling.adapters.rcnn import FasterRCNNAdapter
from sad.modeling.build import load_detector
from toy import REPOSITORY, run_script, run_train_net


@pytest.fixture
def teacher(toy):
    return load_detector(toy.path("rcnn_teacher.yaml"), toy.path("rcnn_teacher.pth"), "cpu")[0]


def detectron2s(model, batch):
    with torch.no_grad():
        return [output["instances"] for output in model(batch)]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.image_size == other.image_size
        assert torch.equal(one.pred_classes, other.pred_classes)
        assert torch.equal(one.scores, other.scores)
        assert torch.equal(one.pred_boxes.tensor, other.pred_boxes.tensor)


# --- detections ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("threshold", "boxes"), [(0.05, 100), (0.0, 100), (0.3, 3), (1.0, 100)])
def test_detections_are_the_stock_models(teacher, batch, threshold, boxes):
    predictor = teacher.roi_heads.box_predictor
    predictor.test_score_thresh, predictor.test_topk_per_image = threshold, boxes
    expected = detectron2s(teacher, batch)
    assert (max(map(len, expected)) > 2) == (threshold < 1)
    assert_same(adapter_of(teacher).detect(teacher, batch), expected)


@pytest.mark.parametrize(
    "opts",
    [
        ("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True),
        ("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True),
        ("MODEL.ROI_HEADS.NUM_CLASSES", 1),
    ],
)
def test_of_other_heads_too(toy, batch, opts):
    torch.manual_seed(0)
    model = build_model(toy.cfg("rcnn_student.yaml", *opts)).eval()
    expected = detectron2s(model, batch)
    assert sum(map(len, expected)) > 20
    assert_same(FasterRCNNAdapter().detect(model, batch), expected)


def test_scores_are_float32_whatever_the_network_computes_in(teacher, batch):
    adapter = adapter_of(teacher)
    exact, rough = (adapter.detect(teacher, batch, x) for x in ("float32", "bfloat16"))
    for one, other in zip(exact, rough, strict=True):
        assert other.scores.dtype == other.pred_boxes.tensor.dtype == torch.float32
        assert not torch.equal(one.scores[:3], other.scores[:3])
        torch.testing.assert_close(one.scores[:3], other.scores[:3], rtol=0, atol=0.05)


def test_second_stage_is_that_of_the_roi_heads(toy, batches):
    """On the boxes that training sampled: class logits and deltas as the stock losses saw them."""
    torch.manual_seed(0)
    model = build_model(toy.cfg("rcnn_student.yaml")).train()
    seen = []
    model.roi_heads.box_predictor.register_forward_hook(lambda _, __, outputs: seen.append(outputs))
    images = model.preprocess_image(batches[0])
    given = [item["instances"] for item in batches[0]]
    with EventStorage():
        features = model.backbone(images.tensor)
        proposals, _ = model.proposal_generator(images, features, given)
        sampled, losses = model.roi_heads(images, features, proposals, given)
    again = FasterRCNNAdapter().second_stage(model, features, [x.proposal_boxes for x in sampled])
    assert len(again[0]) == sum(map(len, sampled)) > 0
    assert [x.shape[1] for x in again] == [3, 8]
    assert all(map(torch.equal, again, seen[0]))
    assert losses.keys() == {"loss_cls", "loss_box_reg"}


# --- model zoo ----------------------------------------------------------------------------------


def test_a_model_zoo_pickle_is_loaded_strictly(tmp_path, batch):
    """By Detectron2's own yaml, with fewer channels."""
    yaml = tmp_path / "zoo.yaml"
    yaml.write_text(
        f"_BASE_: {model_zoo.get_config_file('COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml')}\n"
        "MODEL:\n  RESNETS: {STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 16, WIDTH_PER_GROUP: 4}\n"
        "  FPN: {OUT_CHANNELS: 16}\n  ROI_BOX_HEAD: {FC_DIM: 32}\n"
    )
    torch.manual_seed(0)
    trained = build_model(get_sad_cfg(str(yaml), ["MODEL.DEVICE", "cpu"])).eval()
    arrays = {key: value.numpy() for key, value in trained.state_dict().items()}
    weights = tmp_path / "model_final.pkl"
    weights.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    opts = ("MODEL.CHANNELS_LAST", "False", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0")
    model, cfg = load_detector(str(yaml), str(weights), "cpu", opts)
    trained.roi_heads.box_predictor.test_score_thresh = 0.0
    assert type(model) is GeneralizedRCNN and cfg.MODEL.ROI_HEADS.NUM_CLASSES == 80
    assert_same(adapter_of(model).detect(model, batch), detectron2s(trained, batch))


# --- the commands -------------------------------------------------------------------------------


def lines(output) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]


LOSSES = {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"}


@pytest.mark.slow
def test_trained_checked_labelled_calibrated_and_evaluated(toy, tmp_path, monkeypatch):
    run, yaml = tmp_path / "run", toy.path("rcnn_student.yaml")
    run_train_net(
        monkeypatch, "--config-file", yaml, "--check-teacher", "OUTPUT_DIR", run,
        "SAD.TEACHER.CONFIG_FILE", toy.path("rcnn_teacher.yaml"),
        "SAD.TEACHER.WEIGHTS", toy.path("rcnn_teacher.pth"),
    )  # fmt: skip
    log = (run / "log.txt").read_text()
    assert log.count("Evaluation results for toy_labeled") == 2 and "Anchors: " in log
    assert LOSSES <= lines(run)[0].keys() and "bbox/AP" in lines(run)[-1]
    assert torch.load(run / "model_final.pth")["class_names"] == ["light", "dark"]

    student = ("--config-file", yaml, "--weights", run / "model_final.pth")
    labels = ("--labeled-json", toy.path("annotations/labeled.json"))
    boxes = tmp_path / "boxes.json"
    run_script(
        *(monkeypatch, REPOSITORY / "scripts" / "label_unlabeled.py", *student, *labels),
        *("--images", toy.path("unlabeled"), "--json", toy.path("annotations/image_info.json")),
        *("--output", boxes),
    )
    # As many boxes an image as the labels have, 2, at the threshold nearest to it.
    assert len(json.loads(boxes.read_text())["annotations"]) == pytest.approx(12, abs=2)
    (tmp_path / "more").mkdir()
    for path in (toy.root / "unlabeled").iterdir():
        ImageOps.mirror(Image.open(path)).save(tmp_path / "more" / path.name)
    run_script(
        *(monkeypatch, REPOSITORY / "scripts" / "calibrate.py", *student, *labels),
        *("--val-json", toy.path("annotations/pseudo_labels.json")),
        *("--val-images", toy.path("unlabeled"), "--images", tmp_path / "more"),
        *("--output", tmp_path / "calibration"),
    )
    assert (tmp_path / "calibration" / "calibration.html").exists()

    run_train_net(
        monkeypatch, "--config-file", yaml, "--eval-only", "OUTPUT_DIR", tmp_path / "eval",
        "MODEL.WEIGHTS", run / "model_final.pth",
    )  # fmt: skip
    found = [
        (folder / "inference" / "toy_labeled" / "coco_instances_results.json").read_text()
        for folder in (run, tmp_path / "eval")
    ]
    assert found[0] == found[1] and len(json.loads(found[0])) > 20


def test_the_predictor_finds_what_the_model_finds(toy, teacher):
    predict = Predictor(toy.path("rcnn_teacher.pth"), toy.path("rcnn_teacher.yaml"))
    found = predict(toy.path("labeled/000003.png"))  # 64 x 64, as the test wants it
    pixels = torch.from_numpy(
        read_image(toy.path("labeled/000003.png"), "BGR").transpose(2, 0, 1).copy()
    )
    batch = [{"image": pixels, "height": 64, "width": 64}]
    (expected,) = detectron2s(teacher, batch)
    assert predict.class_names == ["light", "dark"] and len(found) > 2
    assert found.boxes.tolist() == expected.pred_boxes.tensor.tolist()
    assert found.scores.tolist() == expected.scores.tolist()
    assert found.labels.tolist() == expected.pred_classes.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_run_is_the_unbroken_run(toy, tmp_path, precision):
    """Bit for bit: anchors and proposals are sampled by torch's generator."""
    opts = ["SOLVER.CHECKPOINT_PERIOD", 4, "SOLVER.MAX_ITER", 8, "DATASETS.TEST", ()]
    if precision == "bfloat16":
        opts += ["SOLVER.AMP.ENABLED", True]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(toy, whole, "rcnn_student.yaml", *opts)
    resumed.mkdir()
    (resumed / "model_0000003.pth").write_bytes((whole / "model_0000003.pth").read_bytes())
    (resumed / "last_checkpoint").write_text("model_0000003.pth")
    torch.manual_seed(5)
    _, recorder = train(toy, resumed, "rcnn_student.yaml", *opts, resume=True)
    assert recorder.iterations == [4, 5, 6, 7]
    one, other = (torch.load(x / "model_final.pth")["model"] for x in (whole, resumed))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_losses_are_detectron2s_whatever_the_images_hold(toy, batches):
    """An image without objects is all background; the step is the stock model's own."""
    cfg = toy.cfg("rcnn_student.yaml", "MODEL.CHANNELS_LAST", False)
    batch = [{**item, "instances": item["instances"][: i % 2]} for i, item in enumerate(batches[0])]
    batch[0]["instances"] = batch[0]["instances"][:0]
    torch.manual_seed(0)
    model = build_model(cfg).train()
    with EventStorage():
        losses = model(batch)
    assert losses.keys() == LOSSES
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.slow
def test_it_learns(toy, tmp_path):
    opts = ("SOLVER.MAX_ITER", 150, "SOLVER.BASE_LR", 0.05, "SOLVER.CLIP_FULL_MODEL_NORM", 1.0)
    trainer, _ = train(toy, tmp_path / "run", "rcnn_student.yaml", *opts)
    assert trainer._last_eval_results["bbox"]["AP50"] > 15
