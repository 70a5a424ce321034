"""Labelling: batches of one padded shape, any number of processes, bad images, and bad input.

The teacher is a narrow random RetinaNet whose class logits are scaled up until it detects things.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sad.config.load import get_sad_cfg
from sad.data.subset import choose_share
from sad.modeling.build import load_detector
from sad.pseudo_labels import quality
from sad.pseudo_labels import runner as labeler
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.merge import merge_shards
from sad.pseudo_labels.runner import form_batches, label_images, label_shards, plan_shards
from sad.utils.errors import UserError
from toy import png_bomb

SCRIPT = Path(__file__).parents[2] / "scripts" / "label_unlabeled.py"
CATEGORIES = [{"id": 2, "name": "circle"}, {"id": 5, "name": "square"}]
# (width, height): landscape, portrait and a panorama that runs into MAX_SIZE_TEST.
SIZES = [(90, 64), (64, 90), (96, 64), (90, 64), (70, 70), (200, 40), (88, 64), (64, 96), (90, 64)]
TEACHER = """
MODEL:
  META_ARCHITECTURE: RetinaNet
  WEIGHTS: ""
  DEVICE: cpu
  BACKBONE: {NAME: build_retinanet_resnet_fpn_backbone}
  RESNETS:
    {OUT_FEATURES: [res3, res4, res5], STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 16,
     WIDTH_PER_GROUP: 4}
  FPN: {IN_FEATURES: [res3, res4, res5], OUT_CHANNELS: 16}
  ANCHOR_GENERATOR: {SIZES: [[16], [32], [64], [128], [256]]}
  RETINANET: {NUM_CLASSES: 2, NUM_CONVS: 1}
