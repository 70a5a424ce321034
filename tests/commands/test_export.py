"""`sad export`: what it writes and says; an exported file in the place of a checkpoint."""

import pytest
import torch

from exported_files import tame_teacher
from toy import REPOSITORY, run_script, run_train_net

EXPORT = REPOSITORY / "scripts" / "export.py"


@pytest.mark.slow
def test_an_exported_file_is_evaluated_as_its_checkpoint_is(toy, tmp_path, monkeypatch, capsys):
    model, _ = tame_teacher(toy)
    torch.save({"model": model.state_dict(), "class_names": ["light", "dark"]}, tmp_path / "x.pth")
    config = ["--config-file", toy.path("teacher.yaml")]
    found = {}
    for name, kind in (("pth", ""), ("onnx", "onnx"), ("safetensors", "safetensors")):
        path = tmp_path / f"x.{name}"
        if kind:
            arguments = ["--weights", tmp_path / "x.pth", "--format", kind, "--output", path]
            run_script(monkeypatch, EXPORT, *config, *arguments)
            assert capsys.readouterr().out.endswith(f"wrote {path}\n")
        output = tmp_path / f"of_{name}"
        arguments = ["MODEL.WEIGHTS", path, "OUTPUT_DIR", output]
        run_train_net(monkeypatch, *config, "--eval-only", *arguments)
        results = output / "inference" / "toy_labeled" / "instances_predictions.pth"
        found[name] = torch.load(results, weights_only=False)
    for name in ("onnx", "safetensors"):
        for one, other in zip(found["pth"], found[name], strict=True):
            assert len(one["instances"]) == len(other["instances"])
            for a in one["instances"]:  # those of one score come in any order
                assert any(
                    a["score"] == pytest.approx(b["score"], abs=1e-5)
                    and a["bbox"] == pytest.approx(b["bbox"], abs=1e-2)
                    and a["category_id"] == b["category_id"]
                    for b in other["instances"]
                )
