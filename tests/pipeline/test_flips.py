"""Which class names leave a mirror image right."""

import pytest

from sad.config.load import get_sad_cfg
from sad.pipeline.flips import may_flip
from toy import REPOSITORY


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["cat", "dog"],
        ["bright light", "copyright", "leftover", "fright_mask", "rightful", "upright"],
        ["speed limit 30", "10", "A4"],
        ["猫", "车", "개"],  # whole words of one character
        ["cat", ""],
    ],
)
def test_names_that_say_nothing_of_sides(names):
    allowed, reason = may_flip(names)
    assert allowed and reason


@pytest.mark.parametrize(
    "name",
    [
        *("0", "7", "a", "Z", " b ", "é", "я", "א", "あ", "²"),
        *("left", "turn left", "left_hand", "hand-right", "LeftArrow", "turnRight", "LEFTArrow"),
        *("TURN_LEFT", "no right turn", "arrow.left2", "right", "Left"),
        *(
            "Pfeil links",
            "nach rechts",
            "mano izquierda",
            "giro derecho",
            "à droite",
            "左转",
            "右手",
        ),
    ],
)
def test_names_that_a_mirror_makes_wrong(name):
    allowed, reason = may_flip(["cat", name, "dog"])
    assert not allowed and repr(name) in reason


def test_it_agrees_with_the_configs_of_this_repository():
    for folder, names in (("digits", list("0123456789")), ("bccd", ["Platelets", "RBC", "WBC"])):
        cfg = get_sad_cfg(str(REPOSITORY / "configs" / folder / "Base.yaml"))
        assert may_flip(names)[0] == (cfg.INPUT.RANDOM_FLIP == "horizontal")
