"""`sad weights`: what it writes, and how a mistake ends."""

import pytest
import torch
import torchvision

from toy import REPOSITORY, run_script

CONVERT_WEIGHTS = REPOSITORY / "scripts" / "convert_weights.py"


def test_command(tmp_path, monkeypatch, capsys):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "18.pth")
    output = tmp_path / "new" / "d2.pth"
    arguments = ["torchvision", "--weights", tmp_path / "18.pth", "--output", output]
    run_script(monkeypatch, CONVERT_WEIGHTS, *arguments)
    assert capsys.readouterr().out == f"wrote {output}: 100 tensors\n"
    assert torch.load(output)["matching_heuristics"] is True


def test_timm(tmp_path, monkeypatch, capsys):
    output = tmp_path / "lite0.pth"
    arguments = ["timm", "--name", "tf_efficientnet_lite0", "--output", output]
    run_script(monkeypatch, CONVERT_WEIGHTS, *arguments)
    assert capsys.readouterr().out == f"wrote {output}: 288 tensors\n"
    assert all(key.startswith("backbone.bottom_up.") for key in torch.load(output)["model"])


def test_command_with_a_mistake(toy, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run_script(
            *(monkeypatch, CONVERT_WEIGHTS, "slice", "--full-config", toy.path("teacher.yaml")),
            *("--weights", toy.path("student.yaml"), "--config-file", toy.path("student.yaml")),
            *("--output", tmp_path / "out.pth"),
        )
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert f"error: weights {toy.path('student.yaml')} cannot be read" in error
    assert not list(tmp_path.iterdir())
