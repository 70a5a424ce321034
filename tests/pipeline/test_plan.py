"""What is written before anything is trained, and what a later call says of changed wishes."""

import dataclasses
import json
import os
import shutil

import pytest
import torch

from sad.config.defaults import distills
from sad.config.load import get_sad_cfg
from sad.modeling.build import build_detector
from sad.pipeline.paths import Paths
from sad.pipeline.plan import make_plan
from sad.pipeline.request import Request
from sad.pipeline.settings import ROUND
from sad.preflight.values import check_config
from sad.utils.errors import UserError
from toy import REPOSITORY
from users_data import CLASSES, make_images, write_coco, write_yolo

STUDENT = "student, calibration, SAD and student_long, and the teacher if base.yaml changes with it"
SMALL = str(REPOSITORY / "configs" / "networks" / "small.yaml")


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """Labelled and unlabelled images."""
    folder = tmp_path_factory.mktemp("user")
    write_coco(folder / "labels.json", make_images(folder / "images", 24, seed=1))
    make_images(folder / "more", 5, seed=2)
    return folder


def request(user, output, **changes) -> Request:
    return Request(
        **{
            **{"output": str(output), "labeled": str(user / "labels.json")},
            **{"images": str(user / "images"), "unlabeled": str(user / "more")},
            **{"teacher": "tiny", "student": "tiny", "iterations": 7, **changes},
        }
    )


@pytest.fixture(scope="module")
def planned(user, tmp_path_factory):
    """A folder that was planned, read-only."""
    output = tmp_path_factory.mktemp("planned") / "out"
    make_plan(request(user, output), Paths(str(output)))
    return output


@pytest.fixture
def copied(user, planned, tmp_path):
    """Of the user's files and of the planned folder: tests may change them. Paths differ."""
    shutil.copytree(user, tmp_path / "user")
    output = tmp_path / "out"
    make_plan(request(tmp_path / "user", output), Paths(str(output)))
    return tmp_path / "user", output


def files(folder) -> dict:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_is_written(planned):
    assert {path.name for path in planned.iterdir()} == {
        *(".lock", "configs", "data", "plan.json", "inspection.html", "inspection.json"),
    }
    found = {path.name for path in (planned / "data").iterdir()}
    assert found == {"train.json", "val.json", "test.json", "unlabeled.json"}
    for name in ("teacher", "student", "SAD"):  # all from random weights
        cfg = get_sad_cfg(str(planned / "configs" / f"{name}.yaml"))
        check_config(cfg)
        assert cfg.SOLVER.MAX_ITER == 7
        assert cfg.OUTPUT_DIR == str(planned / "runs" / name)
    assert cfg.SAD.TEACHER.WEIGHTS == str(planned / "runs" / "teacher" / "model_final.pth")
    assert "val" in json.loads((planned / "plan.json").read_text())["notes"][0]


@pytest.mark.parametrize(
    ("can_be_had", "iterations"), [(True, 2), pytest.param(False, 9, marks=pytest.mark.slow)]
)
def test_iterations_by_the_weights_that_the_teacher_starts_from(
    can_be_had, iterations, user, tmp_path, monkeypatch
):
    if not can_be_had:

        def convert(*_):
            raise UserError("no such weights")

        monkeypatch.setattr("sad.pipeline.networks.convert_timm_file", convert)
    wishes = {"teacher": "lite0", "iterations": 9}
    make_plan(request(user, tmp_path, **wishes), Paths(str(tmp_path)))
    found = [get_sad_cfg(str(tmp_path / "configs" / f"{x}.yaml")) for x in ("teacher", "student")]
    assert [cfg.SOLVER.MAX_ITER for cfg in found] == [iterations, 9]
    assert bool(found[0].MODEL.WEIGHTS) == can_be_had


