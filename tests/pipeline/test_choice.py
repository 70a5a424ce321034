"""Networks and settings for the data at hand."""

import os

import pytest
import torch

from sad.config.load import get_sad_cfg
from sad.modeling.build import build_detector
from sad.pipeline.choice import choose, contents, find_networks
from sad.pipeline.data import read_data
from sad.pipeline.request import Request
from sad.utils.errors import UserError
from toy import REPOSITORY
from users_data import CLASSES, make_images, write_coco


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choice")
    labels = write_coco(folder / "labels.json", make_images(folder / "images", 9, seed=1))
    return read_data(labeled=str(labels), images=str(folder / "images"))


def request(**wishes) -> Request:
    return Request(**{"output": "out", "labeled": "a.json", "teacher": "small", **wishes})


def values(settings) -> dict:
    return {setting.key: setting.value for setting in settings}


def test_networks_by_name():
    networks, teacher = find_networks(request(student="tiny"))
    assert [network.name for network in networks] == ["small", "tiny"] and teacher is None
    assert contents(networks, teacher) == {}  # their names say it


def test_settings_follow_data_and_wishes(data):
    wishes = request(seed=4)
    chosen = choose(wishes, data, *find_networks(wishes))
    found = values(chosen.settings)
    assert found["MODEL.RETINANET.NUM_CLASSES"] == 2 and found["SEED"] == 4
    assert found["INPUT.MAX_SIZE_TRAIN"] == 64 and found["INPUT.RANDOM_FLIP"] == "horizontal"
    assert found["SOLVER.ACCUMULATION_STEPS"] == 1
    assert chosen.facts.num_labeled == 9 and not data.notes
    wishes = request(flips=False)
    assert values(choose(wishes, data, *find_networks(wishes)).settings)["INPUT.RANDOM_FLIP"] == (
        "none"
    )


def test_a_teacher_that_is_there(data, toy, tmp_path):
    config = toy.path("teacher.yaml")
    weights = tmp_path / "t.pth"
    model = build_detector(get_sad_cfg(config, ["MODEL.DEVICE", "cpu"]))
    torch.save({"model": model.state_dict(), "class_names": CLASSES}, weights)
    wishes = request(teacher=config, teacher_weights=str(weights))
    networks, teacher = find_networks(wishes)
    near = request(teacher=os.path.relpath(config), teacher_weights=str(weights))
    assert find_networks(near)[1].config == teacher.config == config
    assert [network.name for network in networks] == ["tiny"]
    assert teacher.model.class_names == CLASSES and teacher.weights == str(weights)
    found = values(choose(wishes, data, networks, teacher).settings)
    theirs = get_sad_cfg(config)
    assert found["MODEL.ANCHOR_GENERATOR.SIZES"] == theirs.MODEL.ANCHOR_GENERATOR.SIZES
    before = contents(networks, teacher)
    assert before.keys() == {"--teacher", "--teacher-weights"}
    torch.save({"model": model.state_dict(), "class_names": CLASSES, "more": 1}, weights)
    after = contents(*find_networks(wishes))
    assert after["--teacher"] == before["--teacher"]
    assert after["--teacher-weights"] != before["--teacher-weights"]


def test_a_teacher_that_names_no_classes(toy, tmp_path):
    model = build_detector(get_sad_cfg(toy.path("teacher.yaml"), ["MODEL.DEVICE", "cpu"]))
    torch.save({"model": model.state_dict()}, tmp_path / "t.pth")
    wishes = request(teacher=toy.path("teacher.yaml"), teacher_weights=str(tmp_path / "t.pth"))
    with pytest.raises(UserError, match="SAD.TEACHER.CLASS_NAMES"):
        find_networks(wishes)


def test_a_faster_rcnn_that_is_there_needs_no_flag(data, toy, tmp_path):
    config, weights = toy.path("rcnn_teacher.yaml"), tmp_path / "t.pth"
    model = build_detector(get_sad_cfg(config, ["MODEL.DEVICE", "cpu"]))
    torch.save({"model": model.state_dict(), "class_names": CLASSES}, weights)
    given = {"teacher": config, "teacher_weights": str(weights)}
    for detector in (None, "FasterRCNN"):
        wishes = request(**given, detector=detector)
        networks, teacher = find_networks(wishes)
        found = values(choose(wishes, data, networks, teacher).settings)
        assert found["MODEL.META_ARCHITECTURE"] == "GeneralizedRCNN"
        assert found["MODEL.RPN.IN_FEATURES"] == get_sad_cfg(config).MODEL.RPN.IN_FEATURES
    with pytest.raises(UserError, match="rcnn_teacher.yaml describes a GeneralizedRCNN"):
        find_networks(request(**given, detector="RetinaNet"))
    with pytest.raises(UserError, match="student.yaml describes a RetinaNet"):
        find_networks(request(**given, student=toy.path("student.yaml")))


def test_a_faster_rcnn_by_its_name(data):
    wishes = request(detector="FasterRCNN")
    chosen = choose(wishes, data, *find_networks(wishes))
    found = values(chosen.settings)
    assert found["MODEL.META_ARCHITECTURE"] == "GeneralizedRCNN"
    assert found["MODEL.ROI_HEADS.NUM_CLASSES"] == 2
    with pytest.raises(UserError, match="--detector is 'YOLO'"):
        find_networks(request(detector="YOLO"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MODEL: {RESNETS: {RES2_OUT_CHANNELS: -8}}", "mine.yaml: no network can be built"),
        (
            "MODEL: {PIXEL_MEAN: [100.0], PIXEL_STD: [50.0]}\nINPUT: {FORMAT: L}",
            "reads BGR images and the student L",
        ),
    ],
)
def test_students_that_do_not_work(text, said, data, tmp_path):
    base = f"_BASE_: {REPOSITORY}/configs/networks/small.yaml\n"
    (tmp_path / "mine.yaml").write_text(base + text)
    wishes = request(student=str(tmp_path / "mine.yaml"))
    with pytest.raises(UserError, match=said):
        choose(wishes, data, *find_networks(wishes))


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ("tiny", "timm:resnet10t"),
        ("R50", "small"),
        pytest.param("lite0", "R18", marks=pytest.mark.slow),
    ],
)
def test_all_networks_make_pairs(teacher, student, data):
    wishes = request(teacher=teacher, student=student)
    found = values(choose(wishes, data, *find_networks(wishes)).settings)
    levels = len(found["MODEL.RETINANET.IN_FEATURES"])
    assert levels == len(found["MODEL.ANCHOR_GENERATOR.SIZES"]) == (5 if teacher == "R50" else 3)
