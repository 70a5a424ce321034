"""calibration.html: advice first, then the numbers behind it and the images to label."""

import math

import numpy as np
from matplotlib.figure import Figure

from ..data.images import read_image
from ..report.html import Note, Notes, Paragraph, Picture, Pictures, Section, Table, render
from ..utils.drawing import RUN_COLORS, class_colors, draw_box, show_image
from .advice import CASES
from .choice import MARGIN, MIN_BOXES
from .summary import ALL, WANTED_PRECISION

SHOWN_CLASSES = 7  # curves in one picture: those with the most labels
LIKELY = 0.2  # a dropped box with this chance of being right is shown
TARGETS = {
    "stop": "Do not distil from this teacher yet.",
    "pseudo-labels": "Train the student with pseudo-labels alone.",
    "soft targets": "Train the student with soft targets alone.",
    "both": "Train the student with pseudo-labels and soft targets.",
    "labelled images": "Train the student with the teacher on the labelled images alone.",
}


def render_page(report: dict, pictures: list[Picture]) -> str:
    """The HTML.

    Args:
        report: the content of calibration.json, see `sad.calibration.calibrate`.
        pictures: see `draw_proposals`.
    """
    teacher, held_out = report["teacher"], report["held_out"]
    lead = (
        f"{TARGETS[report['advice']['targets']]} The teacher has {teacher['AP']:.1f} AP on "
        f"{held_out['images']:,} held-out images with {held_out['boxes']:,} boxes."
    )
    sections = [_advice(report), _quality(report), _thresholds(report), _cases(report)]
    return render("What the teacher is worth", lead, [*sections, _to_label(report, pictures)])


