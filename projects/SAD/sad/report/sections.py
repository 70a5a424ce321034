"""What the report says, as sections of a page: report.html and report.md show the same."""

import shlex
from collections.abc import Sequence

from tabulate import tabulate

from ..evaluation.bootstrap import CONFIDENCE
from ..evaluation.metrics_file import METRICS
from .gain import DID_NOT_HELP, HELPED, say_gap, say_use, say_verdict
from .html import (
    NOTHING,
    Code,
    Filtered,
    Folded,
    Note,
    Notes,
    Paragraph,
    Pictures,
    Section,
    Table,
)
from .wording import timing

FEW = 50  # test images of which an interval is a rough guess
HEAD = ("", *METRICS, "parameters (M)", "GFLOPs", "ms per image", "training (min)")


def table(rows: list[dict], tablefmt: str) -> str:
    """The rows of report.json as text."""
    return as_text(runs_table(rows), tablefmt)


def as_text(content: Table, tablefmt: str) -> str:
    return tabulate(
        [[NOTHING if cell is None else cell for cell in row] for row in content.rows],
        content.head,
        tablefmt=tablefmt,
        disable_numparse=True,
        colalign=("left",) + ("right",) * (len(content.head) - 1),
    )


def runs_table(rows: list[dict]) -> Table:
    return Table(
        HEAD,
        [
            [
                row["name"],
                *(f"{row[metric]:.1f}" for metric in METRICS),
                f"{row['parameters']:.2f}",
                f"{row['gflops']:.3g}",
                f"{row['ms']:.1f}",
                f"{row['minutes']:.1f}",
            ]
            for row in rows
        ],
    )


def lead(report: dict) -> str:
    """What was compared, in a sentence."""
    names = [run["name"] for run in report["runs"]]
    return (
        f"{', '.join(names)}: tested on {report['test_images']:,} images of {report['test_set']}."
    )


def verdict(report: dict) -> list[Section]:
    """What was gained and what to use; without a gain what to mind, if anything.

    Args:
        report: content of report.json, see `sad.report.report.write_report`.
    """
    if report["gain"]:
        return [gained(report), to_use(report)]
    if report["notes"]:
        return [Section("Mind", [Notes([Note("warning", text) for text in report["notes"]])])]
    return []


def gained(report: dict) -> Section:
    """The verdict, what it rests on, and what speaks against it."""
    gain, ap = report["gain"], _ap(report)
    level = {HELPED: "good", DID_NOT_HELP: "warning"}.get(gain["verdict"], "info")
    notes = [Note(level, say_verdict(gain, ap))]
    if gap := say_gap(gain, ap):
        notes.append(Note("info", gap))
    notes += [Note("warning", text) for text in report["notes"]]
    if report["test_images"] < FEW and not gain["no_interval"]:
        text = f"With {report['test_images']} test images an interval is a rough guess."
        notes.append(Note("warning", text))
    rows = [
        [f"over “{pair['to']}”", *(_difference(pair[metric]) for metric in ("AP", "AP50"))]
        for pair in gain["differences"]
    ]
    parts = [Notes(notes), Table((f"“{gain['distilled']}”", "AP", "AP50"), rows)]
    if not gain["no_interval"]:
        parts.append(
            Paragraph(
                f"In brackets the {CONFIDENCE} % interval, from {gain['resamples']:,} draws of "
                "the test images with replacement. It tells what other images could have shown, "
                "not what training again with another seed would give, which may differ by more."
            )
        )
    return Section("What was gained", parts)


def _difference(of_pair: dict) -> str:
    if of_pair["low"] is None:
        return f"{of_pair['difference']:+.1f}"
    return f"{of_pair['difference']:+.1f} ({of_pair['low']:+.1f} to {of_pair['high']:+.1f})"