INPUT: {MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 128}
DATALOADER: {NUM_WORKERS: 0}
"""


def draw_images(folder: Path, sizes) -> list[dict]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = []
    for number, (width, height) in enumerate(sizes):
        noise = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        noise.resize((width, height)).save(folder / f"{number}.png")
        images.append(
            {"id": 10 + number, "file_name": f"{number}.png", "width": width, "height": height}
        )
    return images


@pytest.fixture
def scene(tmp_path):
    """Files of a labelling job; the arguments of `prepare` by name."""
    config_file, weights = tmp_path / "teacher.yaml", tmp_path / "teacher.pth"
    config_file.write_text(TEACHER)
    torch.manual_seed(0)
    model = build_model(get_sad_cfg(str(config_file)))
    torch.nn.init.normal_(model.head.cls_score.weight, std=0.007)
    torch.nn.init.constant_(model.head.cls_score.bias, -2.0)
    torch.nn.init.normal_(model.head.bbox_pred.weight, std=0.001)
    torch.save({"model": model.state_dict(), "class_names": ["circle", "square"]}, weights)
    images = draw_images(tmp_path / "images", SIZES)
    image_info = {"images": images, "categories": CATEGORIES}
    (tmp_path / "info.json").write_text(json.dumps(image_info))
    labels = [
        {"id": i, "image_id": 10 + i // 3, "category_id": 5, "bbox": [5, 5, 30, 20], "iscrowd": 0}
        for i in range(24)
    ]
    others = [{**image, "file_name": f"labeled_{image['file_name']}"} for image in images]
    labeled = {**image_info, "images": others, "annotations": labels}
    (tmp_path / "labeled.json").write_text(json.dumps(labeled))
    return {
        "config_file": str(config_file),
        "weights": str(weights),
        "image_root": str(tmp_path / "images"),
        "image_json": str(tmp_path / "info.json"),
        "labeled_json": str(tmp_path / "labeled.json"),
        "output": str(tmp_path / "out" / "hard.json"),
    }


def run_labelling(scene, **changes) -> tuple[dict, dict]:
    arguments = {**scene, **changes}
    label_images(prepare(**arguments))
    output = Path(arguments["output"])
    report = output.parent / f"{output.stem}_report"
    assert {path.name for path in report.iterdir()} == {
        "report.json",
        "histogram.png",
        "preview.png",
    }
    return json.loads(output.read_text()), json.loads((report / "report.json").read_text())


def run_command(scene, *more) -> subprocess.CompletedProcess:
    flags = {"image_root": "images", "image_json": "json"}
    command = [sys.executable, str(SCRIPT)]
    for name, value in scene.items():
        command += [f"--{flags.get(name, name).replace('_', '-')}", value]
    return subprocess.run([*command, *more], capture_output=True, text=True, env=os.environ)


def batch_lists(padded, resized, batch_size):
    shapes = (np.array(shapes, int).reshape(-1, 2) for shapes in (padded, resized))
    return [batch.tolist() for batch in form_batches(*shapes, batch_size)]


@given(
    st.lists(st.tuples(st.sampled_from([32, 64, 96]), st.integers(1, 4)), max_size=40),
    st.integers(1, 6),
)
def test_batches_hold_one_padded_shape_and_every_image_once(shapes, batch_size):
    padded = [(side, 2 * side) for side, _ in shapes]
    resized = [(side - less, 2 * side - less) for side, less in shapes]
    batches = batch_lists(padded, resized, batch_size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(shapes)))
    assert all(len({padded[i] for i in batch}) == 1 for batch in batches)
    areas = [padded[batch[0]][0] for batch in batches]
    assert areas == sorted(areas, reverse=True)
    for side in set(areas):  # no more batches than need be
        sizes = [len(batch) for batch in batches if padded[batch[0]][0] == side]
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1) and 1 <= sizes[-1] <= batch_size


def test_batches_put_equal_sizes_together():
    padded = [(64, 64)] * 6
    resized = [(60, 60), (50, 60), (60, 60), (50, 60), (60, 60), (50, 60)]
    assert batch_lists(padded, resized, 3) == [[1, 3, 5], [0, 2, 4]]


def test_pseudo_labels_are_calibrated_and_reported(scene):
    coco, report = run_labelling(scene)
    assert coco["categories"] == CATEGORIES
    assert report["calibration"] == {
        "threshold": None,
        "target_mean": 24 / 9,  # over all images of the json, the last one has no label
        "labeled_json": scene["labeled_json"],
        "labeled_images": 9,
        "labeled_instances": 24,
    }
    assert report["detections"] > 3 * 24  # there was something to choose from
    assert len(coco["annotations"]) == report["instances"] == 24
    assert min(a["score"] for a in coco["annotations"]) == report["threshold"]
    assert {a["image_id"] for a in coco["annotations"]} == {i["id"] for i in coco["images"]}
    assert report["images_kept"] == len(coco["images"])
    assert report["images_kept"] + report["images_dropped"] == 9
    assert sum(report["instances_per_class"].values()) == 24
    assert sum(report["score_histogram"]["counts"]) == report["detections"]
    assert report["precision_recall_at_iou_0.5"] is None
    assert len(coco["info"]["teacher_weights_sha256"]) == 64
    sizes = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    for a in coco["annotations"]:
        x, y, width, height = a["bbox"]
        image_width, image_height = sizes[a["image_id"]]
        assert x >= 0 and y >= 0 and width > 0 and height > 0
        assert x + width <= image_width + 1e-6 and y + height <= image_height + 1e-6


def test_batch_size_does_not_change_the_boxes(scene):
    one, _ = run_labelling(scene, batch_size=1, threshold=0.8)
    three, _ = run_labelling(scene, batch_size=3, threshold=0.8)
    assert [image["id"] for image in one["images"]] == [image["id"] for image in three["images"]]
    assert len(one["annotations"]) == len(three["annotations"]) > 100

    def table(coco):
        rows = [
            (a["image_id"], a["category_id"], *a["bbox"], a["score"]) for a in coco["annotations"]
        ]
        return np.array(sorted(rows))

    np.testing.assert_allclose(table(one)[:, :6], table(three)[:, :6], atol=0.011)
    np.testing.assert_allclose(table(one)[:, 6], table(three)[:, 6], atol=2e-6)


def test_a_folder_is_enough(scene, tmp_path):
    """Sizes come from the headers, rotated as EXIF says; other files are left alone."""
    folder = tmp_path / "images"
    (folder / "notes.txt").write_text("no image")
    (folder / "deeper").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees to look at it
    picture = Image.open(folder / "0.png")
    picture.convert("L").save(folder / "deeper" / "turned.JPG", exif=exif)
    coco, report = run_labelling(scene, image_json=None, threshold=0.6)
    assert report["images_listed"] == 10 and report["images_unreadable"] == 0
    assert [i["file_name"] for i in coco["images"]] == [
        *(f"{number}.png" for number in range(9)),
        "deeper/turned.JPG",
    ]
    turned = coco["images"][-1]
    assert (turned["width"], turned["height"]) == (64, 90)
    by_json, _ = run_labelling(scene, threshold=0.6)
    boxes = [a["bbox"] for a in coco["annotations"] if a["image_id"] == 1]
    assert boxes == [a["bbox"] for a in by_json["annotations"] if a["image_id"] == 10]


def test_labels_at_hand_give_precision_and_recall(scene, monkeypatch):
    """The teacher's own boxes as labels: everything is right and everything is found."""
    own, _ = run_labelling(scene, threshold=0.8)
    path = Path(scene["output"]).with_name("own.json")
    # The same classes under other ids.
    for number, category in enumerate(own["categories"]):
        for a in own["annotations"]:
            a["category_id"] = number if a["category_id"] == category["id"] else a["category_id"]
        category["id"] = number
    path.write_text(json.dumps(own))
    _, report = run_labelling(scene, image_json=str(path), threshold=0.8)
    overall = report["precision_recall_at_iou_0.5"]["overall"]
    assert overall["precision"] == overall["recall"] == 1.0
    assert overall["correct"] == len(own["annotations"]) > 20
    assert report["precision_recall_at_iou_0.5"]["images"] == 9
    monkeypatch.setattr(quality, "MEASURED_IMAGES", 4)  # of a long list, a few
    _, report = run_labelling(scene, image_json=str(path), threshold=0.8)
    some = report["precision_recall_at_iou_0.5"]
    assert some["images"] == 4 and some["overall"]["recall"] == 1.0
    assert 0 < some["overall"]["labels"] < overall["labels"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_unreadable_images_are_skipped_and_named(scene, tmp_path, workers, log):
    before, _ = run_labelling(scene, threshold=0.8)
    (tmp_path / "images" / "2.png").write_bytes(png_bomb())
    (tmp_path / "images" / "3.png").write_bytes(b"no image")
    (tmp_path / "images" / "5.png").unlink()
    whole = (tmp_path / "images" / "6.png").read_bytes()
    (tmp_path / "images" / "6.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (50, 50)).save(tmp_path / "images" / "8.png")  # not the json's size
    after, report = run_labelling(
        scene, threshold=0.8, max_unreadable=0.6, opts=["DATALOADER.NUM_WORKERS", workers]
    )
    reasons = {os.path.basename(path): reason for path, reason in report["unreadable"].items()}
    assert list(reasons) == ["2.png", "3.png", "5.png", "6.png", "8.png"]
    assert reasons["2.png"].startswith("its 2500000000 pixels are more than DATALOADER.MAX_IMAGE")
    assert reasons["5.png"] == "no such file"
    assert reasons["8.png"] == "it is 50 x 50 pixels, its annotations say 90 x 64"
    assert all(any(name in message for message in log) for name in reasons)
    assert report["images_unreadable"] == 5
    assert report["images_kept"] + report["images_dropped"] == 4
    assert report["mean_instances_per_image"] == report["instances"] / 4
    bad = {12, 13, 15, 16, 18}

    def boxes(coco):
        rows = [(a["image_id"], *a["bbox"]) for a in coco["annotations"]]
        return np.array(sorted(row for row in rows if row[0] not in bad))

    np.testing.assert_allclose(boxes(after), boxes(before), atol=0.011)


def test_too_many_unreadable_images_stop_the_run(scene, tmp_path):
    for number in range(5):
        (tmp_path / "images" / f"{number}.png").write_bytes(b"no image")
    _, report = run_labelling(scene, threshold=0.5)  # a few are allowed of any set
    assert report["images_unreadable"] == 5
    Path(scene["output"]).unlink()
    with pytest.raises(UserError, match=r"[1-5] of 9 images cannot be read.*\d\.png"):
        run_labelling(scene, max_unreadable=0)
    (tmp_path / "images" / "5.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"6 of 9 images cannot be read.*0\.png"):
        run_labelling(scene)
    assert not Path(scene["output"]).exists()


def test_nothing_is_labelled_where_no_image_can_be_read(scene, tmp_path):
    (tmp_path / "two").mkdir()
    for number in range(2):
        (tmp_path / "two" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"2 of 2 images cannot be read.*0\.png"):
        prepare(**{**scene, "image_root": str(tmp_path / "two"), "image_json": None})
    assert not Path(scene["output"].removesuffix(".json") + "_labelling").exists()


def cut_jpeg(path: Path, missing: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 90, 3), np.uint8)
    Image.fromarray(pixels).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-missing])


