"""Whether a mirror image may stand for another image of the same classes."""

import re
import unicodedata

SIDES = {
    *("left", "right", "links", "rechts", "gauche", "droit", "droite"),
    *("izquierda", "izquierdo", "derecha", "derecho"),
}
SIDE_CHARACTERS = set("左右")  # Chinese and Japanese put no spaces between words
WORDS = ("CJK ", "HANGUL ")  # scripts in which one character may be the whole word "dog"


def may_flip(class_names: list[str]) -> tuple[bool, str]:
    """Whether the names of the classes leave horizontal flips (INPUT.RANDOM_FLIP) right.

    Returns:
        (whether, why): False where a class is one digit or letter, or has left or right in its
        name; the reason names the first such class.
    """
    for name in class_names:
        if _is_sign(name.strip()):
            return False, f"class {name!r} is one character, and a mirrored one is another or none"
        if _names_a_side(name):
            return False, f"class {name!r} names a side, and a mirror image shows the other one"
    return True, "no class is one character or names a side"


def _is_sign(name: str) -> bool:
    return len(name) == 1 and name.isalnum() and not unicodedata.name(name, "").startswith(WORDS)


def _names_a_side(name: str) -> bool:
    # "turnLeft" and "LEFTArrow" are two words each.
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = {word.lower() for word in re.findall(r"[^\W\d_]+", spaced)}
    return bool(words & SIDES or SIDE_CHARACTERS & set(name))
