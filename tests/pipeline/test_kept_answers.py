"""When a teacher's answers are worth keeping, and what is then written."""

import itertools

import pytest
import torch

from sad.config.load import get_sad_cfg
from sad.data.sampler import MixedBatchSampler
from sad.modeling.build import build_detector
from sad.modeling.teacher import teacher_outputs
from sad.pipeline.kept_answers import VIEW_EPOCHS, KeptAnswers, num_anchors


@pytest.fixture
def config(toy, tmp_path):
    """A function: a student.yaml with other values."""

    def write(name="student.yaml", **keys):
        lines = "".join(f"{key}: {value}\n" for key, value in keys.items())
        path = tmp_path / "student.yaml"
        path.write_text(f"_BASE_: {toy.path(name)}\n{lines}")
        return str(path)

    return write


def test_of_a_few_views_each_is_asked_for_once(config):
    path = config(INPUT="{MIN_SIZE_TRAIN: [64], RANDOM_FLIP: horizontal}")
    batch = get_sad_cfg(path).SOLVER.IMS_PER_BATCH
    answers = KeptAnswers.of(path, 20 * batch, 30 * batch, 0)
    assert answers.share_asked(400) == 0.25
    (folder,) = answers.settings(400, "here")
    assert (folder.key, folder.value) == ("SAD.TEACHER.CACHE.DIR", "here") and folder.why
    assert answers.settings(120, "here") == [] and answers.share_asked(120) == 1  # for too many
    unmirrored = KeptAnswers.of(
        config(INPUT="{MIN_SIZE_TRAIN: [64], RANDOM_FLIP: none}"), 20 * batch, 30 * batch, 0
    )
    assert unmirrored.share_asked(400) == 0.125 and unmirrored.size == answers.size


@pytest.mark.parametrize(
    ("given", "views"),
    [
        ("{MIN_SIZE_TRAIN: [48, 64, 48], MIN_SIZE_TRAIN_SAMPLING: choice}", 4),
        ("{MIN_SIZE_TRAIN: [64], MIN_SIZE_TRAIN_SAMPLING: range, RANDOM_FLIP: none}", 1),
        ("{MIN_SIZE_TRAIN: [48, 64], MIN_SIZE_TRAIN_SAMPLING: range}", 0),
        ("{CROP: {ENABLED: true}}", 0),
    ],
)
def test_each_size_is_a_view_of_its_own(config, given, views):
    given = given.replace("{", "{RANDOM_FLIP: horizontal, ", 1) if "FLIP" not in given else given
    assert KeptAnswers.of(config(INPUT=given), 10, 10, 0).views == views


def test_boxes_take_room_too(config):
    without, boxes = (
        KeptAnswers.of(config("SAD.yaml", SAD=f"{{DISTILL: {{TERMS: {terms}}}}}"), 10, 10, 0).size
        for terms in ("[class]", "[class, box]")
    )
    classes = get_sad_cfg(config()).MODEL.RETINANET.NUM_CLASSES
    assert boxes / without == (classes + 4) / classes


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "iterations", "share"),
    [
        (10, 0, 1000, 1 / VIEW_EPOCHS),
        (10, 30, 1000, 1 / VIEW_EPOCHS),
        (10, 990, 2000, (1 / VIEW_EPOCHS + 1000 / 2000) / 2),
        # The unlabelled images are seen less than once, the labelled ones often: too little is won.
        (10, 10**6, 1000, 1),
        (10**6, 10**6, 1000, 1),
    ],
)
def test_of_random_crops_each_is_seen_in_some_epochs(config, labeled, unlabeled, iterations, share):
    path = config(INPUT="{CROP: {ENABLED: true}}")
    answers = KeptAnswers.of(path, labeled, unlabeled, 0)
    assert answers.share_asked(iterations) == share
    keys = ["SAD.TEACHER.CACHE.DIR", "SAD.LOADER.VIEW_EPOCHS"] if share < 1 else []
    found = answers.settings(iterations, "here")
    assert [x.key for x in found] == keys and all(x.why for x in found)


def test_the_estimated_number_of_views_is_that_of_the_sampler(config):
    """Of epochs that are not whole the estimate is a little too low."""
    answers = KeptAnswers.of(config(INPUT="{CROP: {ENABLED: true}}"), 40, 200, 0)
    sampler = MixedBatchSampler(40, 200, answers.batch, view_epochs=VIEW_EPOCHS)
    batches = list(itertools.islice(sampler, 1500))
    views = {key.augmentation_seed for batch in batches for key in batch}
    share = len(views) / sum(map(len, batches))
    assert answers.share_asked(1500) <= share < 1.3 * answers.share_asked(1500)


@pytest.mark.parametrize("why", ["a GPU", "too much disk", "two stages", "feature maps"])
def test_they_are_not_kept(config, why):
    path = config("rcnn_student.yaml" if why == "two stages" else "student.yaml")
    if why == "feature maps":
        terms = "{TERMS: [class, feature], FEATURE: {MASK: box}}"
        path = config("SAD.yaml", SAD=f"{{DISTILL: {terms}}}")
    many = 10**9 if why == "too much disk" else 10
    answers = KeptAnswers.of(path, many, many, why == "a GPU")
    assert answers.settings(10**12, "here") == [] and answers.share_asked(10**12) == 1


@pytest.mark.parametrize("architecture", ["RetinaNet", "FCOS"])
def test_the_number_of_anchors_is_that_of_the_logits(toy, architecture):
    anchors = ("MODEL.ANCHOR_GENERATOR.SIZES", "[[8]]") if architecture == "FCOS" else ()
    ratios = ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "[[1.0]]") if architecture == "FCOS" else ()
    cfg = toy.cfg("student.yaml", "MODEL.META_ARCHITECTURE", architecture, *anchors, *ratios)
    model = build_detector(cfg)
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    found = teacher_outputs(model.eval(), [image], "BGR", {"logits"})
    assert num_anchors(model, 64) == sum(level.shape[1] for level in found.logits)