def test_a_jpeg_that_lacks_its_last_bytes_is_labelled_and_counted(scene, tmp_path, log):
    cut_jpeg(tmp_path / "images" / "0.png", 5)
    cut_jpeg(tmp_path / "images" / "3.png", 3000)
    _, report = run_labelling(scene, threshold=0.5)
    assert (report["images_truncated"], report["images_unreadable"]) == (1, 1)
    assert report["truncated"] == [str(tmp_path / "images" / "0.png")]
    assert "cut short" in report["unreadable"][str(tmp_path / "images" / "3.png")]
    assert any("0.png lacks its last bytes" in message for message in log)


@pytest.mark.parametrize("image_json", [True, False])
def test_images_that_are_labelled_are_not_labelled_again(scene, tmp_path, image_json):
    """By the labelled json's names for them below the image folder; nor are copies of these."""
    changes = {} if image_json else {"image_json": None}
    content = json.loads(Path(scene["labeled_json"]).read_text())
    content["images"][0]["file_name"] = "4.png"
    one = {**content, "images": content["images"][:1]}
    Path(scene["labeled_json"]).write_text(json.dumps(one))
    shutil.copy(tmp_path / "images" / "4.png", tmp_path / "images" / "7.png")
    pseudo_labels, report = run_labelling(scene, threshold=0.3, **changes)
    assert (report["images_listed"], report["images_left_out"]) == (7, 2)
    names = {image["file_name"] for image in pseudo_labels["images"]}
    assert names and not names & {"4.png", "7.png"}
    for image in content["images"]:
        image["file_name"] = f"{image['id'] - 10}.png"
    Path(scene["labeled_json"]).write_text(json.dumps(content))
    with pytest.raises(UserError, match="9 of 9 images of .* no unlabelled image is left"):
        prepare(**{**scene, **changes})
    labelled = {"image_json": scene["labeled_json"]}  # is itself to be labelled
    assert prepare(**{**scene, **labelled}).left_out == 0


