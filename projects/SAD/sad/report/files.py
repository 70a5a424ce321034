"""The files of the report: a page to look at, its texts, its numbers, and a page as a picture."""

import os

import matplotlib

from ..utils.files import atomic_write, write_json
from .html import Pictures, Section, render
from .page import draw_page
from .plot_sections import errors, seen, teaching, training
from .result_figures import classes, results_plots
from .sections import lead, markdown, results, settings, verdict
from .seen_figures import heat_group


def write_files(output: str, report: dict, maps: dict) -> None:
    """
    Args:
        report: content of report.json, see `sad.report.report.write_report`.
        maps: {file name of an image: see `sad.report.uncertainty.look`}
    """
    # Names of runs and classes are no formulas, whatever they hold.
    with matplotlib.rc_context({"text.parse_math": False}):
        sections = page_sections(report, maps)
        html = render(report["title"], lead(report), sections)
        page = draw_page(report)
        with atomic_write(os.path.join(output, "report.png"), "wb") as file:
            page.savefig(file, format="png", pil_kwargs={"optimize": True})
    write_json(os.path.join(output, "report.json"), report, indent=2)
    texts = {"report.md": markdown(report, sections), "report.html": html}
    for name, content in texts.items():
        with atomic_write(os.path.join(output, name)) as file:
            file.write(content)


def page_sections(report: dict, maps: dict) -> list[Section]:
    """All of the page, in its order."""
    plots = results_plots(report)
    if len(report["classes"]) > 1:
        plots.append(classes(report))
    heat = [
        heat_group(picture, maps[picture["file_name"]], list(report["classes"]))
        for picture in report["pictures"]["images"]
        if picture["file_name"] in maps
    ]
    sections = [
        *verdict(report),
        Section("Results", [*results(report), Pictures(plots)]),
        errors(report),
        seen(report),
        training(report),
        teaching(report, heat),
        settings(report),
    ]
    return [section for section in sections if section]
