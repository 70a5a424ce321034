"""Class names travel with weights: whatever ids a json gives its categories, classes stay."""

import json
import shutil

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from detectron2.utils import comm

from processes import run_ranks
from sad.checkpoint.safe_load import read_weights, write_safetensors
from sad.data.checks import check_test_sets
from sad.data.classes import check_same_classes, class_order, given_names
from sad.data.datasets import ClassOrder, register_from_config
from sad.data.loader import build_mixed_loader
from sad.utils.errors import UserError
from toy import run_train_net

NAMES = ["light", "dark"]


def exchanged(toy, name: str) -> dict:
    """A json of the toy, exported anew: the same names under each other's ids."""
    content = toy.json(name)
    one, two = (category["id"] for category in content["categories"])
    content["categories"] = [{"id": one, "name": NAMES[1]}, {"id": two, "name": NAMES[0]}]
    for annotation in content.get("annotations", ()):
        annotation["category_id"] = one + two - annotation["category_id"]
    return content


@pytest.fixture
def anew(toy, tmp_path):
    """A function: KEY VALUE pairs that put re-exported jsons in the place of registered ones."""

    def opts(**files):
        pairs = []
        for name, json_name in files.items():
            path = tmp_path / json_name
            path.write_text(json.dumps(exchanged(toy, json_name)))
            pairs += [f"DATASETS.REGISTER.{name}.JSON", str(path)]
        return tuple(pairs)

    return opts


def order(cfg, **changes):
    return class_order(cfg, **{"resume": False, "evaluates": False, "teaches": True, **changes})


def save(toy, path, names) -> str:
    state = {"model": build_model(toy.cfg("student.yaml")).state_dict()}
    torch.save({**state, **({"class_names": names} if names else {})}, path)
    return str(path)


def evaluate(monkeypatch, toy, output, *opts) -> str:
    run_train_net(
        *(monkeypatch, "--config-file", toy.path("teacher.yaml"), "--eval-only"),
        *("MODEL.WEIGHTS", toy.path("teacher.pth"), "OUTPUT_DIR", output, *opts),
    )
    return (output / "log.txt").read_text()


@pytest.mark.slow
def test_evaluation_does_not_depend_on_category_ids(toy, tmp_path, monkeypatch, anew):
    logs = [
        evaluate(monkeypatch, toy, tmp_path / f"run{number}", *opts)
        for number, opts in enumerate([(), anew(toy_labeled="labeled.json")])
    ]
    before, after = (log.rpartition("copypaste: ")[2] for log in logs)
    assert before == after != ""
    assert "do not name their classes" not in logs[0] + logs[1]