@pytest.mark.slow
def test_unreadable_images_of_all_processes_count_together(scene, tmp_path):
    for number in range(6):
        (tmp_path / "images" / f"{number}.png").write_bytes(b"no image")
    done = run_command(scene, "--num-gpus", "2", "--batch-size", "1", "--max-unreadable", "0.4")
    assert done.returncode == 2
    assert "6 of 9 images cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(scene["output"]).exists()


def test_too_few_detections_and_the_cap_are_said(scene):
    opts = ["MODEL.RETINANET.SCORE_THRESH_TEST", "0.5", "TEST.DETECTIONS_PER_IMAGE", "4"]
    coco, report = run_labelling(scene, labeled_json=None, target_mean=50.0, opts=opts)
    assert report["instances"] == report["detections"] == len(coco["annotations"])
    under_floor, cap = report["warnings"]
    assert "under the teacher's score floor 0.5" in under_floor
    assert f"{report['images_cut_by_cap']} images hit the cap of 4" in cap
    assert report["images_at_cap"] == report["images_cut_by_cap"] > 0
    _, report = run_labelling(scene, threshold=0.3, opts=opts)
    assert "not above the teacher's score floor" in report["warnings"][0]
    # A cap that cuts below the threshold does no harm.
    opts = ["TEST.DETECTIONS_PER_IMAGE", "30"]
    _, report = run_labelling(scene, target_mean=1.0, opts=opts)
    assert report["images_at_cap"] > 0 and report["images_cut_by_cap"] == 0
    assert report["warnings"] == []


