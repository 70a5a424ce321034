"""From a checkpoint to a file: written where it is proved, not written where it is not."""

import dataclasses

import pytest
import torch

import sad.export.run as module
from exported_files import tame_teacher
from sad.export.request import SUFFIXES, Request
from sad.export.run import export
from sad.exported.open import open_exported, read_card
from sad.utils.errors import UserError


@pytest.fixture(scope="module")
def request_(toy, tmp_path_factory):
    """An export of the toy's tame teacher, into a folder of its own."""
    folder = tmp_path_factory.mktemp("export")
    model, _ = tame_teacher(toy)
    torch.save({"model": model.state_dict(), "class_names": ["light", "dark"]}, folder / "x.pth")
    return Request(
        config_file=toy.path("teacher.yaml"),
        weights=str(folder / "x.pth"),
        format="onnx",
        output=str(folder / "out" / "x.onnx"),
    )


def run(request, folder, **changes) -> tuple[str, str]:
    """(the file's path, what was said)"""
    suffix = SUFFIXES[changes.get("format", "onnx")]
    output, said = str(folder / f"x{suffix}"), []
    export(dataclasses.replace(request, output=output, **changes), said.append)
    assert [x.name for x in folder.iterdir()] == [f"x{suffix}"]
    return output, "\n".join(said)


@pytest.mark.parametrize("dtype", ["uint8", pytest.param("float32", marks=pytest.mark.slow)])
def test_onnx(request_, tmp_path, dtype):
    output, said = run(request_, tmp_path, dtype=dtype, licence="MIT")
    card = read_card(output)
    assert card.licence == "MIT" and 0 < card.threshold < 1
    assert set(card.metrics) == {f"toy_labeled/{x}" for x in ("AP", "AP50", "AP75")}
    assert "7 batches" in said and "ONNX float32" in said
    table = [line.split() for line in said.splitlines()[-2:]]
    assert table[0][0] == "Detectron2" and table[0][1:3] == table[1][2:4]  # AP and AP50


@pytest.mark.slow
def test_onnx_without_suppression(request_, tmp_path):
    output, said = run(request_, tmp_path, nms=False)
    assert "7 batches" in said
    with pytest.raises(UserError, match="no non-maximum suppression"):
        open_exported(output)


@pytest.mark.slow
def test_safetensors(request_, tmp_path):
    output, said = run(request_, tmp_path, format="safetensors")
    assert "bit for bit" in said
    assert open_exported(output).card == read_card(output)


@pytest.mark.slow
def test_what_weights_say_of_themselves_goes_on(request_, toy, tmp_path):
    (tmp_path / "one").mkdir()
    weights, _ = run(request_, tmp_path / "one", format="safetensors", licence="MIT")
    (tmp_path / "two").mkdir()
    again = {"weights": weights, "opts": ["SEED", 7, "DATASETS.TRAIN", "('toy_labeled',)"]}
    output, said = run(request_, tmp_path / "two", **again)
    one, two = read_card(weights), read_card(output)
    assert two.licence == "MIT" and (two.data, two.seed) == (one.data, one.seed)
    assert f"AP {one.metrics['toy_labeled/AP']:.2f}" in said.splitlines()[-1]
    with pytest.raises(UserError, match="MODEL.PIXEL_MEAN"):
        other = ["MODEL.PIXEL_MEAN", [0.0, 0.0, 0.0]]
        export(dataclasses.replace(request_, weights=weights, opts=other))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_torch(request_, tmp_path, monkeypatch, dtype):
    output, said = run(request_, tmp_path, format="torch", dtype=dtype)
    assert "7 batches" in said and "torch.export" in said
    monkeypatch.setenv("SAD_TRUST_PT2", "1")
    assert open_exported(output).class_names == ["light", "dark"]


@pytest.mark.slow
def test_int8_is_written_where_it_is_good_or_wanted(request_, toy, tmp_path, monkeypatch):
    int8 = {"int8": True, "calibration_images": toy.path("unlabeled")}
    output, said = run(request_, tmp_path, **int8, anyway=True)
    assert "ONNX int8" in said

    def let_int8_take(seconds):
        times = {"Detectron2": [3.0], "ONNX float32": [2.0], "ONNX int8": [seconds]}
        monkeypatch.setattr(module, "take_turns", lambda *_: times)

    let_int8_take(1.89)
    run(request_, tmp_path, **int8, max_loss=100.0)
    content = open(output, "rb").read()
    let_int8_take(1.91)  # the clock's own differences are as large
    with pytest.raises(UserError, match=r"is not 5% faster .*1910.0 instead of 2000.0 ms\), so"):
        run(request_, tmp_path, **int8, max_loss=100.0)
    worth = module.evaluate

    def worse(detector, *arguments):
        found = worth(detector, *arguments)
        loss = 2.0 if getattr(worse, "calls", 0) == 2 else 0.0
        worse.calls = getattr(worse, "calls", 0) + 1
        return found._replace(metrics={**found.metrics, "AP": 50 - loss})

    monkeypatch.setattr(module, "evaluate", worse)
    with pytest.raises(UserError, match="is not 5% faster .* and loses 2.00 AP"):
        run(request_, tmp_path, **int8)
    let_int8_take(1.0)
    worse.calls = 0
    with pytest.raises(UserError, match="int8 file loses 2.00 AP"):
        run(request_, tmp_path, **int8)
    assert open(output, "rb").read() == content  # the older one stays


@pytest.mark.slow
def test_a_file_that_is_another_detector_is_not_written(request_, tmp_path, monkeypatch):
    def other(graph, *arguments):
        weight = graph.model.head.bbox_pred.weight
        weight.mul_(1.01)
        try:
            return to_onnx(graph, *arguments)
        finally:
            weight.div_(1.01)

    to_onnx = module.to_onnx
    monkeypatch.setattr(module, "to_onnx", other)
    with pytest.raises(UserError, match="the file is not its detector: before suppression"):
        run(request_, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
def test_another_ap_is_another_detector(request_, tmp_path, monkeypatch, kind):
    evaluate, aps = module.evaluate, iter([40.0, 40.2])

    def shifted(*arguments):
        found = evaluate(*arguments)
        return found._replace(metrics={**found.metrics, "AP": next(aps)})

    monkeypatch.setattr(module, "evaluate", shifted)
    with pytest.raises(UserError, match="its AP is 40.20 instead of 40.00"):
        run(request_, tmp_path, format=kind)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_names_are_those_of_the_set_where_weights_have_none(request_, tmp_path):
    content = torch.load(request_.weights)
    del content["class_names"]
    torch.save(content, tmp_path / "bare.pth")
    (tmp_path / "out").mkdir()
    output, _ = run(request_, tmp_path / "out", weights=str(tmp_path / "bare.pth"))
    assert read_card(output).class_names == ["light", "dark"]
