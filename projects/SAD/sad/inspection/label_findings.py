"""Classes that cannot be learned, boxes that look like mistakes, and what the reader changed."""

from collections import Counter
from collections.abc import Iterator

from ..modeling.anchor_fit import ENOUGH
from .examine import Inspection
from .findings import Finding, number, verb
from .labeled_set import SAME_OBJECT, WHOLE_IMAGE, LabeledSet
from .training_size import describe_size

TINY = 8  # pixels in training; smaller objects are hardly found
MANY_TINY = 0.05  # share of a set's boxes
RARE = 10  # boxes of a class
UNEVEN = 50  # times as many boxes as of another class


def label_findings(seen: Inspection) -> Iterator[Finding]:
    yield from _left_out(seen)
    yield from _classes(seen)
    yield from _same_names(seen)
    for one in seen.sets:
        yield from _repeated(seen, one)
        yield from _whole_images(one)
        yield from _tiny(seen, one)
        yield from _without_boxes(one)
    yield from _anchors(seen)


def _left_out(seen: Inspection) -> Iterator[Finding]:
    for one in seen.sets:
        for what, where in one.source.left_out.items():
            text = f"Left out of {one.name}: {what} ({len(where):,})."
            yield Finding("left_out", "warning", text, list(where))
        if one.unusable:
            text = f"Annotations left out of {one.name}: {', '.join(one.unusable)}."
            yield Finding("left_out", "warning", text)
        for what, where in one.source.mended.items():
            yield Finding(
                "mended", "info", f"Mended in {one.name}: {what} ({len(where):,}).", list(where)
            )


def _classes(seen: Inspection) -> Iterator[Finding]:
    first, *others = seen.sets
    counts = {name: first.count_of(name) for name in seen.class_names}
    elsewhere = {x.name: {c for c in seen.class_names if x.count_of(c)} for x in others}
    for name, found in elsewhere.items():
        if unknown := [c for c in found if not counts[c]]:
            yield _of_classes(
                "not_trained",
                "warning",
                sorted(unknown),
                f"in {name} and without a box in {first.name}: they cannot be learned",
            )
    known = set().union(*elsewhere.values())
    if empty := [c for c, count in counts.items() if not count and c not in known]:
        yield _of_classes(
            "empty_class", "warning", empty, "without a box: label some, or drop them"
        )
    if once := [c for c, count in counts.items() if count == 1]:
        yield _of_classes("single_box", "warning", once, f"with a single box in {first.name}")
    if rare := [c for c, count in counts.items() if 1 < count < RARE]:
        yield _of_classes(
            "rare_class", "info", rare, f"with fewer than {RARE} boxes in {first.name}: label more"
        )
    for name, found in elsewhere.items():
        if untested := [c for c, count in counts.items() if count and c not in found]:
            yield _of_classes(
                "not_tested",
                "info",
                untested,
                f"without a box in {name}: nothing is measured on them",
            )
    present = Counter({c: count for c, count in counts.items() if count})
    if present:
        (most, high), (least, low) = present.most_common()[0], present.most_common()[-1]
        if high >= UNEVEN * low:
            yield Finding(
                "uneven_classes",
                "info",
                f"{most} has {high / low:.0f} times as many boxes in {first.name} as {least}.",
            )


def _of_classes(what: str, level: str, names: list[str], text: str) -> Finding:
    listed = ", ".join(names[:5]) + (", ..." if names[5:] else "")
    return Finding(what, level, f"{number(len(names), 'class')} {text} ({listed}).", names)


def _same_names(seen: Inspection) -> Iterator[Finding]:
    by_form = {}
    for name in seen.class_names:
        by_form.setdefault("".join(filter(str.isalnum, name.casefold())), []).append(name)
    if alike := [names for form, names in by_form.items() if form and len(names) > 1]:
        yield Finding(
            "same_names",
            "warning",
            "Classes differ in capitals, spaces or signs alone: give one class one name.",
            [" = ".join(map(repr, names)) for names in alike],
        )


def _repeated(seen: Inspection, one: LabeledSet) -> Iterator[Finding]:
    pairs = seen.repeated[one.name]
    same = one.class_of[pairs[:, 0]] == one.class_of[pairs[:, 1]]
    for what, chosen, classes in (
        ("repeated_boxes", pairs[same], "of the same class"),
        ("two_classes", pairs[~same], "of two classes"),
    ):
        if len(chosen):
            places = one.image_of[chosen[:, 0]]
            count = len(chosen)
            yield Finding(
                what,
                "warning",
                f"{number(count, 'pair')} of boxes {classes} in {one.name} {verb(count)} around "
                f"one object (IoU {SAME_OBJECT} or more): delete one of each.",
                sorted({one.place(at) for at in places}),
            )


def _whole_images(one: LabeledSet) -> Iterator[Finding]:
    filling = one.filling()
    if len(filling):
        yield Finding(
            "whole_image",
            "warning",
            f"{number(len(filling), 'box')} of {one.name} {verb(len(filling), 'covers', 'cover')} "
            f"{WHOLE_IMAGE:.0%} of the image or more: see that an object is meant, not the image.",
            sorted({one.place(at) for at in one.image_of[filling]}),
        )


def _tiny(seen: Inspection, one: LabeledSet) -> Iterator[Finding]:
    tiny = seen.sides[one.name] < TINY
    if count := int(tiny.sum()):
        size = f"in training ({describe_size(seen.cfg)})" if seen.cfg else "in the image"
        yield Finding(
            "tiny_boxes",
            "warning" if count >= MANY_TINY * len(tiny) else "info",
            f"{number(count, 'box')} of {one.name} ({tiny.mean():.1%}) {verb(count)} "
            f"smaller than {TINY} pixels {size}: hardly to be found, larger images help.",
            sorted({one.place(at) for at in one.image_of[tiny]}),
        )


def _without_boxes(one: LabeledSet) -> Iterator[Finding]:
    if not len(one.boxes):
        yield Finding("no_boxes", "warning", f"{one.name} holds no boxes.")
    elif one.negatives:
        count, images = len(one.negatives), len(one.images)
        yield Finding(
            "negatives",
            "warning" if 2 * count > images else "info",
            f"{count:,} of {number(images, 'image')} of {one.name} "
            f"{verb(count, 'has', 'have')} no box, which counts as looked at and empty: see that "
            "this is so.",
            [one.place(at) for at in one.negatives],
        )
    if one.crowds:
        text = f"{number(one.crowds, 'crowd')} of {one.name} {verb(one.crowds)} not learned."
        yield Finding("crowds", "info", text)


def _anchors(seen: Inspection) -> Iterator[Finding]:
    if not seen.anchors:
        return
    recall, better = seen.anchors["recall"], seen.anchors["better"]
    text = (
        f"{recall:.1%} of the boxes of {seen.sets[0].name} have an anchor that overlaps by an IoU "
        f"of {seen.anchors['iou']} or more"
    )
    if recall >= ENOUGH:
        yield Finding("anchors", "good", f"{text}: the anchors fit.")
    elif better:
        yield Finding(
            "anchors",
            "warning",
            f"{text}; others are hardly learned. {better['recall']:.1%} have one with "
            f"{better['options']}",
        )
    else:
        yield Finding("anchors", "warning", f"{text}, and none were found that fit better.")