def test_a_teacher_that_finds_nothing(scene):
    with pytest.raises(UserError, match="finds nothing above its score floor 0.9999"):
        run_labelling(scene, opts=["MODEL.RETINANET.SCORE_THRESH_TEST", "0.9999"])
    with pytest.raises(UserError, match="--threshold 1.0 keeps none"):
        run_labelling(scene, threshold=1.0)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"image_root": "nowhere"}, "image folder nowhere does not exist"),
        ({"image_json": "nowhere.json"}, "nowhere.json cannot be opened"),
        ({"weights": "nowhere.pth"}, "weights nowhere.pth do not exist"),
        ({"config_file": "nowhere.yaml"}, "nowhere.yaml"),
        ({"labeled_json": None}, "no labelled set is given"),
        ({"opts": ["MODEL.RETINANET.NUM_CLASSES", "3"]}, "of another shape"),
        ({"class_names": ["square", "circle"]}, "in another order, the first of them 'circle'"),
    ],
)
def test_bad_input_is_named_before_inference(scene, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        prepare(**{**scene, **changes})


def test_bad_files_are_named_before_inference(scene, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in .*empty"):
        prepare(**{**scene, "image_root": str(tmp_path / "empty"), "image_json": None})
    with pytest.raises(UserError, match="9 of 9 images cannot be read.*no such file"):
        prepare(**{**scene, "image_root": str(tmp_path / "empty")})
    whole = Path(scene["labeled_json"]).read_text()
    Path(scene["labeled_json"]).write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="labeled.json is no whole json"):
        prepare(**scene)
    other = {**json.loads(whole), "categories": [{"id": 2, "name": "a"}, {"id": 5, "name": "b"}]}
    Path(scene["labeled_json"]).write_text(json.dumps(other))
    (tmp_path / "annotated.json").write_text(whole)
    with pytest.raises(UserError, match="the teacher and .*labeled.json have other classes.*'a'"):
        prepare(**scene)
    Path(scene["labeled_json"]).write_text(whole)
    (tmp_path / "annotated.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match="the teacher and .*annotated.json have other classes"):
        prepare(**{**scene, "image_json": str(tmp_path / "annotated.json")})
    Path(scene["labeled_json"]).write_text(json.dumps({**json.loads(whole), "annotations": []}))
    with pytest.raises(UserError, match="no boxes to calibrate .* with: there are no annotations"):
        prepare(**scene)


def test_classes_are_those_of_the_teacher_whatever_ids_the_labels_have(scene, tmp_path):
    """A json that was exported anew, with other ids: the names decide, as training has them."""
    before, _ = run_labelling(scene)
    labeled = json.loads(Path(scene["labeled_json"]).read_text())
    labeled["categories"] = [{"id": 1, "name": "square"}, {"id": 2, "name": "circle"}]
    for annotation in labeled["annotations"]:
        annotation["category_id"] = 1
    (tmp_path / "anew.json").write_text(json.dumps(labeled))
    after, _ = run_labelling(scene, labeled_json=str(tmp_path / "anew.json"))

    def named(coco):
        names = {category["id"]: category["name"] for category in coco["categories"]}
        return [(a["bbox"], names[a["category_id"]]) for a in coco["annotations"]]

    assert named(after) == named(before)
    assert after["categories"] == labeled["categories"][::-1]  # circle, square


def test_weights_that_do_not_name_their_classes(scene, tmp_path):
    before, _ = run_labelling(scene)
    content = torch.load(scene["weights"])
    del content["class_names"]
    torch.save(content, scene["weights"])
    with pytest.raises(UserError, match="do not name their classes: give --class-names"):
        prepare(**scene)
    with pytest.raises(UserError, match="3 class names for 2 classes"):
        prepare(**scene, class_names=["a", "b", "c"])
    for names in (["circle", "square"], [scene["labeled_json"]]):
        after, _ = run_labelling(scene, class_names=names)
        assert after["annotations"] == before["annotations"]
    with pytest.raises(UserError, match="the teacher and .*labeled.json have other classes"):
        prepare(**scene, class_names=["circle", "triangle"])


def test_names_of_the_weights_are_enough(scene):
    """A folder and a threshold by hand: no json says the classes."""
    coco, _ = run_labelling(scene, image_json=None, labeled_json=None, threshold=0.6)
    assert coco["categories"] == [{"id": 1, "name": "circle"}, {"id": 2, "name": "square"}]


def test_weights_of_another_model_are_named(scene):
    opts = ["MODEL.FPN.OUT_CHANNELS", "8"]
    with pytest.raises(UserError, match="head.cls_score.weight|backbone"):
        run_labelling(scene, opts=opts)


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_more_processes_write_the_same_file_as_one(scene, workers):
    """Through the command line, with the sets registered by the config and one unreadable image."""
    sets = (
        f"DATASETS: {{REGISTER: {{shapes: {{JSON: {scene['image_json']}, "
        f"IMAGES: {scene['image_root']}}}, labeled_shapes: {{JSON: {scene['labeled_json']}, "
        f"IMAGES: {scene['image_root']}}}}}}}\n"
    )
    Path(scene["config_file"]).write_text(TEACHER + sets)
    Path(scene["image_root"], "7.png").write_bytes(b"no image")
    run_labelling(scene, batch_size=2, max_unreadable=0.2)
    one = Path(scene["output"]).read_bytes()
    more = scene["output"] + ".more"
    command = {key: scene[key] for key in ("config_file", "weights")}
    command |= {"output": more, "dataset": "shapes", "labeled_dataset": "labeled_shapes"}
    command |= {"num_gpus": str(workers), "batch_size": "2", "max_unreadable": "0.2"}
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    assert "21 pseudo-labels, 2.625 per image (wanted 2.667)" in done.stdout
    assert Path(more).read_bytes() == one


def test_the_order_of_the_json_does_not_matter(scene):
    run_labelling(scene, batch_size=2)
    one = Path(scene["output"]).read_bytes()
    content = json.loads(Path(scene["image_json"]).read_text())
    content["images"] = content["images"][4:] + content["images"][3::-1]
    Path(scene["image_json"]).write_text(json.dumps(content))
    run_labelling(scene, batch_size=2)
    assert Path(scene["output"]).read_bytes() == one


def test_shards_hold_every_image_once_and_are_alike_for_any_number_of_processes(scene, monkeypatch):
    job = prepare(**scene, batch_size=2)
    model, cfg = load_detector(job.config_file, job.weights, "cpu")
    shards = plan_shards(model, cfg, job)
    batches = [batch for shard in shards for batch in shard]
    assert len(shards) == len(batches) > 4  # few images: every process gets some
    assert sorted(np.concatenate(batches)) == list(range(9))
    written = {}
    for world_size in (1, 3):
        monkeypatch.setattr(labeler.comm, "get_world_size", lambda size=world_size: size)
        for rank in range(world_size):
            monkeypatch.setattr(labeler.comm, "get_rank", lambda rank=rank: rank)
            label_shards(model, cfg, job, shards)
        files = sorted(Path(job.shards).glob("shard_*"))
        assert len(files) == len(shards)
        written[world_size] = [path.read_bytes() for path in files]
        for path in files:
            path.unlink()
    assert written[1] == written[3]
    monkeypatch.setattr(labeler, "NUM_SHARDS", 2)
    few = plan_shards(model, cfg, job)
    assert [len(shard) for shard in few] == [-(-len(batches) // 2), len(batches) // 2]


def test_a_missing_shard_is_named(scene):
    job = prepare(**scene)
    model, cfg = load_detector(job.config_file, job.weights, "cpu")
    shards = plan_shards(model, cfg, job)
    label_shards(model, cfg, job, shards)
    (Path(job.shards) / "shard_1.npz").unlink()
    with pytest.raises(UserError, match="shard_1.npz is missing: .* all machines share"):
        merge_shards(job, cfg, len(shards))
    assert not Path(scene["output"]).exists()


def test_the_mean_is_that_of_the_share_of_the_labels_that_is_used(scene):
    """DATASETS.LABELED_SHARE with a registered labelled set."""
    job = prepare(**scene, labeled_share=(0.34, 5))
    labels = json.loads(Path(scene["labeled_json"]).read_text())
    chosen = {image["id"] for image in choose_share(labels["images"], 0.34, 5, key="id")}
    assert job.calibration["labeled_images"] == len(chosen) == 3
    count = sum(label["image_id"] in chosen for label in labels["annotations"])
    assert job.calibration["labeled_instances"] == count
    assert job.calibration["target_mean"] == count / 3


def test_an_unknown_set_is_named():
    json_and_images = runpy.run_path(str(SCRIPT))["json_and_images"]
    with pytest.raises(UserError, match="forms is no registered data set"):
        json_and_images("forms")


def test_a_folder_of_somebody_else_is_left_alone(scene):
    """The detections go to <output>_labelling, which may be where the user's images are."""
    folder = Path(scene["output"].removesuffix(".json") + "_labelling")
    folder.mkdir(parents=True)
    (folder / "images.npy").write_bytes(b"of an interrupted run")
    (folder / "cells.png").write_bytes(b"the user's")
    with pytest.raises(UserError, match="_labelling.*holds cells.png"):
        prepare(**scene)
    assert (folder / "cells.png").read_bytes() == b"the user's"
    (folder / "cells.png").unlink()
    assert len(prepare(**scene).images) == len(SIZES)