@pytest.mark.slow
def test_configs_of_self_training(user, tmp_path):
    output = tmp_path / "out"
    plan = make_plan(request(user, output, rounds=2), Paths(str(output)))
    assert plan.rounds == 2
    for name, labels in (("teacher_1", "pseudo_labels_1"), ("teacher_2", "pseudo_labels_2")):
        cfg = get_sad_cfg(str(output / "configs" / f"{name}.yaml"))
        check_config(cfg)
        assert not distills(cfg) and cfg.SOLVER.MAX_ITER == 7 * ROUND
        assert cfg.OUTPUT_DIR == str(output / "runs" / name)
        assert cfg.DATASETS.UNLABELED == (labels,)
        assert cfg.DATASETS.REGISTER[labels].JSON == str(output / "data" / f"{labels}.json")
    student = get_sad_cfg(str(output / "configs" / "SAD.yaml"))
    assert student.SAD.TEACHER.WEIGHTS == str(output / "runs" / "teacher_2" / "model_final.pth")
    assert student.SAD.TEACHER.CONFIG_FILE == str(output / "configs" / "teacher_2.yaml")
    assert make_plan(request(user, output, rounds=2), Paths(str(output))) == plan
    with pytest.raises(UserError, match="--rounds changed"):
        make_plan(request(user, output), Paths(str(output)))


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "iterations"), [(0.001, 1), (1, 24), (10, 240)])
def test_iterations_of_some_minutes(minutes, iterations, user, tmp_path, monkeypatch):
    """At least one. Teacher and student take a second for each, and a quarter more."""
    seconds = dict.fromkeys(("teacher", "student", "SAD"), 1.0)
    monkeypatch.setattr("sad.pipeline.plan.seconds_per_iteration", lambda *_: seconds)
    wishes = {"minutes": minutes, "iterations": None, "baseline": False}
    make_plan(request(user, tmp_path, **wishes), Paths(str(tmp_path)))
    found = get_sad_cfg(str(tmp_path / "configs" / "teacher.yaml"))
    assert found.SOLVER.MAX_ITER == iterations


def test_the_same_wishes_find_everything_done(user, planned):
    before = files(planned)
    plan = make_plan(request(user, planned), Paths(str(planned)))
    assert files(planned) == before
    assert plan.unlabeled_root == str(user / "more") and len(plan.notes) == 2


@pytest.mark.slow
def test_images_that_lie_elsewhere_now_are_named(copied):
    """The configs, which are the truth, say where they lay."""
    user, folder = copied
    os.rename(user / "images", user / "photos")
    moved = request(user, folder, images=str(user / "photos"))
    for redo in (False, True):
        with pytest.raises(UserError, match=f"lay in {user}/images .* in {user}/photos now"):
            make_plan(dataclasses.replace(moved, redo=redo), Paths(str(folder)))
    (user / "images").symlink_to(user / "photos")
    make_plan(moved, Paths(str(folder)))


@pytest.mark.slow
def test_test_images_that_are_trained_on_are_noted(user, tmp_path):
    labels = str(user / "labels.json")
    plan = make_plan(request(user, tmp_path / "out", test=labels), Paths(str(tmp_path / "out")))
    assert any("of test are in train as well" in note for note in plan.notes)


def test_what_may_change_from_call_to_call(user, planned, monkeypatch):
    before = files(planned)
    make_plan(request(user, planned, baseline=False, num_gpus=2), Paths(str(planned)))
    monkeypatch.chdir(user)
    relative = {"labeled": "labels.json", "images": "images", "unlabeled": "more"}
    make_plan(request(user, planned, **relative), Paths(str(planned)))
    assert files(planned) == before


@pytest.mark.parametrize(
    ("changes", "named", "again"),
    [
        ({"student": "small"}, "--student", STUDENT),
        ({"teacher": "small"}, "--teacher", "everything"),
        ({"iterations": 8}, "--iterations", "everything"),
        ({"iterations": None}, "--iterations", "everything"),
        ({"flips": False}, "--flips", "everything"),
        ({"size": 96}, "--size", "everything"),
        ({"seed": 3}, "--seed", "everything"),
        ({"seed": 3, "flips": True}, "--seed, --flips", "everything"),
        ({"student": SMALL}, "--student", STUDENT),
    ],
)
def test_other_wishes_are_named(changes, named, again, user, planned):
    before = files(planned)
    with pytest.raises(UserError) as raised:
        make_plan(request(user, planned, **changes), Paths(str(planned)))
    said = str(raised.value)
    assert set(said.partition(" changed")[0].split(", ")) == set(named.split(", "))
    assert f"again: {again}. Give --redo" in said
    assert files(planned) == before


def longer(content: bytes) -> bytes:
    return content + b" "


