"""The trained detectors that come with the project, by name."""

import hashlib
import json
import re

import pytest
import torch
from detectron2.structures import Boxes, pairwise_iou

import sad
from sad.config.load import get_sad_cfg
from sad.digit_scenes.dataset import write_digit_scenes
from sad.digit_scenes.example import example_scene
from sad.digit_scenes.render import SceneOptions, render_scene
from sad.exported.open import read_card
from sad.modeling.build import load_detector
from sad.utils.errors import UserError
from toy import REPOSITORY, run_train_net

NAMES = ["digits/SAD", "digits/student", "digits/teacher"]
PAGE = (REPOSITORY / "MODEL_ZOO.md").read_text()


def facts(name: str) -> dict:
    return json.loads((REPOSITORY / "model_zoo" / f"{name}.json").read_text())


def rows() -> dict[str, list[str]]:
    """Name -> cells of the page's table of weights."""
    table = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `digits/")]
    return {cells[0].strip("| `"): cells for cells in table}


def test_names():
    assert sad.model_zoo.names() == NAMES == sorted(rows())


@pytest.mark.parametrize("name", NAMES)
def test_the_page_the_json_and_the_file_say_the_same(name):
    said, path = facts(name), sad.model_zoo.get_checkpoint(name)
    with open(path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == said["sha256"]
    _, config, weights, metrics, *numbers, parameters, digest = rows()[name]
    links = [re.search(r"\((.+)\)", cell)[1] for cell in (config, weights, metrics)]
    assert links == [f"configs/{name}.yaml", f"model_zoo/{name}.safetensors",
                     f"model_zoo/{name}.json"]  # fmt: skip
    assert digest.strip("| `") == said["sha256"]
    assert numbers == [f"{said['metrics'][key]:.1f}" for key in ("AP", "AP50", "AP75")]
    assert parameters == f"{said['parameters'] / 1e6:.2f}"
    card = read_card(path)
    assert card.metrics == {f"digits_minival/{key}": x for key, x in said["metrics"].items()}
    assert card.threshold == said["threshold"] == round(card.threshold, 2)  # best_f1's steps
    assert card.seed == said["seed"] and card.licence == said["licence"]
    assert card.class_names == [str(digit) for digit in range(10)]
    assert "CC BY 4.0" in card.licence and card.data[0] == "digits_labeled"
    assert abs(said["metrics"]["AP"] - said["metrics_in_float32"]["AP"]) <= 0.05


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_that_of_its_yaml(name):
    model, path = sad.model_zoo.get(name, "cpu"), sad.model_zoo.get_checkpoint(name)
    again, _ = load_detector(sad.model_zoo.get_config_file(name), path, "cpu")
    expected = again.state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(x, expected[key]) for key, x in model.state_dict().items())
    assert not model.training and {x.dtype for x in model.parameters()} == {torch.float32}
    assert sum(x.numel() for x in model.parameters()) == facts(name)["parameters"]


@pytest.mark.slow
def test_the_lines_of_the_folders_page_run(tmp_path):
    example_scene(tmp_path / "scene.png")
    page, names = (REPOSITORY / "model_zoo/digits/README.md").read_text(), {}
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code, names)
    found = names["predict"](tmp_path / "scene.png")
    assert (found.scores > names["predict"].threshold).sum() >= 3
    assert names["model"].class_names == names["predict"].class_names


def test_students_are_small_files():
    sizes = {name: (REPOSITORY / "model_zoo" / f"{name}.safetensors").stat().st_size
             for name in NAMES}  # fmt: skip
    assert max(sizes["digits/SAD"], sizes["digits/student"]) < 1e6 < sizes["digits/teacher"] < 7e6


def test_the_best_of_them_finds_most_of_the_example():
    model = sad.model_zoo.get("digits/SAD", "cpu")
    image = torch.from_numpy(example_scene()[:, :, ::-1].copy()).permute(2, 0, 1)
    (output,) = model([{"image": image, "height": 128, "width": 128}])
    found = output["instances"]
    found = found[found.scores > model.card.threshold]
    _, things = render_scene(SceneOptions(seed=1), "minival", 1)
    boxes = torch.tensor([thing.box() for thing in things], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]
    overlaps = pairwise_iou(Boxes(boxes), found.pred_boxes) > 0.5
    labels = torch.tensor([thing.label for thing in things])
    right = (overlaps & (labels[:, None] == found.pred_classes)).any(dim=1)
    assert len(things) == 4 and right.sum() >= 3 and len(found) <= 4


def test_configs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    plain = sad.model_zoo.get_config("digits/up")
    assert plain.INPUT.MIN_SIZE_TEST == 64 and plain.MODEL.WEIGHTS == ""
    trained = sad.model_zoo.get_config("digits/SAD", trained=True)
    assert trained.MODEL.WEIGHTS == sad.model_zoo.get_checkpoint("digits/SAD")
    assert trained.SAD.DISTILL.CLASS.LOSS == "kl"
    assert plain != get_sad_cfg()


@pytest.mark.parametrize(
    ("ask", "name", "said"),
    [
        (sad.model_zoo.get, "digits/SDA", "did you mean digits/SAD"),
        (sad.model_zoo.get, "", "it has digits/SAD, digits/student, digits/teacher"),
        (sad.model_zoo.get_checkpoint, "digits/up", "no weights of 'digits/up'"),
        (sad.model_zoo.get_checkpoint, "../model_zoo/digits/SAD", "no weights"),
        (sad.model_zoo.get_config, "digits/SDA", "no config configs/digits/SDA.yaml"),
    ],
)
def test_names_that_are_none(ask, name, said):
    with pytest.raises(UserError, match=re.escape(said)):
        ask(name)


@pytest.mark.slow
def test_evaluated_again_it_is_as_good_as_said(monkeypatch, tmp_path):
    """The command of the pages, on scenes that are made here."""
    write_digit_scenes(tmp_path / "digits", labeled=1, unlabeled=1, tune=1)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    run_train_net(
        monkeypatch, "--eval-only", "--config-file", REPOSITORY / "configs/digits/SAD.yaml",
        "MODEL.WEIGHTS", sad.model_zoo.get_checkpoint("digits/SAD"),
        "OUTPUT_DIR", tmp_path / "out",
        "TEST.EXPECTED_RESULTS", [["bbox", "AP", facts("digits/SAD")["metrics"]["AP"], 0.05]],
    )  # fmt: skip
    predictions = tmp_path / "out/inference/digits_minival/coco_instances_results.json"
    assert len(json.loads(predictions.read_text())) > 1000
