"""A finished run becomes a file of the model zoo, if that is as good as the run."""

import json

import pytest
import torch

from interrupted import train
from sad.checkpoint.safe_load import read_weights
from sad.exported.open import open_exported, read_card
from sad.report.runs import Run
from sad.study.zoo_files import write_model
from sad.utils.errors import UserError


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    """The folder of a run that finds something; its yaml lies beside it."""
    folder = tmp_path_factory.mktemp("zoo") / "student"
    yaml = folder.with_suffix(".yaml")
    yaml.write_text(f"_BASE_: {toy.path('student.yaml')}\nSOLVER: {{MAX_ITER: 40}}\n")
    cfg = toy.cfg(str(yaml), "OUTPUT_DIR", str(folder))
    train(cfg, resume=False)
    (folder / "config.yaml").write_text(cfg.dump())
    return folder


@pytest.mark.slow
def test_the_file_is_the_run_in_half_precision(run, tmp_path):
    config, output = str(run.with_suffix(".yaml")), str(tmp_path / "zoo" / "student")
    facts = write_model(Run("student", run), config, "toy_labeled", output, "CC0")
    assert json.loads((tmp_path / "zoo" / "student.json").read_text()) == facts
    assert facts["metrics"]["AP"] == pytest.approx(facts["metrics_in_float32"]["AP"], abs=0.05)
    assert facts["metrics_in_float32"]["AP"] == Run("student", run).accuracy["AP"] > 0

    model, path = open_exported(f"{output}.safetensors"), f"{output}.safetensors"
    trained, written = (read_weights(str(x))["model"] for x in (run / "model_final.pth", path))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, written[name].to(tensor.dtype)), name
        expected = trained[name]
        if "running" not in name and "tracked" not in name:
            assert written[name].dtype == torch.float16, name
            expected = expected.half().to(expected.dtype)
        assert torch.equal(tensor, expected), name
    card = read_card(path)
    assert card.metrics == {f"toy_labeled/{key}": x for key, x in facts["metrics"].items()}
    assert card.licence == "CC0"
    assert card.data == ["toy_labeled"] and card.class_names == ["light", "dark"]

    content = (tmp_path / "zoo" / "student.safetensors").read_bytes()
    write_model(Run("student", run), config, "toy_labeled", output, "CC0")
    assert (tmp_path / "zoo" / "student.safetensors").read_bytes() == content


@pytest.mark.slow
def test_a_run_that_kept_its_teachers_answers_is_of_the_yaml(run, tmp_path):
    """As the quickstart's; another learning rate is not."""
    config, kept = str(run.with_suffix(".yaml")), Run("student", run)
    kept.cfg.defrost()
    kept.cfg.SAD.TEACHER.CACHE.DIR = "answers"
    facts = write_model(kept, config, "toy_labeled", str(tmp_path / "student"), "CC0")
    assert facts["config"] == config
    kept.cfg.SOLVER.BASE_LR = 0.5
    with pytest.raises(UserError, match="SOLVER.BASE_LR 0.5"):
        write_model(kept, config, "toy_labeled", str(tmp_path / "other"), "CC0")


def test_another_yaml_and_another_ap_are_refused(toy, run, tmp_path):
    output = str(tmp_path / "student")
    with pytest.raises(UserError, match="MODEL.FPN.OUT_CHANNELS 8, and .*teacher.yaml has 16"):
        write_model(Run("student", run), toy.path("teacher.yaml"), "toy_labeled", output, "")
    better = Run("student", run)
    better.metrics[-1]["bbox/AP"] += 0.2  # half precision itself moves it a little
    with pytest.raises(UserError, match="in half precision AP on toy_labeled is .* apart"):
        write_model(better, str(run.with_suffix(".yaml")), "toy_labeled", output, "")
    assert not list(tmp_path.iterdir())


def test_what_half_precision_cannot_hold(run, tmp_path):
    content = torch.load(run / "model_final.pth", weights_only=True)
    content["model"]["head.cls_score.weight"][0, 0, 0, 0] = 7e4
    torch.save(content, run / "large.pth")
    large = Run("student", run, weights="large.pth")
    with pytest.raises(UserError, match="head.cls_score.weight is too large"):
        write_model(large, str(run.with_suffix(".yaml")), "toy_labeled", str(tmp_path / "x"), "")
    assert not list(tmp_path.iterdir())
