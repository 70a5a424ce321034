"""The examples, in an environment that has what they say and nothing else."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from exported_files import tame_teacher, write_onnx
from sad import Predictor
from toy import REPOSITORY

RUNNER = REPOSITORY / "examples" / "run_onnx.py"
# onnxruntime asks for the last three, and imports none of them to run a model.
PACKAGES = ("numpy", "onnxruntime", "pillow", "flatbuffers", "packaging", "protobuf")
CHECK = (
    "import runpy, sys\n"
    "sys.path.insert(0, sys.argv.pop(1))\n"
    "sys.argv.pop(0)\n"
    "try:\n"
    "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    "except SystemExit as end:\n"
    "    code = end.code\n"
    "assert not {'torch', 'detectron2', 'sad', 'onnx'} & set(sys.modules)\n"
    "for name in ('torch', 'detectron2', 'sad'):\n"
    "    try:\n"
    "        __import__(name)\n"
    "    except ImportError:\n"
    "        continue\n"
    "    raise AssertionError(name)\n"
    "sys.exit(code)\n"
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """A folder of links to the packages that the runner needs."""
    folder = tmp_path_factory.mktemp("bare")
    for name in PACKAGES:
        for file in distribution(name).files:
            top = file.parts[0]
            if top != ".." and not (folder / top).exists():
                (folder / top).symlink_to(distribution(name).locate_file(top))
    return folder


def started(bare, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-I", "-S", "-c", CHECK, bare, RUNNER, *arguments]
    return subprocess.run([str(x) for x in command], capture_output=True, text=True, check=False)


def run(bare, *arguments) -> list[str]:
    done = started(bare, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("order", ["BGR", pytest.param("RGB", marks=pytest.mark.slow)])
def test_the_runner_finds_what_the_predictor_does(toy, tmp_path, bare, order):
    options = ["INPUT.FORMAT", order, "INPUT.MIN_SIZE_TEST", 48, "INPUT.MAX_SIZE_TEST", 70]
    model, cfg = tame_teacher(toy, opts=options)
    path = write_onnx(model, cfg, tmp_path / "x.onnx", threshold=0.3)
    torch.save({"model": model.state_dict(), "class_names": model.class_names}, tmp_path / "x.pth")
    predict = Predictor(tmp_path / "x.pth", toy.path("teacher.yaml"), options)
    photo = tmp_path / "photo.png"
    Image.open(toy.path("labeled/000004.png")).resize((200, 90)).save(photo)
    for image in (photo, toy.path("labeled/000001.png")):
        wanted = predict(image)
        wanted = wanted[wanted.scores >= 0.3]
        columns = wanted.boxes.tolist(), wanted.scores.tolist(), wanted.names
        first, *lines = run(bare, path, image)
        assert len(lines) == len(wanted) > 3 and first == f"{image}: {len(wanted)} objects"
        found = [line.split() for line in lines]
        for box, score, label in zip(*columns, strict=True):
            assert any(
                name == label
                and float(its_score) == pytest.approx(score, abs=0.006)
                and [float(x) for x in corners] == pytest.approx(box, abs=0.11)
                for name, its_score, _, *corners in found
            )


@pytest.mark.slow
def test_sixteen_bits_are_not_white(toy, tmp_path, bare):
    path = write_onnx(*tame_teacher(toy), tmp_path / "x.onnx", threshold=0.3)
    grey = np.asarray(Image.open(toy.path("labeled/000001.png")).convert("L"))
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    found = [run(bare, path, tmp_path / f"{bits}.png")[1:] for bits in (8, 16)]
    assert found[0] == found[1] != []


def test_images_that_cannot_be_read_are_named_and_the_others_are_run(toy, tmp_path, bare):
    options = ["INPUT.MIN_SIZE_TEST", 48, "INPUT.MAX_SIZE_TEST", 96]
    path = write_onnx(*tame_teacher(toy, opts=options), tmp_path / "x.onnx", threshold=0.3)
    photo, thin = toy.path("labeled/000001.png"), tmp_path / "thin.png"
    Image.new("RGB", (4, 2560)).save(thin)
    Image.open(photo).save(tmp_path / "whole.jpg")
    broken = {
        "text.jpg": b"no image",
        "empty.png": b"",
        "short.jpg": (tmp_path / "whole.jpg").read_bytes()[:-9],
        "short.png": Path(photo).read_bytes()[:-40],
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    bad = [str(tmp_path / name) for name in [*broken, "absent.png"]]
    done = started(bare, path, *bad[:3], photo, *bad[3:], thin)
    assert done.returncode == 1
    named = done.stderr.splitlines()
    assert len(named) == len(bad)
    assert all(line.startswith(f"{one}: ") for line, one in zip(named, bad, strict=True))
    wanted = run(bare, path, photo, thin)
    assert done.stdout.splitlines() == wanted and len(wanted) > 3
    assert any(line.startswith(f"{thin}: ") for line in wanted)


def test_a_file_without_suppression_is_named(toy, tmp_path, bare):
    path = write_onnx(*tame_teacher(toy), tmp_path / "plain.onnx", nms=False)
    done = started(bare, path, toy.path("labeled/000001.png"))
    assert done.returncode == 1 and not done.stdout
    assert path in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_runner_is_short():
    assert sum(bool(line.strip()) for line in RUNNER.read_text().splitlines()) < 50
