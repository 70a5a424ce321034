"""What the one command reached on several data sets and seeds: from its reports to one table."""

import json
import os
import statistics
from collections.abc import Sequence

from scipy import stats

from ..utils.errors import UserError
from .tables import holm, spread

ARMS = ("teacher", "student alone", "student alone, as long", "SAD student")
BASELINES, DISTILLED = ARMS[1:3], ARMS[3]


def read_reports(groups: dict[str, Sequence[str]]) -> dict:
    """
    Args:
        groups: {row of the table: folders of `sad distill`, one for each seed}.
    Returns:
        {row: {"test_images", "folders": count, "AP": {arm: one for each seed}, "minutes": {arm:
        median}, "gain": of the distilled student over the better student alone, for each seed,
        "p": of Student's t test that it is 0 (None for one seed), "holm": p after Holm over all
        rows}}
    Raises:
        UserError: a folder holds no report, or its arms are others.
    """
    found = {row: _row([_report(folder) for folder in folders]) for row, folders in groups.items()}
    tested = [row for row in found if found[row]["p"] is not None]
    for row, p in zip(tested, holm([found[row]["p"] for row in tested]), strict=True):
        found[row]["holm"] = p
    return found


def _report(folder: str) -> dict:
    path = os.path.join(folder, "report.json")
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist: let `sad distill` end there, or leave it out")
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    runs = {run["name"]: run for run in report["runs"]}
    if missing := [arm for arm in ARMS if arm not in runs]:
        raise UserError(f"{path} has no {missing[0]!r}: it was made without a baseline")
    return {"test_images": report["test_images"], "runs": runs}


def _row(reports: list[dict]) -> dict:
    ap = {arm: [report["runs"][arm]["AP"] for report in reports] for arm in ARMS}
    gains = [
        distilled - max(alone)
        for distilled, *alone in zip(ap[DISTILLED], *(ap[x] for x in BASELINES), strict=True)
    ]
    several = len(gains) > 1
    return {
        "test_images": reports[0]["test_images"],
        "AP": ap,
        "minutes": {
            arm: statistics.median(report["runs"][arm]["minutes"] for report in reports)
            for arm in ARMS
        },
        "gain": gains,
        "p": float(stats.ttest_1samp(gains, 0).pvalue) if several else None,
        "holm": None,
    }


def markdown(rows: dict, command: str) -> str:
    """The table, with what is to be known about it."""
    head = ["data and teacher", *ARMS, "gain of SAD", "p, after Holm", "minutes in all"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, row in rows.items():
        cells = [_cell(row["AP"][arm]) for arm in ARMS]
        p = "" if row["p"] is None else f"{row['p']:.3f}, {row['holm']:.3f}"
        minutes = f"{sum(row['minutes'].values()):.0f}"
        lines.append(f"| {name} | {' | '.join([*cells, _cell(row['gain'], '+'), p, minutes])} |")
    return "\n".join(
        [
            "# What the one command brings",
            "",
            *lines,
            "",
            "AP on the test images: mean ± standard deviation over the seeds, or the one that was",
            "run. The gain is over the better of the two students alone, for each seed by itself; p",
            f"is Student's t, {sum(row['p'] is not None for row in rows.values())} gains judged.",
            "",
            f"Made by `{command}`.",
            "",
        ]
    )


def _cell(values: list[float], sign: str = "") -> str:
    mean, deviation = spread(values)
    text = f"{mean:{sign}.1f}"
    return text if len(values) == 1 else f"{text} ± {deviation:.1f}"
