"""What is suspicious in data sets, as sentences that say what to do."""

from typing import NamedTuple


class Finding(NamedTuple):
    what: str  # a name that does not change, for programs
    level: str  # "warning", "info" or "good"
    text: str
    where: list[str] = []


def number(count: int, noun: str) -> str:
    """`1 box` or `1,200 boxes`."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun}{'es' if noun.endswith(('x', 's')) else 's'}"


def verb(count: int, one="is", many="are") -> str:
    return one if count == 1 else many