def relabelled(content: bytes) -> bytes:
    labels = json.loads(content)
    labels["annotations"][3]["bbox"][2] -= 1
    return json.dumps(labels).encode()


STUDENTS = "calibration, label, SAD and student_long"
CHANGES = {
    "labels.json": (relabelled, "the labels of train", "everything"),
    "images/1_003.png": (longer, "the labels of train", "everything"),
    "more/2_003.png": (longer, "the unlabelled images", STUDENTS),
    "more/2_004.png": (None, "the unlabelled images", STUDENTS),  # no longer there
}


@pytest.mark.slow
def test_other_files_are_named_and_touched_ones_are_the_same(copied):
    user, output = copied
    for name, (change, named, again) in CHANGES.items():
        path = user / name
        content = path.read_bytes()
        path.unlink()
        if change:
            path.write_bytes(change(content))
        with pytest.raises(UserError) as raised:
            make_plan(request(user, output), Paths(str(output)))
        assert str(raised.value).startswith(f"{named} changed")
        assert f"again: {again}. Give" in str(raised.value)
        path.write_bytes(content)
        make_plan(request(user, output), Paths(str(output)))


def test_a_faster_rcnn_pair(user, tmp_path):
    output = tmp_path / "out"
    make_plan(request(user, output, detector="FasterRCNN"), Paths(str(output)))
    written = {path.stem for path in (output / "configs").iterdir()}
    assert written == {"base", "teacher", "student", "TAR"}
    for name in ("teacher", "student", "TAR"):
        cfg = get_sad_cfg(str(output / "configs" / f"{name}.yaml"))
        check_config(cfg)
        assert cfg.OUTPUT_DIR == str(output / "runs" / name)
    with pytest.raises(UserError, match="^--student changed .* calibration, TAR and student_long"):
        changed = request(user, output, detector="FasterRCNN", student="small")
        make_plan(changed, Paths(str(output)))
    with pytest.raises(UserError, match="^--detector changed .* again: everything"):
        make_plan(request(user, output), Paths(str(output)))


@pytest.mark.slow
def test_redo_keeps_the_old_configs_aside(copied):
    user, output = copied
    edited = output / "configs" / "student.yaml"
    edited.write_text(edited.read_text() + "SEED: 5  # mine\n")
    make_plan(request(user, output, iterations=9, redo=True), Paths(str(output)))
    assert "# mine" in (output / "old" / "1" / "configs" / "student.yaml").read_text()
    assert (output / "old" / "1" / "data" / "train.json").exists()
    assert get_sad_cfg(str(edited)).SOLVER.MAX_ITER == 9 and "mine" not in edited.read_text()
    plan = json.loads((output / "plan.json").read_text())
    assert plan["wishes"]["--iterations"] == 9
    make_plan(request(user, output, iterations=9), Paths(str(output)))  # nothing to say


@pytest.mark.slow
def test_the_same_wishes_leave_edited_configs(copied):
    user, output = copied
    edited = output / "configs" / "student.yaml"
    edited.write_text(edited.read_text() + "SEED: 5  # mine\n")
    for redo in (False, True):
        make_plan(request(user, output, redo=redo), Paths(str(output)))
        assert "# mine" in edited.read_text()


