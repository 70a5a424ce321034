"""The page on data sets: what is suspicious first, then counts, plots and examples."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..report.html import (
    Code,
    Note,
    Notes,
    Paragraph,
    Picture,
    Pictures,
    Section,
    Table,
    render,
)
from .examine import UNLABELED, Inspection
from .figures import draw_image, draw_labels, plot_classes, plot_shapes, plot_sides
from .findings import number
from .labeled_set import LabeledSet

MOST_GROUPS, MOST_SUSPICIOUS, LEAST_EXAMPLES, MOST_EXAMPLES = 6, 3, 6, 12
MOST_NAMES = 50  # unfolded below a sentence; inspection.json has all
QUANTILES = {"0": "least", "0.05": "5 %", "0.5": "median", "0.95": "95 %", "1": "most"}


def write_page(seen: Inspection, summary: dict, command: str = "") -> str:
    """The HTML.

    Args:
        summary: of `sad.inspection.summary.summarize`.
        command: what makes the page again, where that is known.
    """
    images = sum(len(one.images) for one in seen.sets)
    boxes = sum(len(one.boxes) for one in seen.sets)
    warnings = sum(finding["level"] == "warning" for finding in summary["findings"])
    classes, unlabeled = number(len(seen.class_names), "class"), len(seen.unlabeled)
    lead = (
        f"{number(images, 'labelled image')} with {number(boxes, 'box')} of {classes}, "
        f"{number(unlabeled, 'unlabelled image')}; {number(warnings, 'thing')} to look at."
    )
    sections = [
        Section("What to look at first", [Notes(list(_notes(summary["findings"])))]),
        *_suspicious(seen),
        Section("Counts", [_counts(summary)]),
        Section("Classes", list(_classes(seen, summary))),
        Section("Sizes", list(_sizes(seen, summary))),
        *(Section(f"Images of {one.name}", [_examples(seen, one)]) for one in seen.sets),
    ]
    if command:
        sections.append(Section("How this page was made", [Code(command)]))
    return render("What is in the data", lead, sections)


def _notes(findings: list[dict]) -> Iterator[Note]:
    for finding in findings:
        where = finding["where"][:MOST_NAMES]
        if left := len(finding["where"]) - len(where):
            where = [*where, f"and {left:,} more, see inspection.json"]
        yield Note(finding["level"], finding["text"], where)


def _suspicious(seen: Inspection) -> Iterator[Section]:
    """Images that resemble each other, those of different sets first, and boxes that look wrong."""
    # Of a group an image of each set, else the first two.
    groups = sorted(seen.groups, key=lambda group: -len({seen.set_of[at] for at in group}))
    alike = []
    for group in groups[:MOST_GROUPS]:
        first = {seen.set_of[at]: at for at in reversed(group)}
        for at in sorted(first.values()) if len(first) > 1 else group[:2]:
            alike.append(Picture(draw_image(seen.paths[at]), seen.places[at]))
    if alike:
        text = f"{number(len(groups), 'group')} in all, those of different sets first."
        yield Section("Images that are alike", [Paragraph(text), Pictures(alike)])
    boxes = [
        Picture(draw_labels(one, image, seen.class_names, chosen), f"{one.place(image)}, {what}")
        for one in seen.sets
        for what, positions in (
            ("boxes around one object", seen.repeated[one.name].ravel()),
            ("a box as large as the image", one.filling()),
        )
        for image, chosen in _by_image(seen, one, positions)
    ]
    if boxes:
        yield Section("Boxes that look wrong", [Pictures(boxes)])


def _by_image(seen: Inspection, one: LabeledSet, positions) -> Iterator[tuple[int, list[int]]]:
    """The first few readable images of some boxes, each with these boxes."""
    images = [
        at for at in dict.fromkeys(one.image_of[positions].tolist()) if _is_shown(seen, one, at)
    ]
    for image in images[:MOST_SUSPICIOUS]:
        yield image, [at for at in positions if one.image_of[at] == image]


def _is_shown(seen: Inspection, one: LabeledSet, image: int) -> bool:
    before = sum(len(other.images) for other in seen.sets[: seen.sets.index(one)])
    return not seen.looks[before + image].problem


def _counts(summary: dict) -> Table:
    rows = []
    for name, one in summary["sets"].items():
        per_image = one["boxes_per_image"]
        rows.append(
            [name, one["images"], one["boxes"], one["negatives"], one["crowds"]]
            + [per_image["0.5"], int(per_image["1"]), _common_size(one["sizes"])]
        )
    unlabeled = summary[UNLABELED]
    if unlabeled["images"]:
        rows.append([UNLABELED, unlabeled["images"], *[None] * 5, _common_size(unlabeled["sizes"])])
    head = ["set", "images", "boxes", "without boxes", "crowds", "median per image", "most"]
    return Table([*head, "image size"], rows)


def _common_size(sizes: list[dict]) -> str:
    if not sizes:
        return ""
    first = f"{sizes[0]['width']} x {sizes[0]['height']}"
    return f"{first} and {len(sizes) - 1} others" if len(sizes) > 1 else first


def _classes(seen: Inspection, summary: dict) -> Iterator:
    names = list(summary["sets"])
    rows = [[row["name"], *(row[name] for name in names)] for row in summary["classes"]]
    yield Table(["class", *(f"boxes of {name}" for name in names)], rows)
    if rows:
        yield Pictures([Picture(plot_classes(seen.sets, seen.class_names))])


def _sizes(seen: Inspection, summary: dict) -> Iterator:
    where, key = "in the image", "box_sides"
    if training := summary["training"]:
        where, key = "in training", "box_sides_in_training"
        yield Paragraph(f"In training images are resized to {training['size']}.")
    rows = [
        [name, *(round(one[key][q]) for q in QUANTILES)]
        for name, one in summary["sets"].items()
        if one[key]
    ]
    if not rows:
        return
    yield Paragraph(f"How large boxes are: the square root of the area, in pixels {where}.")
    yield Table(["set", *QUANTILES.values()], rows)
    first = seen.sets[0]
    lines = "Dotted: the sizes of the anchors." if seen.anchors else ""
    plots = [Picture(plot_sides(seen.sides, seen.anchors, where), lines)]
    if len(first.boxes):
        shapes = first.boxes[:, 2:] - first.boxes[:, :2]
        scale = (seen.sides[first.name] / first.sides)[:, None]
        plots.append(
            Picture(plot_shapes(shapes * scale, seen.anchors, where), f"Boxes of {first.name}.")
        )
    yield Pictures(plots)


def _examples(seen: Inspection, one: LabeledSet) -> Pictures:
    chosen = choose_examples(one, [_is_shown(seen, one, at) for at in range(len(one.images))])
    return Pictures(
        [
            Picture(
                draw_labels(one, image, seen.class_names),
                f"{one.images[image]['listed']}, {number(len(one.boxes_on(image)), 'box')}",
            )
            for image in chosen
        ]
    )


def choose_examples(one: LabeledSet, shown: Sequence[bool]) -> list[int]:
    """Images of all classes as far as there is room, the rarest first; others drawn by lot.

    Args:
        shown: for each image, whether it can be.
    """
    lot = np.random.default_rng(0).permutation(len(one.images)).tolist()
    lot = [image for image in lot if shown[image]]
    has = np.zeros((len(one.images), len(one.class_names)), bool)
    has[one.image_of, one.class_of] = True
    chosen = {}  # as an ordered set
    for label in np.argsort(has.sum(axis=0), kind="stable"):
        if not any(has[image, label] for image in chosen):
            chosen |= dict.fromkeys([image for image in lot if has[image, label]][:1])
    room = min(MOST_EXAMPLES, max(LEAST_EXAMPLES, len(one.class_names)))
    return list(dict.fromkeys([*chosen, *lot]))[:room]
