"""When a teacher's answers are worth keeping, and what is then written."""

import pytest
import torch

from sad.config.load import get_sad_cfg
from sad.modeling.build import build_detector
from sad.modeling.teacher import teacher_outputs
from sad.pipeline.kept_answers import LEAST_SEEN, KeptAnswers, num_scores


@pytest.fixture
def config(toy, tmp_path):
    """A function: a student.yaml with other values."""

    def write(name="student.yaml", **keys):
        lines = "".join(f"{key}: {value}\n" for key, value in keys.items())
        path = tmp_path / "student.yaml"
        path.write_text(f"_BASE_: {toy.path(name)}\n{lines}")
        return str(path)

    return write


def test_they_are_kept_where_views_come_again(config):
    path = config(INPUT="{RANDOM_FLIP: horizontal}")
    batch = get_sad_cfg(path).SOLVER.IMS_PER_BATCH
    answers = KeptAnswers.of(path, 50 * batch, 0)
    assert answers.seen(400) == 4 and answers.share_asked(400) == 0.25
    folder, crop = answers.settings(400, "here")
    assert (folder.key, folder.value) == ("SAD.TEACHER.CACHE.DIR", "here") and folder.why
    assert (crop.key, crop.value) == ("INPUT.CROP.ENABLED", False) and crop.why
    few = 100 * LEAST_SEEN - 1
    assert answers.settings(few, "here") == [] and answers.share_asked(few) == 1
    unmirrored = KeptAnswers.of(config(INPUT="{RANDOM_FLIP: none}"), 50 * batch, 0)
    assert unmirrored.seen(400) == 8 and unmirrored.size == answers.size / 2


@pytest.mark.parametrize("why", ["a GPU", "too much disk", "two stages"])
def test_they_are_not_kept(config, why):
    path = config("rcnn_student.yaml" if why == "two stages" else "student.yaml")
    answers = KeptAnswers.of(path, 10**9 if why == "too much disk" else 10, why == "a GPU")
    assert answers.settings(10**12, "here") == [] and answers.share_asked(10**12) == 1


@pytest.mark.parametrize("architecture", ["RetinaNet", "FCOS"])
def test_the_number_of_scores_is_that_of_the_logits(toy, architecture):
    anchors = ("MODEL.ANCHOR_GENERATOR.SIZES", "[[8]]") if architecture == "FCOS" else ()
    ratios = ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "[[1.0]]") if architecture == "FCOS" else ()
    cfg = toy.cfg("student.yaml", "MODEL.META_ARCHITECTURE", architecture, *anchors, *ratios)
    model = build_detector(cfg)
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    found = teacher_outputs(model.eval(), [image], "BGR", {"logits"})
    assert num_scores(model, 64) == sum(level.numel() for level in found.logits)