def test_evaluation_of_other_names_is_refused(toy, tmp_path, monkeypatch, capsys):
    content = toy.json("labeled.json")
    content["categories"][1]["name"] = "gray"
    (tmp_path / "gray.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit) as exit_:
        evaluate(monkeypatch, toy, tmp_path / "run", "DATASETS.REGISTER.toy_labeled.JSON",
                 tmp_path / "gray.json")  # fmt: skip
    assert exit_.value.code == 2 and not (tmp_path / "run").exists()
    sentence = capsys.readouterr().err
    for part in ("teacher.pth", "gray.json", "'dark' and 'gray'"):
        assert part in sentence


def test_weights_without_names_are_warned_of_once(toy, tmp_path, monkeypatch):
    content = torch.load(toy.path("teacher.pth"))
    del content["class_names"]
    torch.save(content, tmp_path / "old.pth")
    log = evaluate(monkeypatch, toy, tmp_path / "run", "MODEL.WEIGHTS", tmp_path / "old.pth")
    assert log.count("do not name their classes") == 1


@pytest.mark.slow
def test_students_are_numbered_as_their_teacher(toy, tmp_path, monkeypatch, anew):
    """Labels and pseudo-labels exported anew: the same training, bit for bit, and names with it."""
    weights = []
    for number, opts in enumerate(
        [(), anew(toy_labeled="labeled.json", toy_pseudo_labels="pseudo_labels.json")]
    ):
        output = tmp_path / f"run{number}"
        run_train_net(
            *(monkeypatch, "--config-file", toy.path("SAD.yaml"), "OUTPUT_DIR", output),
            *("SOLVER.MAX_ITER", 3, "SEED", 0, "DATALOADER.NUM_WORKERS", 0, *opts),
        )
        weights.append(read_weights(str(output / "model_final.pth")))
    assert weights[0]["class_names"] == weights[1]["class_names"] == NAMES
    for key, tensor in weights[0]["model"].items():
        assert torch.equal(tensor, weights[1]["model"][key])


def test_a_teacher_without_names_needs_them_given(toy, tmp_path):
    content = torch.load(toy.path("teacher.pth"))
    del content["class_names"]
    torch.save(content, tmp_path / "old.pth")
    opts = ("SAD.TEACHER.WEIGHTS", str(tmp_path / "old.pth"))
    assert order(toy.cfg("SAD.yaml", *opts)) is None
    named = toy.cfg("SAD.yaml", *opts, "SAD.TEACHER.CLASS_NAMES", ("dark", "light"))
    assert order(named).names == ["dark", "light"]
    assert given_names([toy.path("annotations/labeled.json")]) == NAMES
    assert given_names(["light.jpg"]) == ["light.jpg"]


def test_a_run_that_goes_on_keeps_its_order(toy, tmp_path, anew):
    (tmp_path / "run").mkdir()
    save(toy, tmp_path / "run" / "model_0000001.pth", NAMES)
    (tmp_path / "run" / "last_checkpoint").write_text("model_0000001.pth")
    cfg = toy.cfg("student.yaml", "OUTPUT_DIR", str(tmp_path / "run"),
                  *anew(toy_labeled="labeled.json"))  # fmt: skip
    assert order(cfg, resume=True, teaches=False).names == NAMES
    assert order(cfg, resume=False, teaches=False) is None


def test_starting_weights_of_the_same_classes_keep_their_order(toy, tmp_path):
    for names, expected in (
        (["dark", "light"], ["dark", "light"]),
        (["a", "b"], None),
        (None,) * 2,
    ):
        cfg = toy.cfg("student.yaml", "MODEL.WEIGHTS", save(toy, tmp_path / "start.pth", names))
        found = order(cfg, teaches=False)
        assert (found and found.names) == expected
    cfg = toy.cfg("SAD.yaml", "MODEL.WEIGHTS", save(toy, tmp_path / "start.pth", NAMES[::-1]))
    with pytest.raises(UserError, match="start.pth have their classes in another order than"):
        order(cfg)


def test_what_cannot_be_read_is_left_to_others(toy, tmp_path):
    (tmp_path / "broken.pth").write_text("no weights")
    for weights in ("absent.pth", str(tmp_path / "broken.pth"), "detectron2://nowhere/R-50.pkl"):
        assert order(toy.cfg("student.yaml", "MODEL.WEIGHTS", weights), teaches=False) is None


def test_an_order_reaches_every_set(toy, anew):
    cfg = toy.cfg("SAD.yaml", *anew(toy_pseudo_labels="pseudo_labels.json"))
    register_from_config(cfg, ClassOrder(NAMES[::-1], "weights of a test"))
    dataset = build_mixed_loader(cfg).dataset
    for name in ("toy_labeled", "toy_pseudo_labels"):
        assert MetadataCatalog.get(name).thing_classes == NAMES[::-1]
    for item in dataset.items:  # the light rectangle first in each image, the dark one second
        assert [a["category_id"] for a in item["annotations"]] in ([1, 0], [])


def test_the_first_pair_is_named():
    check_same_classes(["a", "b"], ClassOrder(["a", "b"], "weights w"), "set s")
    with pytest.raises(UserError, match="weights w and set s .* another order.*'b' and 'c'"):
        check_same_classes(["a", "c", "b"], ClassOrder(["a", "b", "c"], "weights w"), "set s")
    with pytest.raises(UserError, match="weights w and set s have other classes.*'b' and 'd'"):
        check_same_classes(["a", "d"], ClassOrder(["a", "b"], "weights w"), "set s")


def test_names_travel_with_safetensors(toy, tmp_path):
    path = str(tmp_path / "teacher.safetensors")
    write_safetensors(toy.path("teacher.pth"), path)
    assert read_weights(path)["class_names"] == NAMES
    shutil.copy(path, tmp_path / "copy.safetensors")
    for names in ([1, 2], "light", {"light": 0}):
        torch.save({"model": {"a": torch.ones(1)}, "class_names": names}, tmp_path / "odd.pth")
        with pytest.raises(UserError, match="odd.pth cannot be read"):
            read_weights(str(tmp_path / "odd.pth"))
    assert np.array_equal(
        read_weights(path)["model"]["head.cls_score.bias"],
        read_weights(toy.path("teacher.pth"))["model"]["head.cls_score.bias"],
    )


def numbers_in_a_worker(cfg, weights_order, output):
    """What each of two workers makes of re-exported labels, with the order that weights give."""
    register_from_config(cfg, weights_order)
    items = build_mixed_loader(cfg).dataset.items
    found = [annotation["category_id"] for item in items for annotation in item["annotations"]]
    check_test_sets(cfg)
    names = [list(MetadataCatalog.get(name).thing_classes) for name in ("toy_labeled",)]
    for other in comm.all_gather((found, names)):
        assert other == (found, names)
    if comm.is_main_process():
        torch.save([found, names], output)


@pytest.mark.parametrize("weights_order", [None, ClassOrder(NAMES, "weights of a test")])
def test_all_workers_have_one_order(toy, tmp_path, anew, weights_order):
    """Also those that read no annotations themselves."""
    cfg = toy.cfg("SAD.yaml", *anew(toy_pseudo_labels="pseudo_labels.json"))
    run_ranks(numbers_in_a_worker, cfg, weights_order, tmp_path / "found.pth", count=2)
    found, names = torch.load(tmp_path / "found.pth")
    assert names == [NAMES] and found == [0, 1] * (len(found) // 2)
