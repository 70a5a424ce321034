"""Categories and classes that are matched by name."""

from operator import itemgetter

from ..utils.errors import UserError
from .coco_items import short


def order_of(names: list[str], wanted: list[str], where: str, source: str) -> list[int]:
    """For each of the names its number in the wanted order.

    Args:
        where, source: whose names these are, for the sentence.
    Raises:
        UserError: they are other names; the first pair that differs is named.
    """
    if names == wanted:
        return list(range(len(names)))
    numbers = {name: number for number, name in enumerate(wanted)}
    if sorted(names) != sorted(wanted):
        missing = next((name for name in wanted if name not in names), None)
        foreign = next((name for name in names if name not in numbers), None)
        if missing is not None and foreign is not None:
            differ = f"the first of them {short(missing)} and {short(foreign)}"
        else:
            alone = next((name for name in (missing, foreign) if name is not None), names[0])
            differ = f"{len(wanted)} and {len(names)}, {short(alone)} is not in both as often"
        raise UserError(f"{source} and {where} have other classes, {differ}")
    if len(numbers) < len(names):
        raise UserError(
            f"{where} gives one name to several categories, and in another order than {source}: "
            "classes are matched by name"
        )
    return [numbers[name] for name in names]


def in_order(categories: list[dict], names: list[str], where: str) -> list[dict]:
    """The categories in the order of the teacher's classes, by name.

    Raises:
        UserError: they have other names.
    """
    own_names = [category["name"] for category in categories]
    numbers = order_of(own_names, names, where, "the teacher")
    return [
        category for _, category in sorted(zip(numbers, categories, strict=True), key=itemgetter(0))
    ]