def to_use(report: dict) -> Section:
    """The weights, and how to call them."""
    gain = report["gain"]
    run = next(run for run in report["runs"] if run["name"] == gain["use"])
    folder, weights = run["directory"], f"{run['directory']}/{run['weights']}"
    where = repr(folder)
    if run["weights"] != "model_final.pth":
        where = f"{weights!r}, {folder + '/config.yaml'!r}"
    python = (
        "from sad import Predictor\n"
        f"predict = Predictor({where})\n"
        'found = predict("photo.jpg")  # boxes, scores, labels and names, as arrays'
    )
    evaluate = (
        f"python projects/SAD/train_net.py --config-file {shlex.quote(folder + '/config.yaml')} "
        f"--eval-only MODEL.WEIGHTS {shlex.quote(weights)} "
        f"OUTPUT_DIR {shlex.quote(folder + '/evaluation')}"
    )
    return Section(
        "What to use",
        [
            Paragraph(f"{say_use(gain)} Its weights are {weights}."),
            Paragraph("In Python:"),
            Code(python),
            Paragraph("To evaluate it again:"),
            Code(evaluate),
        ],
    )


def results(report: dict) -> list:
    """Scores and costs of all runs, and of each class."""
    runs = report["runs"]
    parts = [
        runs_table(runs),
        Paragraph(
            f"Accuracy on the {report['test_images']:,} images of {report['test_set']}, in "
            "percent. GFLOPs: 1e9 multiply-adds for one image, as fvcore counts them. "
            f"{timing(report)} Training: the median time of an iteration times their number, "
            "without evaluations."
        ),
    ]
    names = [run["name"] for run in runs]
    if len(report["classes"]) > 1:
        rows = [
            [name, f"{objects:,}", *(_percent(run["class_AP"].get(name)) for run in runs)]
            for name, objects in report["classes"].items()
        ]
        parts += [Paragraph("AP of each class:"), Table(("class", "objects", *names), rows)]
    rows = [
        [size, *(_percent(run["AP_by_size"][size]) for run in runs)]
        for size in ("small", "medium", "large")
    ]
    text = "AP by the objects' area: small is under 32², large over 96² pixels of the image."
    return [*parts, Paragraph(text), Table(("size", *names), rows)]


def settings(report: dict) -> Section:
    """What was run."""
    names = [run["name"] for run in report["runs"]]
    told = report["settings"]["runs"]
    rows = [[what, *(str(of_run[what]) for of_run in told)] for what in told[0]]
    parts = [Table(("", *names), rows)]
    if differing := report["settings"]["differing"]:
        table = Table(("key", *names), [[key, *values] for key, values in differing.items()])
        parts.append(Folded(f"All {len(differing)} settings in which the runs differ", table))
    return Section("What was run", [*parts, Paragraph("Made by:"), Code(report["command"])])


def markdown(report: dict, sections: Sequence[Section]) -> str:
    """report.md: what the sections hold beside pictures, and the page as a picture."""
    lines = [f"# {report['title']}", ""]
    for section in sections:
        texts = [text for part in section.parts if (text := _markdown_of(part))]
        if texts:
            lines += [f"## {section.title}", ""]
            lines += [line for text in texts for line in (text, "")]
    return "\n".join([*lines, f"![{report['title']}](report.png)", ""])


def _markdown_of(part) -> str:
    match part:
        case Paragraph(text):
            return text
        case Code(text):
            return f"```\n{text}\n```"
        case Table():
            return as_text(part, "github")
        case Folded(title, table):
            return f"{title}:\n\n{as_text(table, 'github')}"
        case Notes(notes):
            return "\n".join(f"- {note.text}" for note in notes)
        case Pictures() | Filtered():
            return ""
    raise TypeError(f"{part} cannot be written as text")


def _ap(report: dict) -> dict[str, float]:
    return {run["name"]: run["AP"] for run in report["runs"]}


def _percent(ap: float | None) -> str | None:
    return None if ap is None else f"{ap:.1f}"
