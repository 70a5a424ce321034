"""Settings from facts: size, levels, anchors, memory, length."""

from dataclasses import replace

import pytest

from sad.config.load import get_sad_cfg
from sad.modeling.build import build_detector
from sad.pipeline.detectors import FASTER_RCNN
from sad.pipeline.facts import Machine
from sad.pipeline.networks import find_network
from sad.pipeline.settings import (
    accumulation,
    as_cfg,
    base_settings,
    choose_size,
    followed_settings,
    student_iterations,
    teacher_iterations,
)
from sad.pipeline.yaml_text import Setting, as_settings
from square_facts import facts
from toy import REPOSITORY

CPU, GPU = Machine(0, 2, 8 * 10**9), Machine(4, 16, 80 * 10**9, 4)
TINY, TINY_RCNN = find_network("tiny"), find_network("tiny", FASTER_RCNN)


def values(settings) -> dict:
    return {setting.key: setting.value for setting in settings}


@pytest.mark.parametrize(
    ("side", "box", "machine", "size"),
    [
        (640, 100, CPU, 320),  # brought to what a CPU trains in time
        (200, 50, CPU, 224),  # small images are not enlarged, but for multiples of 32
        (640, 10, CPU, 512),  # 10 pixels become 8 there
        (4000, 10, CPU, 640),  # more than that is not allowed
        (4000, 400, GPU, 1344),
        (640, 100, GPU, 640),
    ],
)
def test_size(side, box, machine, size):
    chosen = choose_size(facts(side, box), machine)
    assert (chosen.key, chosen.value) == ("INPUT.MAX_SIZE_TRAIN", size)
    assert chosen.why


def test_a_size_that_is_given():
    settings = values(base_settings(facts(640, 100), CPU, [TINY], flips=(True, ""), size=480))
    assert settings["INPUT.MAX_SIZE_TRAIN"] == settings["INPUT.MAX_SIZE_TEST"] == 480
    assert settings["INPUT.MIN_SIZE_TRAIN"] == [settings["INPUT.MIN_SIZE_TEST"]] == [480]
    assert max(settings["MODEL.ANCHOR_GENERATOR.SIZES"][-1]) > 480 / 640 * 100 / 1.6


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 320, None])
def test_images_grow_where_no_anchor_fits_unless_their_size_is_given(size):
    settings = base_settings(facts(box=3), CPU, [TINY], flips=(True, ""), size=size)
    sizes = [x.value for x in settings if x.key == "INPUT.MAX_SIZE_TRAIN"]
    assert sizes[-1] == size if size else 640 < sizes[-1] <= 1280


@pytest.mark.parametrize("box", [8, 40, 100, 300])
def test_anchors_fit_whatever_the_boxes(box):
    settings = base_settings(facts(box=box), CPU, [TINY, TINY], flips=(True, ""))
    why = next(x.why for x in settings if x.key == "MODEL.ANCHOR_GENERATOR.SIZES")
    assert float(why.removeprefix("for ").partition("%")[0]) >= 90
    found = values(settings)
    sizes = found["MODEL.ANCHOR_GENERATOR.SIZES"]
    assert len(sizes) == len(found["MODEL.RETINANET.IN_FEATURES"])
    seen = box * found["INPUT.MAX_SIZE_TRAIN"] / 640
    assert min(map(min, sizes)) < 1.6 * seen and max(map(max, sizes)) > seen / 1.6


@pytest.mark.parametrize(("box", "times"), [(40, 2), (200, 4)])
def test_anchors_lie_as_densely_as_the_boxes_allow(box, times):
    """A box of 100 pixels overlaps more with an anchor on a map of stride 16 than on one of 32."""
    found = values(base_settings(facts(box=box), CPU, [TINY, TINY], flips=(True, "")))
    assert found["MODEL.ANCHOR_GENERATOR.SIZES"][0][0] == pytest.approx(8 * times)


@pytest.mark.slow
@pytest.mark.parametrize("box", [6, 40, 100, 300])
def test_a_faster_rcnn_has_one_size_of_anchors_on_each_map(box):
    settings = base_settings(facts(box=box), CPU, [TINY_RCNN, TINY_RCNN], flips=(True, ""))
    why = next(x.why for x in settings if x.key == "MODEL.ANCHOR_GENERATOR.SIZES")
    assert float(why.removeprefix("for ").partition("%")[0]) >= 90
    found = values(settings)
    sizes = found["MODEL.ANCHOR_GENERATOR.SIZES"]
    assert list(map(len, sizes)) == [1] * len(found["MODEL.RPN.IN_FEATURES"])
    seen = box * found["INPUT.MAX_SIZE_TRAIN"] / 640
    assert min(max(seen / size, size / seen) for (size,) in sizes) < 1.6


def test_what_the_data_decides_of_a_faster_rcnn():
    settings = values(base_settings(facts(), CPU, [TINY_RCNN], flips=(True, "")))
    assert settings["MODEL.META_ARCHITECTURE"] == "GeneralizedRCNN"
    assert settings["MODEL.ROI_HEADS.NUM_CLASSES"] == 2
    assert settings["MODEL.ROI_HEADS.SCORE_THRESH_TEST"] == 0.001
    assert not [key for key in settings if key.startswith("MODEL.RETINANET")]
    assert accumulation(as_settings_of(settings), TINY_RCNN, CPU).value == 1
    assert accumulation(as_settings_of(settings), TINY_RCNN, Machine(0, 2, 10)).value == 8


def as_settings_of(found: dict) -> list[Setting]:
    return [Setting(key, value) for key, value in found.items()]


