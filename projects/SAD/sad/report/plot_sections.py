"""The sections with plots and pictures: errors, what the models see, training, the teacher."""

from ..evaluation.error_kinds import KINDS
from . import error_figures, result_figures, seen_figures, training_figures
from .error_figures import KIND_NAMES
from .html import Filtered, Group, Note, Notes, Paragraph, Pictures, Section, Table
from .seen_figures import GAINED, LOST
from .wording import shown_detections


def errors(report: dict) -> Section | None:
    """Precision and recall, kinds of errors, and which classes are taken for which; None where no
    run's detections are there.
    """
    parts = []
    if report["no_details"]:
        left_out = [
            Note("info", f"“{n}” is left out: {why}.") for n, why in report["no_details"].items()
        ]
        parts.append(Notes(left_out))
    if not any(run["details"] for run in report["runs"]):
        return Section("What goes wrong", parts) if parts else None
    parts += [
        Pictures(result_figures.precision_recall(report)),
        error_table(report),
        Paragraph(
            "Numbers of labelled objects, and of wrong detections with a score at or above the "
            "threshold, at IoU 0.5. An object is found, or found wrongly by a badly placed box or "
            "one of another class, or missed. Badly placed: right class, IoU from 0.1 to 0.5. "
            "Wrong class: IoU of 0.5 or more with an object of another class. Both: IoU from 0.1 "
            "to 0.5 with an object of another class. Duplicate: a better score has found the "
            "object. Background: IoU under 0.1 with every object. These are the kinds of TIDE "
            "(arXiv 2008.08115)."
        ),
        Pictures([error_figures.costs(report)]),
        Paragraph(
            "What a kind costs is AP50 with all of its errors mended less AP50, with detections of "
            "any score. The costs do not add up, because one error hides behind another."
        ),
        Pictures(error_figures.matrices(report)),
        Paragraph(
            "Rows: labelled objects by the class of the detection on them; the last row: "
            "detections on no object, or on one that another detection has. Shades are shares of a "
            "class's objects. A right detection is counted before one of another class on the same "
            "object."
        ),
    ]
    return Section("What goes wrong", parts)


def error_table(report: dict) -> Table:
    rows = []
    for run in report["runs"]:
        if details := run["details"]:
            found = details["errors"]
            rates = (_two(details[name]) for name in ("precision", "recall", "f1"))
            counts = (found[name] for name in ("found", "meant", "missed", *KINDS))
            rows.append([run["name"], _two(details["threshold"]), *rates, *counts])
    kinds = list(KIND_NAMES.values())
    head = ["", "score from", "precision", "recall", "F1", "objects found", "found wrongly"]
    return Table([*head, "missed", *kinds[:-1]], rows)


def _two(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def seen(report: dict) -> Section:
    """The images on which the models differ, one beside the other."""
    pictures, gain = report["pictures"], report["gain"]
    text = (
        f"Of {pictures['from']:,} test images, those on which the models' numbers of wrong and "
        "missed objects differ most"
    )
    choices = {}
    if gain:
        distilled, baseline = gain["distilled"], gain["baseline"]
        text += (
            f", and those on which “{distilled}” or “{baseline}” finds most that the other misses"
        )
        choices = {
            GAINED: f"“{baseline}” wrong, “{distilled}” right",
            LOST: f"“{distilled}” wrong, “{baseline}” right",
        }
    text += (
        ". Boxes: white labelled, blue right (class, and IoU at least 0.5), orange wrong, yellow "
        f"missed; {shown_detections(report)}."
    )
    parts = [Paragraph(text), *_agreement(report)]
    return Section("What the models see", [*parts, Filtered(choices, seen_figures.groups(report))])


def _agreement(report: dict) -> list:
    found, gain = report["pictures"]["agreement"], report["gain"]
    if not found:
        return []
    total = sum(found.values())
    who = {
        "both": "both",
        "first": f"“{gain['distilled']}” alone",
        "second": f"“{gain['baseline']}” alone",
        "neither": "neither",
    }
    rows = [[who[key], f"{found[key]:,}", f"{found[key] / max(1, total):.1%}"] for key in who]
    return [Table(("objects found by", "number", "share"), rows)]


def training(report: dict) -> Section:
    pictures = training_figures.curves(report) + training_figures.ratios(report)
    return Section("Training", [Pictures(pictures)])


def teaching(report: dict, heat: list[Group]) -> Section | None:
    """What the teacher's boxes are worth, and what it is unsure of; None without either.

    Args:
        heat: a group for each image, see `sad.report.seen_figures.heat_group`.
    """
    parts = []
    if found := report["pseudo_labels"]:
        if labels := found["labels"]:
            parts.append(Paragraph(_say_labels(labels)))
        parts.append(Pictures(training_figures.pseudo_labels(report)))
    if heat:
        parts += [
            Paragraph(
                "What is hard: for each place the greatest value of all anchors and classes there. "
                "T(q) is the teacher's own uncertainty (the paper: hard to learn), KL how far the "
                "student's answer is from the teacher's (hard to mimic). Dark is 0; the KL of all "
                "students has one scale on an image."
            ),
            uncertainty_table(report),
            Filtered({}, heat),
        ]
    return Section("The teacher", parts) if parts else None


def _say_labels(labels: dict) -> str:
    text = (
        f"{labels['instances']:,} pseudo-labels on {labels['images_kept']:,} images: the teacher's "
        "boxes with a score of "
    )
    threshold = labels["threshold"]
    if isinstance(threshold, dict):
        text += "its class's threshold or more"
    else:
        text += f"{threshold:.2f} or more"
    if measured := labels["measured"]:
        precision, recall = measured["precision"], measured["recall"]
        rates = [f"{x:.0%} {what}" for x, what in ((precision, "are right"),) if x is not None]
        rates += [f"they find {recall:.0%} of the objects"] if recall is not None else []
        text += f"; by the labels of these images {', and '.join(rates)}" if rates else ""
    return f"{text}."


def uncertainty_table(report: dict) -> Table:
    """How much of what is hard lies inside labelled boxes, on the images shown."""
    rows = []
    for shown in report["uncertainty"]["images"]:
        kl = shown["divergence"].values()
        parts = (shown["objects"], shown["uncertainty"], *kl)
        rows.append([shown["name"], *(None if x is None else f"{x:.0%}" for x in parts)])
    students = [f"KL of “{name}”" for name in report["uncertainty"]["students"]]
    return Table(["inside labelled boxes", "image", "T(q)", *students], rows)
