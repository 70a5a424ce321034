"""What is planned is written once, kept while nothing changed, and named where something did."""

import json

import pytest

from sad.config.load import get_sad_cfg
from sad.pipeline.configs import Paths
from sad.pipeline.plan import Plan, make_plan
from sad.pipeline.request import Request
from sad.utils.errors import UserError
from users_data import make_images, write_coco


@pytest.fixture
def user(tmp_path):
    truth = make_images(tmp_path / "images", 30, seed=1)
    make_images(tmp_path / "more", 6, seed=2)
    labels = write_coco(tmp_path / "labels.json", truth)
    return {
        "labeled": str(labels),
        "images": str(tmp_path / "images"),
        "unlabeled": str(tmp_path / "more"),
        "teacher": "small",
        "output": str(tmp_path / "out"),
    }


def plan(user, **more) -> Plan:
    request = Request(**{**user, **more})
    request.check()
    return make_plan(request, Paths(request.output))


def test_files(user, tmp_path):
    found = plan(user)
    out = tmp_path / "out"
    assert sorted(path.name for path in (out / "data").iterdir()) == [
        *("test.json", "train.json", "unlabeled.json", "val.json")
    ]
    for name in ("teacher", "student", "SAD"):
        cfg = get_sad_cfg(str(out / "configs" / f"{name}.yaml"))
        assert cfg.MODEL.RETINANET.NUM_CLASSES == 2 and cfg.INPUT.MAX_SIZE_TRAIN == 64
    assert (out / "inspection.html").exists()
    assert found.unlabeled_root == str(tmp_path / "more") and found.val_is_test
    assert Plan.read(Paths(str(out))) == found
    assert len(json.loads((out / "data" / "unlabeled.json").read_text())["images"]) == 6


def test_a_second_call_changes_nothing(user, tmp_path):
    before = plan(user)
    config = tmp_path / "out" / "configs" / "student.yaml"
    config.write_text(config.read_text().replace("MAX_ITER: 1200", "MAX_ITER: 7"))
    assert plan(user) == before
    assert "MAX_ITER: 7" in config.read_text()  # what the user has edited


@pytest.mark.parametrize(
    ("change", "named", "again"),
    [
        ({"student": "small"}, "--student", "student, SAD and student_long"),
        ({"iterations": 9}, "--iterations", "everything"),
        ({"seed": 1}, "--seed", "everything"),
    ],
)
def test_other_wishes_are_named(user, change, named, again):
    plan(user)
    with pytest.raises(UserError, match=f"{named} changed.*done again: {again}"):
        plan(user, **change)


def test_other_images_are_named_and_taken_on_demand(user, tmp_path):
    plan(user)
    make_images(tmp_path / "more", 1, seed=3)
    with pytest.raises(UserError, match="the unlabelled images changed.*label, SAD"):
        plan(user)
    again = plan(user, redo=True)
    assert len(json.loads((tmp_path / "out/data/unlabeled.json").read_text())["images"]) == 7
    assert plan(user) == again


def test_nothing_is_written_for_a_mistake(user, tmp_path):
    for change in ({"student": "smal"}, {"unlabeled": "absent"}, {"teacher": "timm:resnet81"}):
        with pytest.raises(UserError):
            plan(user, **change)
    assert not (tmp_path / "out").exists()
