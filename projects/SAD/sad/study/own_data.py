"""What the one command reached on several data sets and seeds: from its reports to one table."""

import json
import os
import statistics
from collections.abc import Sequence

from ..utils.errors import UserError
from .tables import judge, judge_family, spread

ARMS = ("teacher", "student alone", "student alone, as long", "distilled student")
BASELINES, DISTILLED = ARMS[1:3], ARMS[3]
NAMES = ("SAD student", "TAR student")  # of that in a report: a RetinaNet's, a Faster R-CNN's


def read_reports(groups: dict[str, Sequence[str]]) -> dict:
    """
    Args:
        groups: {row of the table: folders of `sad distill`, one for each seed}.
    Returns:
        {row: {"test_images", "AP": {arm: one for each seed}, "minutes": {arm: median}, "judged":
        the gain of the distilled student over the better one alone, see `judge_family`; None where
        no student was trained alone}}
    Raises:
        UserError: a folder holds no report of a distilled student, or its arms are others than the
            row's.
    """
    found = {row: _row([_report(folder) for folder in folders]) for row, folders in groups.items()}
    judged = judge_family({name: _judge(row) for name, row in found.items()})
    return {name: {**row, "judged": judged[name]} for name, row in found.items()}


def _judge(row: dict) -> dict | None:
    """The claim that the distilled student is better than both that were trained alone."""
    alone = zip(*(row["AP"][arm] for arm in BASELINES if arm in row["AP"]), strict=True)
    arms = {"distilled": row["AP"][DISTILLED], "alone": map(max, alone)}
    results = {arm: {n: {"AP": ap} for n, ap in enumerate(aps)} for arm, aps in arms.items()}
    return judge({"more": "distilled", "less": "alone"}, results)


def _report(folder: str) -> dict:
    path = os.path.join(folder, "report.json")
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist: let `sad distill` end there, or leave it out")
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    runs = {DISTILLED if run["name"] in NAMES else run["name"]: run for run in report["runs"]}
    if DISTILLED not in runs:
        raise UserError(f"{path} has no {' or '.join(NAMES)}: it is not one of `sad distill`")
    return {"path": path, "test_images": report["test_images"], "runs": runs}


def _row(reports: list[dict]) -> dict:
    arms = [arm for arm in ARMS if arm in reports[0]["runs"]]
    for report in reports:
        if other := set(arms) ^ (report["runs"].keys() & set(ARMS)):
            raise UserError(
                f"{report['path']} and {reports[0]['path']} are of one row, and only one of them "
                f"has {', '.join(sorted(other))}: run both with or both without --no-baseline"
            )
    return {
        "test_images": reports[0]["test_images"],
        "AP": {arm: [report["runs"][arm]["AP"] for report in reports] for arm in arms},
        "minutes": {
            arm: statistics.median(report["runs"][arm]["minutes"] for report in reports)
            for arm in arms
        },
    }


def markdown(rows: dict, command: str) -> str:
    """The table, with what is to be known about it."""
    head = ["data and teacher", *ARMS, "gain", "p, after Holm", "minutes in all"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, row in rows.items():
        cells = [_cell(row["AP"].get(arm, [])) for arm in ARMS]
        judged = row["judged"] or {"differences": {}, "p": None}
        cells.append(_cell(list(judged["differences"].values()), "+"))
        cells.append("" if judged["p"] is None else f"{judged['p']:.3f}, {judged['holm']:.3f}")
        cells.append(f"{sum(row['minutes'].values()):.0f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    judged = sum(bool(row["judged"]) and row["judged"]["p"] is not None for row in rows.values())
    return "\n".join(
        [
            "# What the one command brings",
            "",
            *lines,
            "",
            "AP on the test images: mean ± standard deviation over the seeds, or the only one. The",
            "gain is over the better of the two students alone, for each seed by itself; p is",
            f"Student's t, {judged} gains judged. Empty cells were not run.",
            "",
            f"Made by `{command}`.",
            "",
        ]
    )


def _cell(values: list[float], sign: str = "") -> str:
    if not values:
        return ""
    mean, deviation = spread(values)
    text = f"{mean:{sign}.1f}"
    return text if len(values) == 1 else f"{text} ± {deviation:.1f}"
