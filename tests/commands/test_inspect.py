"""The command looks into labels, by the settings that the one command would choose for them."""

import argparse
import errno
import json
import os

import pytest

import sad_command
from planted import noise, write_faulty, write_set
from sad.commands import inspect
from sad.utils.errors import UserError
from toy import REPOSITORY


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    write_faulty(folder)
    return folder


def run(*arguments) -> None:
    parser = argparse.ArgumentParser()
    inspect.add_arguments(parser)
    inspect.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.mark.slow
def test_labels_of_two_sets_and_unlabeled_images(faulty, tmp_path, capsys):
    run(
        *("--labeled", faulty / "train.json", "--images", faulty / "train"),
        *("--unlabeled", faulty / "unlabeled", "--output", tmp_path / "output"),
    )
    found = json.loads((tmp_path / "output" / "inspection.json").read_text())
    assert found["sets"]["train"]["labels"] == str(faulty / "train.json")
    what = {finding["what"] for finding in found["findings"]}
    assert {"two_classes", "whole_image", "labeled_among_unlabeled", "left_out"} <= what
    # The chosen anchors fit, at the images' own size.
    assert found["anchors"]["recall"] > 0.9 and found["training"]["longest_side"] == 96
    printed = capsys.readouterr().out
    assert all(finding["text"] in printed for finding in found["findings"])
    assert (tmp_path / "output" / "inspection.html").exists()


@pytest.mark.slow
def test_a_config_decides_on_size_and_anchors(faulty, tmp_path):
    run(
        *("--labeled", faulty / "train.json", "--images", faulty / "train"),
        *("--config-file", REPOSITORY / "configs" / "bccd" / "teacher.yaml"),
        *("--output", tmp_path / "output"),
    )
    found = json.loads((tmp_path / "output" / "inspection.json").read_text())
    assert found["training"]["shorter_side"] == 192 and found["anchors"]["strides"] == [8, 16, 32]


def test_a_full_disk(tmp_path, monkeypatch, capsys):
    write_set(tmp_path, "train", {f"{i}.png": (noise(i), []) for i in range(3)})
    output = tmp_path / "output"

    def fsync(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(output)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sad.utils.files.os.fsync", fsync)
    arguments = ["--labeled", tmp_path / "train.json", "--images", tmp_path / "train"]
    with pytest.raises(SystemExit) as end:
        sad_command.run("inspect", list(map(str, [*arguments, "--output", output])))
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {output / 'inspection.json'} ")
    assert not list(output.iterdir())


def test_images_without_any_box(tmp_path):
    write_set(tmp_path, "train", {f"{i}.png": (noise(i), []) for i in range(3)})
    run(
        *("--labeled", tmp_path / "train.json", "--images", tmp_path / "train"),
        *("--output", tmp_path / "output"),
    )
    found = json.loads((tmp_path / "output" / "inspection.json").read_text())
    assert found["anchors"] is None and found["findings"][0]["what"] == "empty_class"


def test_flags_that_contradict_each_other(faulty, tmp_path):
    with pytest.raises(UserError, match="--val .*--data"):
        run("--data", faulty, "--val", faulty / "val.json", "--output", tmp_path / "output")
    assert not (tmp_path / "output").exists()
