"""Labelling killed at any moment goes on where it stopped and ends in the same file."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from processes import locked
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.runner import label_images
from sad.utils.errors import UserError
from toy import REPOSITORY

NUM_IMAGES = 6  # of the toy problem, in batches of 1: as many shards


def make_scene(toy, tmp_path: Path) -> dict:
    """Arguments of `prepare`; the images are a copy."""
    shutil.copytree(toy.path("unlabeled"), tmp_path / "images")
    shutil.copy(toy.path("annotations/image_info.json"), tmp_path / "info.json")
    return {
        "config_file": toy.path("teacher.yaml"),
        "weights": toy.path("teacher.pth"),
        "image_root": str(tmp_path / "images"),
        "image_json": str(tmp_path / "info.json"),
        "labeled_json": toy.path("annotations/labeled.json"),
        "output": str(tmp_path / "hard.json"),
        "batch_size": 1,
        "max_unreadable": 0.5,
        "opts": ["DATALOADER.NUM_WORKERS", "0"],
    }


@pytest.fixture
def scene(toy, tmp_path):
    return make_scene(toy, tmp_path)


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory) -> bytes:
    """What an uninterrupted run writes; no path of `scene` is in it."""
    return label(make_scene(toy, tmp_path_factory.mktemp("uninterrupted")))


def label(scene) -> bytes:
    label_images(prepare(**scene))
    return Path(scene["output"]).read_bytes()


def killed(scene, at_rename: int, **changes) -> bool:
    """Label in a process that kills itself where it is about to give its n-th file its name."""

    def work():
        rename, renames = os.replace, []

        def rename_or_die(*names):
            renames.append(names)
            if len(renames) == at_rename:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(*names)

        os.replace = rename_or_die
        label({**scene, **changes})

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def folder_of(scene) -> Path:
    return Path(scene["output"].removesuffix(".json") + "_labelling")


def shards(scene) -> dict[str, int]:
    """Whole shards in the job's folder: name -> when it was made."""
    return {path.name: path.stat().st_mtime_ns for path in folder_of(scene).glob("shard_*.npz")}


@pytest.mark.slow
def test_killed_again_and_again(scene, whole, log):
    """At a shard, at the json, at the report: a rename is what makes a file exist."""
    # The record and 2 shards; 3 shards; the last, the json and the report's numbers.
    for num_shards in (2, 5, 6):
        before = shards(scene)
        assert not Path(scene["output"]).exists()
        assert killed(scene, at_rename=4)
        after = shards(scene)
        assert before.items() <= after.items()  # nothing is made twice
        assert len(after) == num_shards
    assert Path(scene["output"]).read_bytes() == whole
    log.clear()
    assert label(scene) == whole
    assert any(f"6 of {NUM_IMAGES} images are labelled already" in message for message in log)
    assert not folder_of(scene).exists()


def interrupt(scene) -> dict[str, int]:
    """Leave 5 of 6 shards."""
    assert killed(scene, at_rename=7)
    left = shards(scene)
    assert len(left) == 5
    return left


