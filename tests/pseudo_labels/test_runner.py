"""Labelling: batches of one padded shape, any number of processes, and bad images."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labelling import TEACHER, run_labelling
from sad.modeling.build import load_detector
from sad.pseudo_labels import quality
from sad.pseudo_labels import runner as labeler
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.runner import form_batches, label_shards, plan_shards
from sad.utils.errors import UserError
from toy import png_bomb

SCRIPT = Path(__file__).parents[2] / "scripts" / "label_unlabeled.py"


def run_command(scene, *more) -> subprocess.CompletedProcess:
    flags = {"image_root": "images", "image_json": "json"}
    command = [sys.executable, str(SCRIPT)]
    for name, value in scene.items():
        command += [f"--{flags.get(name, name).replace('_', '-')}", value]
    return subprocess.run([*command, *more], capture_output=True, text=True, env=os.environ)


def batch_lists(padded, resized, batch_size):
    shapes = (np.array(shapes, int).reshape(-1, 2) for shapes in (padded, resized))
    return [batch.tolist() for batch in form_batches(*shapes, batch_size)]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
@pytest.mark.slow
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


@pytest.mark.slow
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


def cut_jpeg(path: Path, missing: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 90, 3), np.uint8)
    Image.fromarray(pixels).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-missing])


@pytest.mark.slow
def test_a_jpeg_that_lacks_its_last_bytes_is_labelled_and_counted(scene, tmp_path, log):
    cut_jpeg(tmp_path / "images" / "0.png", 5)
    cut_jpeg(tmp_path / "images" / "3.png", 3000)
    _, report = run_labelling(scene, threshold=0.5)
    assert (report["images_truncated"], report["images_unreadable"]) == (1, 1)
    assert report["truncated"] == [str(tmp_path / "images" / "0.png")]
    assert "cut short" in report["unreadable"][str(tmp_path / "images" / "3.png")]
    assert any("0.png lacks its last bytes" in message for message in log)


@pytest.mark.slow
def test_unreadable_images_of_all_processes_count_together(scene, tmp_path):
    for number in range(6):
        (tmp_path / "images" / f"{number}.png").write_bytes(b"no image")
    done = run_command(scene, "--num-gpus", "2", "--batch-size", "1", "--max-unreadable", "0.4")
    assert done.returncode == 2
    assert "6 of 9 images cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(scene["output"]).exists()


def test_weights_of_another_model_are_named(scene):
    opts = ["MODEL.FPN.OUT_CHANNELS", "8"]
    with pytest.raises(UserError, match="head.cls_score.weight|backbone"):
        run_labelling(scene, opts=opts)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
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


@pytest.mark.slow
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