def draw_curves(report: dict) -> Figure:
    """Precision and recall of all classes by threshold, and the precision of each class."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    together, classes = figure.subplots(1, 2, sharey=True)
    thresholds, curves = report["thresholds"], report["curves"]
    scores = report["curve_thresholds"]
    for what, color in zip(("precision", "recall", "f1"), RUN_COLORS[1:], strict=False):
        label = "F1" if what == "f1" else what
        together.plot(scores, _floats(curves[ALL][what]), color=color, label=label)
    together.axvline(thresholds["labelling"], color="black", ls=":", label="labelling's threshold")
    if thresholds["common"] != thresholds["labelling"]:
        together.axvline(thresholds["common"], color="black", label="common threshold")
    together.set(title=ALL, xlabel="score threshold", xlim=(0, 1), ylim=(0, 1.02))
    rows = sorted(report["points"][1:], key=lambda row: -row["labels"])[:SHOWN_CLASSES]
    for row, color in zip(rows, RUN_COLORS, strict=False):
        precision = _floats(curves[row["name"]]["precision"])
        classes.plot(scores, precision, color=color, label=f"{row['name']} ({row['labels']})")
    classes.set(title="precision by class (labelled boxes)", xlabel="score threshold", xlim=(0, 1))
    for axes in (together, classes):
        axes.legend(fontsize="small", loc="lower right", frameon=False)
        axes.grid(alpha=0.3)
    return figure


def draw_proposals(proposals, positions, found, chances, kept, names: list[str]) -> list[Picture]:
    """The images with the teacher's boxes: solid where they are kept, else dashed if likely.

    Args:
        proposals, positions: see `sad.calibration.to_label.describe`.
        found: sad.calibration.teacher_boxes.Found
        chances, kept: (M,) of its detections.
    """
    colors = class_colors(len(names))
    pictures = []
    for number, (proposal, position) in enumerate(zip(proposals, positions, strict=True), start=1):
        image = found.images[position]
        height, width = image["height"], image["width"]
        figure = Figure(figsize=(3.6, 3.6 * min(height / width, 2)), dpi=100)
        axes = figure.add_axes((0, 0, 1, 1))
        show_image(axes, read_image(image["file_name"], "RGB", math.inf))
        shown = (found.detections["image"] == position) & (kept | (chances >= LIKELY))
        for place in np.flatnonzero(shown).tolist():
            box = found.detections[place]
            line = "-" if kept[place] else "--"
            label = f"{names[box['category']]} {chances[place]:.0%}"
            draw_box(axes, box["box"], colors[box["category"]], line, label, size=7)
        pictures.append(Picture(figure, f"{number}. {proposal['file_name']}: {proposal['reason']}"))
    return pictures


def _floats(values: list) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _advice(report: dict) -> Section:
    advice = report["advice"]
    notes = [Note(line["level"], f"{line['text']} {line['evidence']}") for line in advice["lines"]]
    parts = [Notes(notes)]
    if advice["settings"]:
        keys = ", ".join(f"{key} {value}" for key, value in advice["settings"].items())
        parts.append(Paragraph(f"In the student's yaml: {keys}."))
    parts.append(
        Paragraph(
            "This is advice by simple rules. They follow from few students on few data sets, "
            "listed below. A run of your own with either choice says more than all of them."
        )
    )
    return Section("Advice", parts)


def _quality(report: dict) -> Section:
    teacher, student = report["teacher"], report["student_AP"]
    held_out = report["held_out"]
    parts = []
    if held_out["trained_on"]:
        text = f"{held_out['trained_on']} images were left out: the teacher was trained on them."
        parts.append(Notes([Note("warning", text)]))
    if held_out["unreadable"]:
        text = f"{len(held_out['unreadable'])} held-out images could not be read."
        parts.append(Notes([Note("warning", text, _reasons(held_out["unreadable"]))]))
    head = ["on the held-out images", "AP", "AP50", "AP75"]
    rows = [["teacher", teacher["AP"], teacher["AP50"], teacher["AP75"]]]
    if student is not None:
        rows += [["student alone", student, None, None]]
        rows += [["gap", teacher["AP"] - student, None, None]]
    parts.append(Table(head, rows))
    labels = {row["name"]: row["labels"] for row in report["points"]}
    rows = [[name, labels[name], ap] for name, ap in teacher["AP_per_class"].items()]
    parts.append(Table(["class", "labelled boxes", "AP"], rows))
    return Section("Teacher", parts)


def _thresholds(report: dict) -> Section:
    thresholds = report["thresholds"]
    if thresholds["by_class"]:
        text = "Classes differ clearly: label with --class-thresholds thresholds.json."
    elif thresholds["common"] != thresholds["labelling"]:
        text = (
            f"One threshold does for all classes: label with --threshold {thresholds['common']:g}."
        )
    else:
        text = "One threshold does for all classes, the one that labelling chooses by itself."
    columns = {
        "labelling": "as labelling chooses it",
        "best_f1": "best F1",
        "precise": f"precision {WANTED_PRECISION:g}",
        "chosen": "chosen",
    }
    head = ["class", "labels", "threshold", "", "boxes", "precision", "recall", "F1"]
    rows = []
    for row in report["points"]:
        for what, name in columns.items():
            point = row[what] or {}
            rows.append(
                [
                    row["name"],
                    row["labels"],
                    name,
                    _decimal(point.get("threshold")),
                    point.get("boxes"),
                    *(_decimal(point.get(key)) for key in ("precision", "recall", "f1")),
                ]
            )
    reasons = [
        [name, _decimal(thresholds["chosen"].get(name, thresholds["common"])), reason]
        for name, reason in thresholds["reasons"].items()
    ]
    rule = (
        "A threshold is left only for one with a clearly better F1: at least "
        f"{MIN_BOXES} labelled boxes, and on images that did not choose it a mean gain of at least "
        f"{MARGIN:g} and one standard deviation. A box is right when it covers an object of its "
        "class with an IoU of 0.5 or more. Recall is of all labelled objects."
    )
    parts = [Paragraph(text), Pictures([Picture(draw_curves(report), wide=True)])]
    parts += [Table(["class", "threshold", "why"], reasons), Paragraph(rule), Table(head, rows)]
    return Section("Pseudo-labels by threshold", parts)


def _cases(report: dict) -> Section:
    def ratio(student, teacher):
        return f"{student / teacher:.0%}" if teacher else None

    rows = [
        [case.name, case.teacher, case.student, ratio(case.student, case.teacher), *case[3:]]
        for case in CASES
    ]
    teacher, student = report["teacher"]["AP"], report["student_AP"]
    if student is not None:
        rows.insert(0, ["here", teacher, student, ratio(student, teacher), None, None, None])
    head = ["AP of", "teacher", "student alone", "of teacher", "pseudo-labels", "soft", "both"]
    text = "What students gained from which targets, wherever that was measured."
    return Section("Evidence", [Paragraph(text), Table(head, rows)])


def _to_label(report: dict, pictures: list[Picture]) -> Section:
    unlabeled = report["unlabeled"]
    parts = []
    if unlabeled["looked_at"] < unlabeled["images"]:
        parts.append(
            Paragraph(
                f"{unlabeled['looked_at']:,} of {unlabeled['images']:,} unlabelled images were "
                "looked at, drawn by lot."
            )
        )
    if unlabeled["unreadable"]:
        text = f"{len(unlabeled['unreadable'])} unlabelled images could not be read."
        parts.append(Notes([Note("warning", text, _reasons(unlabeled["unreadable"]))]))
    parts.append(
        Paragraph(
            "People's labels on these images say most: most errors are expected in them for each "
            "object, and they are unlike each other. Numbers at boxes are the chance that the box "
            "is right, by its score and the held-out images. Solid boxes would be pseudo-labels, "
            "dashed ones not. Objects that the teacher does not see at all do not count. Tried "
            "once, on street bins: fifty images chosen so had twice as many errors as others."
        )
    )
    return Section("Label these next", [*parts, Pictures(pictures)])


def _reasons(unreadable: dict[str, str]) -> list[str]:
    return [f"{path}: {why}" for path, why in unreadable.items()]


def _decimal(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"
