"""safetensors with a card: Detectron2's model again, and no more than the file holds."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from exported_files import assert_same, batch, tame_teacher, write_weights
from sad.exported.card import Card, digest
from sad.exported.weights_file import open_weights, read_card
from sad.utils.errors import UserError


@pytest.fixture(scope="module")
def written(toy, tmp_path_factory):
    model, cfg = tame_teacher(toy)
    path = tmp_path_factory.mktemp("weights") / "teacher.safetensors"
    return model, write_weights(model, cfg, path)


def _with_config(path: str, to, change) -> str:
    """A copy of a file whose card has another config, and the digest of it."""
    config = change(read_card(path).config)
    card = dataclasses.replace(read_card(path), config=config, config_digest=digest(config))
    save_file(load_file(path), str(to), {"card": card.text()})
    return str(to)


def test_the_model_is_built_of_the_card(written):
    model, path = written
    again = open_weights(path)
    assert type(again) is type(model) and again.class_names == ["light", "dark"]
    assert isinstance(again.card, Card)
    images = batch((50, 70), (64, 64))
    assert_same(again(images), model(images))


def test_half_precision_is_read_as_well(written, tmp_path):
    model, path = written
    half = {key: x.half() for key, x in load_file(path).items()}
    to = str(tmp_path / "half.safetensors")
    save_file(half, to, {"card": read_card(path).text()})
    weight = open_weights(to).head.cls_score.weight
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, model.head.cls_score.weight, atol=1e-3, rtol=1e-3)


def test_a_config_that_asks_for_more_than_the_file_holds_is_refused(written, tmp_path):
    for old, new, said in (
        ("STEM_OUT_CHANNELS: 16", "STEM_OUT_CHANNELS: 1000000", "do not fit the model"),
        ("NUM_CONVS: 1\n", "NUM_CONVS: 1000000000\n", "NUM_CONVS"),
        ("OUT_CHANNELS: 16", "OUT_CHANNELS: 200000", "do not fit the model"),
    ):
        assert old in read_card(written[1]).config
        path = _with_config(
            written[1],
            tmp_path / "large.safetensors",
            lambda config, old=old, new=new: config.replace(old, new),
        )
        with pytest.raises(UserError, match=said) as error:
            open_weights(path)
        assert "large.safetensors" in str(error.value)


def test_a_config_that_names_another_file_is_refused(written, tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("SEED: 7\n")
    for key in ("_BASE_", '"_BASE_"', r'"\x5FBASE_"', r'"\u005fBASE\x5f"', "? _BASE_\n"):
        path = _with_config(
            written[1],
            tmp_path / "x.safetensors",
            lambda config, key=key: f"{key}: {base}\n{config}",
        )
        with pytest.raises(UserError, match="x.safetensors: .* names another file"):
            open_weights(path)


def test_names_are_read_from_no_other_file(written, tmp_path):
    """A json of categories may be named on the command line, and by no card."""
    names = tmp_path / "names.json"
    categories = [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]
    names.write_text(json.dumps({"images": [], "categories": categories, "annotations": []}))
    config = f"SAD: {{TEACHER: {{CLASS_NAMES: ['{names}']}}}}\n"
    path = _with_config(written[1], tmp_path / "x.safetensors", lambda before: config + before)
    assert open_weights(path).class_names == ["light", "dark"]
    card = dataclasses.replace(read_card(path), class_names=[str(names)])
    save_file(load_file(path), path, {"card": card.text()})
    with pytest.raises(UserError, match="1 class names for 2 classes"):
        open_weights(path)


def test_a_config_that_runs_code_is_refused(written, tmp_path):
    for line in (
        "OUTPUT_DIR: !!python/object/apply:os.getcwd []\n",
        "MODEL: [\n",
        "NO_KEY: 1\n",
    ):
        path = _with_config(
            written[1], tmp_path / "x.safetensors", lambda config, line=line: line + config
        )
        with pytest.raises(UserError, match="x.safetensors"):
            open_weights(path)


def test_files_without_a_card_and_broken_ones_are_named(written, tmp_path):
    bare = str(tmp_path / "bare.safetensors")
    save_file(load_file(written[1]), bare)
    assert read_card(bare) is None
    with pytest.raises(UserError, match="has no card"):
        open_weights(bare)
    forged = str(tmp_path / "forged.safetensors")
    save_file(load_file(written[1]), forged, {"card": "{}"})
    with pytest.raises(UserError, match="forged.safetensors: the card"):
        read_card(forged)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="broken.safetensors"):
        read_card(str(broken))
