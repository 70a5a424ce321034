"""Images that cannot be read, that are there twice, or in sets that should have none in common."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from .examine import UNLABELED, Inspection
from .findings import Finding, number, verb

OTHER_SIZE = 2.0  # ratio of the sides from which on images are of another size


def image_findings(seen: Inspection) -> Iterator[Finding]:
    yield from _unreadable(seen)
    yield from _leaks(seen)
    yield from _labeled_among_unlabeled(seen)
    yield from _alike_in_one_set(seen)
    yield from _unlabeled(seen)


def _unreadable(seen: Inspection) -> Iterator[Finding]:
    bad = [
        f"{place} ({look.problem})"
        for place, look in zip(seen.places, seen.looks, strict=True)
        if look.problem
    ]
    if bad:
        yield Finding(
            "unreadable",
            "warning",
            f"{number(len(bad), 'image')} cannot be used: save them anew or take them out.",
            bad,
        )


def _leaks(seen: Inspection) -> Iterator[Finding]:
    for first, second in combinations([one.name for one in seen.sets], 2):
        groups = _groups_across(seen, {first}, second)
        if count := sum(seen.set_of[at] == second for group in groups for at in group):
            yield Finding(
                "leak",
                "warning",
                f"{number(count, 'image')} of {second} {verb(count)} in {first} as well, identical "
                "or nearly so. What is measured on them says nothing of new images: take such "
                "images out of one of the two.",
                [_line(seen, group) for group in groups],
            )


def _labeled_among_unlabeled(seen: Inspection) -> Iterator[Finding]:
    groups = _groups_across(seen, {one.name for one in seen.sets}, UNLABELED)
    if count := sum(seen.set_of[at] == UNLABELED for group in groups for at in group):
        many = (
            " So many are found where a camera stands still: --fixed-camera tells that it does."
            if 2 * count > len(seen.unlabeled)
            else ""
        )
        yield Finding(
            "labeled_among_unlabeled",
            "warning",
            f"{count:,} of {number(len(seen.unlabeled), 'unlabelled image')} {verb(count)} "
            f"identical or nearly identical to labelled ones: leave them out.{many}",
            [_line(seen, group) for group in groups],
        )


def _alike_in_one_set(seen: Inspection) -> Iterator[Finding]:
    for name in dict.fromkeys(seen.set_of):
        groups = [[at for at in group if seen.set_of[at] == name] for group in seen.groups]
        groups = [group for group in groups if len(group) > 1]
        if groups:
            count = sum(map(len, groups))
            yield Finding(
                "alike",
                "info",
                f"{number(count, 'image')} of {name} are identical or nearly identical to others "
                f"of it, in {number(len(groups), 'group')}. They count as often as they are there.",
                [_line(seen, group) for group in groups],
            )


def _unlabeled(seen: Inspection) -> Iterator[Finding]:
    if not seen.unlabeled:
        return
    labeled = len(seen.sets[0].images)
    if len(seen.unlabeled) < labeled:
        yield Finding(
            "few_unlabeled",
            "info",
            f"There are fewer unlabelled images ({len(seen.unlabeled):,}) than labelled ones "
            f"({labeled:,}): distillation gains from many.",
        )
    sides = {
        name: [
            np.sqrt(np.prod(look.size))
            for look, of_image in zip(seen.looks, seen.set_of, strict=True)
            if look.size and of_image == name
        ]
        for name in (seen.sets[0].name, UNLABELED)
    }
    if all(sides.values()):
        ours, theirs = map(np.median, sides.values())
        if not 1 / OTHER_SIZE < theirs / ours < OTHER_SIZE:
            yield Finding(
                "other_size",
                "info",
                f"Unlabelled images are of another size than labelled ones (median side "
                f"{theirs:.0f} against {ours:.0f} pixels): see that objects are about as large in "
                "both once the images are resized.",
            )


def _groups_across(seen: Inspection, names: set[str], other: str) -> list[list[int]]:
    """Of each group with images of both sides, these."""
    found = []
    for group in seen.groups:
        of_sets = {seen.set_of[at] for at in group}
        if of_sets & names and other in of_sets:
            found.append([at for at in group if seen.set_of[at] in names | {other}])
    return found


def _line(seen: Inspection, group: list[int]) -> str:
    return " = ".join(seen.places[at] for at in group)