@pytest.mark.slow
def test_planning_that_was_killed_begins_anew(user, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("sad.pipeline.plan.inspect_data", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_plan(request(user, tmp_path), Paths(str(tmp_path)))
    assert not (tmp_path / "plan.json").exists()
    make_plan(request(user, tmp_path), Paths(str(tmp_path)))
    assert (tmp_path / "plan.json").exists() and not (tmp_path / "old").exists()


def test_mistakes_leave_nothing(user, tmp_path):
    for changes, said in (
        ({"student": "smal"}, "did you mean small"),
        ({"labeled": str(user / "absent.json")}, "absent.json do not exist"),
        ({"unlabeled": str(user / "absent")}, "absent is no folder"),
        ({"unlabeled": str(user / "images")}, "no unlabelled image is left"),
    ):
        with pytest.raises(UserError, match=said):
            make_plan(request(user, tmp_path / "out", **changes), Paths(str(tmp_path / "out")))
        assert not (tmp_path / "out").exists()


@pytest.fixture
def beside(tmp_path):
    """YOLO's txts beside their images."""
    truth = make_images(tmp_path / "ds", 24, seed=1)
    data_yaml = write_yolo(tmp_path / "ds", truth)
    for path in (tmp_path / "ds" / "labels").iterdir():
        path.rename(tmp_path / "ds" / path.name)
    data_yaml.write_text(f"names: {CLASSES}\n")
    return data_yaml


@pytest.mark.parametrize("flag", ["labeled", "data"])
@pytest.mark.parametrize("place", ["ds", "ds/deep/out", "link/out"])
def test_an_output_among_images_that_are_found(flag, place, beside, tmp_path):
    (tmp_path / "link").symlink_to("ds")
    output, before = tmp_path / place, sorted(tmp_path.rglob("*"))
    wishes = Request(**{flag: str(beside)}, output=str(output), teacher="tiny", iterations=7)
    wishes.check()
    with pytest.raises(UserError, match=f"--output {output} lies in {beside.parent}"):
        make_plan(wishes, Paths(str(output)))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_an_output_beside_labels_whose_images_lie_below(tmp_path):
    truth = make_images(tmp_path / "ds" / "images", 24, seed=1)
    wishes = {"teacher": "tiny", "student": "tiny", "iterations": 7}
    for name, labels in (
        ("yolo", write_yolo(tmp_path / "ds", truth)),
        ("coco", write_coco(tmp_path / "labels.json", {f"ds/images/{x}": truth[x] for x in truth})),
    ):
        output = labels.parent / f"of_{name}"
        asked = Request(labeled=str(labels), output=str(output), **wishes)
        make_plan(asked, Paths(str(output)))
        assert (output / "plan.json").exists()
        shutil.copy(tmp_path / "ds" / "images" / min(truth), output / "report.png")
        make_plan(asked, Paths(str(output)))  # nothing has changed


# --- a teacher that is there already ----------------------------------------------------------


def save_teacher(planned, path, names=CLASSES):
    cfg = get_sad_cfg(str(planned / "configs" / "teacher.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    torch.save({"model": build_detector(cfg).state_dict(), "class_names": names}, path)


@pytest.mark.slow
def test_a_student_follows_a_teacher_that_is_there(user, planned, tmp_path):
    weights, config = tmp_path / "best.pth", str(planned / "configs" / "teacher.yaml")
    save_teacher(planned, weights, CLASSES[::-1])
    output = tmp_path / "out"
    wishes = {"teacher": config, "teacher_weights": str(weights), "student": "small"}
    make_plan(request(user, output, **wishes), Paths(str(output)))
    theirs = get_sad_cfg(config)
    for name in ("teacher", "student", "SAD"):
        cfg = get_sad_cfg(str(output / "configs" / f"{name}.yaml"))
        check_config(cfg)
        assert cfg.MODEL.ANCHOR_GENERATOR.SIZES == theirs.MODEL.ANCHOR_GENERATOR.SIZES
        assert tuple(cfg.DATASETS.TRAIN) == ("train",)
    assert cfg.SAD.TEACHER.WEIGHTS == str(weights)
    # Its classes are followed, too.
    categories = json.loads((output / "data" / "train.json").read_text())["categories"]
    assert [x["name"] for x in categories] == CLASSES[::-1]

    save_teacher(planned, weights, CLASSES[::-1])  # others, under the same name
    with pytest.raises(UserError, match="^--teacher-weights changed .* again: everything"):
        make_plan(request(user, output, **wishes), Paths(str(output)))


@pytest.mark.slow
def test_a_network_whose_yaml_changed(user, tmp_path):
    yaml = tmp_path / "mine.yaml"
    yaml.write_text(f"_BASE_: {REPOSITORY}/configs/networks/small.yaml\n")
    output = tmp_path / "out"
    wishes = dataclasses.replace(request(user, output), student=str(yaml))
    make_plan(wishes, Paths(str(output)))
    yaml.write_text(f"# the same\n_BASE_: {REPOSITORY}/configs/networks/small.yaml\n")
    make_plan(wishes, Paths(str(output)))
    yaml.write_text(f"_BASE_: {REPOSITORY}/configs/networks/tiny.yaml\n")
    with pytest.raises(UserError, match="^--student changed"):
        make_plan(wishes, Paths(str(output)))
