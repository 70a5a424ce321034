"""What a card says of a detector."""

import pytest

from exported_files import tame_teacher
from sad.exported.card import Card, digest
from sad.exported.describe import describe
from sad.utils.errors import UserError


def test_the_card_says_what_the_config_does(toy):
    model, cfg = tame_teacher(toy, opts=["TEST.DETECTIONS_PER_IMAGE", 7, "SEED", 5])
    card = describe(model, cfg, threshold=0.4, metrics={"AP": 1.5}, licence="MIT")
    assert card.detector == "RetinaNet"
    assert card.class_names == ["light", "dark"]
    assert (card.min_size, card.max_size) == (64, 96)
    assert card.pixel_mean == cfg.MODEL.PIXEL_MEAN and card.channel_order == "BGR"
    assert (card.detections, card.seed, card.size_divisibility) == (7, 5, 32)
    assert card.data == ["toy_labeled"]
    assert card.config_digest == digest(card.config)
    assert Card.read(card.text()) == card


def test_no_file_of_the_machine_is_named(toy):
    model, cfg = tame_teacher(toy)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SAD.TEACHER.CONFIG_FILE = cfg.OUTPUT_DIR = toy.path("secret")
    assert toy.path("") not in describe(model, cfg).config


def test_without_names_or_in_grey_there_is_no_card(toy):
    model, cfg = tame_teacher(toy)
    grey = cfg.clone()
    grey.defrost()
    grey.INPUT.FORMAT = "L"
    with pytest.raises(UserError, match="INPUT.FORMAT is L"):
        describe(model, grey)
    model.class_names = None
    with pytest.raises(UserError, match="do not name their classes"):
        describe(model, cfg)