@pytest.mark.slow
def test_only_what_is_damaged_is_labelled_again(scene, whole):
    left = interrupt(scene)
    folder = folder_of(scene)
    text = (folder / "shard_1.npz").read_bytes()
    (folder / "shard_1.npz").write_bytes(text[: len(text) // 2])
    (folder / "shard_3.npz").write_bytes(b"no shard")
    assert killed(scene, at_rename=4)  # after the 3 that are made: at the json
    now = shards(scene)
    assert {name for name in now if now[name] == left.get(name)} == {
        f"shard_{number}.npz" for number in (0, 2, 4)
    }
    assert label(scene) == whole


@pytest.mark.slow
def test_an_image_that_was_mended_is_labelled_again(scene, tmp_path, whole):
    """A file that was broken at first, and one that was not there."""
    names = [f"{number:06d}.png" for number in (1, 4)]
    texts = [(tmp_path / "images" / name).read_bytes() for name in names]
    (tmp_path / "images" / names[0]).write_bytes(texts[0][:200])
    (tmp_path / "images" / names[1]).unlink()
    assert killed(scene, at_rename=7)  # the record and 5 shards: at the json
    for name, text in zip(names, texts, strict=True):
        (tmp_path / "images" / name).write_bytes(text)
    assert label(scene) == whole


@pytest.mark.slow
def test_a_faster_rcnns_labelling_goes_on(scene, log):
    scene |= {x: scene[x].replace("teacher.", "rcnn_teacher.") for x in ("config_file", "weights")}
    whole = label(scene)
    os.unlink(scene["output"])
    left = interrupt(scene)
    assert label(scene) == whole and json.loads(whole)["annotations"]
    assert any(f"{len(left)} of {NUM_IMAGES} images are labelled" in message for message in log)


@pytest.mark.slow
def test_detections_of_another_job_are_not_taken(scene, log, tmp_path):
    content = json.loads(Path(scene["image_json"]).read_text())
    content["images"][0]["id"] = 7
    (tmp_path / "other.json").write_text(json.dumps(content))
    shutil.copytree(tmp_path / "images", tmp_path / "copies")
    weights = torch.load(scene["weights"], weights_only=True)
    weights["model"]["head.cls_score.bias"] += 0.1
    torch.save(weights, tmp_path / "other.pth")
    for what, changes in {
        "weights": {"weights": str(tmp_path / "other.pth")},
        "image folder": {"image_root": str(tmp_path / "copies")},
        "list of images": {"image_json": str(tmp_path / "other.json")},
        "batch size": {"batch_size": 2},
        "precision": {"opts": ["SAD.TEACHER.PRECISION", "bfloat16"]},
        "MODEL": {"opts": ["MODEL.RETINANET.NMS_THRESH_TEST", "0.3"]},
        "INPUT, TEST": {"opts": ["INPUT.MIN_SIZE_TEST", "48", "TEST.DETECTIONS_PER_IMAGE", "50"]},
    }.items():
        prepare(**scene)
        (folder_of(scene) / "shard_0.npz").write_bytes(b"of the job of `scene`")
        prepare(**{**scene, **changes})
        assert log[-1].endswith(f"begin anew; what differs: {what}")
        assert shards(scene) == {}


@pytest.mark.slow
def test_another_threshold_or_reader_takes_the_same_detections(scene):
    left = interrupt(scene)
    other = {"threshold": 0.9, "opts": ["DATALOADER.NUM_WORKERS", "1"], "max_unreadable": 0.1}
    assert killed(scene, at_rename=2, **other)  # after the missing one: at the json
    assert left.items() < (after := shards(scene)).items()
    thresholds = Path(scene["output"]).with_name("thresholds.json")
    thresholds.write_text('{"light": 0.6, "dark": 0.9}')
    assert killed(scene, at_rename=1, class_thresholds=str(thresholds))
    assert shards(scene) == after


@pytest.mark.slow
def test_the_same_labelling_twice_at_once(scene, whole):
    """The second ends in a sentence and changes nothing; once the first has died, it goes on."""
    interrupt(scene)
    folder = folder_of(scene)
    (folder / ".shard_5.npz.x1y2").write_text("what the first one is writing")
    with locked(folder):
        before = {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]}
        for changes in ({}, {"batch_size": 2}):
            with pytest.raises(UserError, match=f"--output: .*{folder} is in use by process"):
                prepare(**{**scene, **changes})
        assert {path: path.stat().st_mtime_ns for path in [folder, *folder.iterdir()]} == before
    assert label(scene) == whole
    assert not folder.exists()


@pytest.mark.slow
def test_the_command_killed_at_random_moments_by_any_number_of_processes(scene):
    """kill -9 of all processes at once, after a random number of the 60 shards."""
    content = json.loads(Path(scene["image_json"]).read_text())
    images = [{**content["images"][n % NUM_IMAGES], "id": 10 + n} for n in range(60)]
    Path(scene["image_json"]).write_text(json.dumps({**content, "images": images}))
    command = [sys.executable, str(REPOSITORY / "scripts" / "label_unlabeled.py")]
    flags = {"image_root": "images", "image_json": "json"}
    for name in ("config_file", "weights", "image_root", "image_json", "labeled_json", "output"):
        command += [f"--{flags.get(name, name).replace('_', '-')}", scene[name]]
    command += ["--batch-size", "1", "--num-gpus"]
    options = ["DATALOADER.NUM_WORKERS", "0"]
    assert subprocess.run([*command, "1", *options]).returncode == 0
    whole = Path(scene["output"]).read_bytes()
    Path(scene["output"]).unlink()
    draws = np.random.default_rng(0)
    for processes in ("1", "2", "1"):
        before = shards(scene)
        wanted = len(before) + draws.integers(1, 15)
        job = subprocess.Popen([*command, processes, *options], start_new_session=True)
        while len(shards(scene)) < wanted and job.poll() is None:
            time.sleep(0.001)
        os.killpg(job.pid, signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
        assert before.items() <= shards(scene).items()
        assert not Path(scene["output"]).exists()
    assert subprocess.run([*command, "2", *options]).returncode == 0
    assert Path(scene["output"]).read_bytes() == whole