@pytest.mark.slow
def test_long_boxes_get_other_aspect_ratios():
    boxes = facts().boxes.clone()
    boxes[:, 3] = boxes[:, 1] + 12.0  # 100 x 12
    settings = values(base_settings(facts(boxes=boxes), CPU, [TINY], flips=(True, "")))
    (ratios,) = settings["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"]
    assert min(ratios) < 0.2


def test_what_else_the_data_decides():
    settings = values(base_settings(facts(), CPU, [TINY], flips=(False, "left")))
    assert settings["MODEL.RETINANET.NUM_CLASSES"] == 2
    assert settings["INPUT.RANDOM_FLIP"] == "none"
    assert settings["DATALOADER.FILTER_EMPTY_ANNOTATIONS"] is True
    assert settings["DATALOADER.NUM_WORKERS"] == 0 and settings["SOLVER.IMS_PER_BATCH"] == 8
    assert settings["MODEL.RETINANET.SCORE_THRESH_TEST"] == 0.001
    settings = values(base_settings(facts(num_negative=3), GPU, [TINY], flips=(True, "")))
    assert settings["DATALOADER.FILTER_EMPTY_ANNOTATIONS"] is False
    assert settings["DATALOADER.NUM_WORKERS"] == 4 and settings["SOLVER.IMS_PER_BATCH"] == 32


@pytest.mark.parametrize(("most", "kept"), [(5, None), (50, None), (51, 200), (300, 600)])
def test_as_many_detections_as_crowded_images_want(most, kept):
    """Twice the objects at least, and Detectron2's 100 otherwise."""
    found = values(base_settings(facts(most_boxes=most), CPU, [TINY], flips=(True, "")))
    assert found.get("TEST.DETECTIONS_PER_IMAGE") == kept


@pytest.mark.parametrize(("ranks", "batch"), [(1, 8), (2, 8), (3, 9), (16, 16)])
def test_ranks_share_a_step_equally(ranks, batch):
    machine = CPU._replace(ranks=ranks)
    settings = base_settings(facts(), machine, [TINY], flips=(True, ""))
    assert values(settings)["SOLVER.IMS_PER_BATCH"] == batch
    for memory in (8 * 10**9, 10):
        steps = accumulation(settings, TINY, machine._replace(memory=memory)).value
        assert batch % (ranks * steps) == 0
    assert steps == batch // ranks


def test_a_network_of_grey_images():
    grey = [Setting("INPUT.FORMAT", "L"), Setting("MODEL.PIXEL_MEAN", [100.0])]
    grey.append(Setting("MODEL.PIXEL_STD", [50.0]))
    settings = base_settings(facts(), CPU, [TINY], flips=(True, ""))
    network = replace(TINY, keys={**TINY.keys, **values(grey)})
    assert accumulation(settings, network, CPU).value == 1


@pytest.mark.parametrize(
    ("count", "machine", "iterations"),
    [(20, CPU, 600), (268, CPU, 1000), (500, CPU, 1880), (500, GPU, 600), (10**7, GPU, 90_000)],
)
def test_iterations(count, machine, iterations):
    """What starts from random weights is trained for longer, be it student or teacher."""
    of_student, _ = student_iterations(facts(count=count), machine)
    assert of_student == 4.5 * iterations
    assert teacher_iterations(of_student, is_pretrained=True)[0] == iterations
    assert teacher_iterations(of_student, is_pretrained=False)[0] == of_student
    assert teacher_iterations(1, is_pretrained=True)[0] == 1


def test_a_large_step_is_split():
    settings = base_settings(facts(), CPU, [TINY], flips=(True, ""))
    plenty = accumulation(settings, TINY, CPU)
    assert plenty.value == 1
    needed = float(plenty.why.partition("about ")[2].partition(" GB")[0])
    short = Machine(0, 2, int(needed * 1e9 / 2))
    assert accumulation(settings, TINY, short).value == 4
    assert accumulation(settings, TINY, Machine(0, 2, 10)).value == 8  # a single image at a time


def test_a_student_follows_its_teacher():
    teacher = get_sad_cfg(
        str(REPOSITORY / "configs" / "digits" / "teacher.yaml"),
        ["INPUT.MIN_SIZE_TRAIN", "(96, 160)", "INPUT.MIN_SIZE_TRAIN_SAMPLING", "range"],
    )
    settings = values(followed_settings(teacher, facts(), CPU, flips=(False, "")))
    assert settings["INPUT.MIN_SIZE_TRAIN_SAMPLING"] == "range"
    for key in ("MODEL.ANCHOR_GENERATOR.SIZES", "INPUT.MAX_SIZE_TRAIN"):
        node = teacher
        for part in key.split("."):
            node = node[part]
        assert settings[key] == node
    assert settings["MODEL.FPN.LAST_LEVEL"] == 5
    assert settings["MODEL.META_ARCHITECTURE"] == "RetinaNet"
    assert settings["MODEL.RETINANET.NUM_CLASSES"] == 10


@pytest.mark.parametrize("student", ["tiny", "R50"])
def test_a_student_follows_a_faster_rcnn(student):
    yaml = REPOSITORY / "configs" / "digits" / "FasterRCNN" / "teacher.yaml"
    teacher = get_sad_cfg(str(yaml), ["MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True])
    settings = followed_settings(teacher, facts(), CPU, flips=(False, ""))
    network = find_network(student, FASTER_RCNN)
    on_meta = Setting("MODEL.DEVICE", "meta")
    model = build_detector(as_cfg([*settings, *as_settings(network.keys), on_meta]))
    assert model.roi_heads.num_classes == 10 and model.roi_heads.box_predictor.use_sigmoid_ce
    assert model.proposal_generator.in_features == list(teacher.MODEL.RPN.IN_FEATURES)
    assert values(settings)["MODEL.ANCHOR_GENERATOR.SIZES"] == teacher.MODEL.ANCHOR_GENERATOR.SIZES
