"""The benchmark of exported files, on the toy's teacher."""

import pytest
import torch

import sad.export.run
from exported_files import tame_teacher
from sad.study.benchmarks import export
from sad.study.benchmarks.timing import Options
from sad.utils.errors import UserError


@pytest.mark.slow
def test_all_forms_of_a_detector_side_by_side(toy, tmp_path, monkeypatch):
    options = ["DATASETS.UNLABELED", ["toy_unlabeled"]]
    model, _ = tame_teacher(toy, "teacher")
    cfg = toy.cfg("SAD.yaml", *options).clone()
    cfg.defrost()
    cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    (tmp_path / "config.yaml").write_text(cfg.dump())
    state = {"model": model.state_dict(), "class_names": ["light", "dark"]}
    torch.save(state, tmp_path / "model_final.pth")
    evaluate, found = sad.export.run.evaluate, []

    def measured(*arguments):  # a little more each time, so that all APs differ
        worth = evaluate(*arguments)
        found.append(worth.ap + 0.001 * len(found))
        return worth._replace(metrics={**worth.metrics, "AP": found[-1]})

    monkeypatch.setattr(sad.export.run, "evaluate", measured)
    rows = export.run(Options("cpu", "small", 3, (("toy", str(tmp_path)),))).rows
    forms = ["PyTorch eager", "torch.export", "AOTInductor", "ONNX float32", "ONNX int8"]
    assert list(rows) == [f"toy: {form}" for form in forms]
    one, *others = rows.values()
    assert all(row["ms at batch 1"] > 0 and row["ms at batch 8"] > 0 for row in rows.values())
    assert one["ratio at batch 1"] == one["ratio at batch 8"] == 1
    _, program, _, machine_code, _, floats, eager, _, int8 = found
    assert [row["AP"] for row in (one, *others)] == [eager, program, machine_code, floats, int8]
    assert others[3]["MB"] < others[2]["MB"]


def test_a_run_that_is_not_finished_is_named(tmp_path):
    with pytest.raises(UserError, match="config.yaml does not exist"):
        export.run(Options("cpu", "small", 3, (("one", str(tmp_path)),)))
