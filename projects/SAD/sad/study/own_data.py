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
BY_TIME = ("student alone, as long", "iterations")  # this setting follows the clock


def add_reports(rows: dict, groups: dict[str, Sequence[str]]) -> dict:
    """
    Args:
        rows: what is known already, as this function returns it.
        groups: {row of the table: folders with a report of `sad distill`, or of `sad report` on
            some of its runs}.
    Returns:
        {row: {seed, as text: {arm: {"AP", "minutes", "test_images", "settings"}}}}. An arm of a
        seed that is known already is replaced.
    Raises:
        UserError: a folder holds no such report, or an arm has other settings than with the row's
            other seeds.
    """
    found = {name: dict(row) for name, row in rows.items()}
    for name, folders in groups.items():
        row = found.setdefault(name, {})
        for folder in folders:
            path = os.path.join(folder, "report.json")
            seed, arms = _read(path)
            for known, others in row.items():
                if known != seed:
                    _check_alike(arms, others, f"{path} cannot be of the row {name!r}")
            row[seed] = row.get(seed, {}) | arms
    return {name: dict(sorted(row.items(), key=_number)) for name, row in found.items()}


def _number(item: tuple[str, dict]) -> int:
    return int(item[0])


def _read(path: str) -> tuple[str, dict]:
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist: let `sad distill` end there, or leave it out")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        report = json.loads(text)
        runs = list(zip(report["runs"], report["settings"]["runs"], strict=True))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no whole report ({error!r}): let it be made again") from error
    arms, seeds = {}, set()
    for run, settings in runs:
        arm = DISTILLED if run["name"] in NAMES else run["name"]
        if arm in ARMS:
            seeds.add(settings.pop("seed"))
            arms[arm] = {
                "AP": run["AP"],
                "minutes": run["minutes"],
                "test_images": report["test_images"],
                "settings": settings,
            }
    if len(seeds) != 1:
        raise UserError(
            f"{path} is not one of `sad distill`: none of its runs is called "
            f"{', '.join((*ARMS[:3], *NAMES))}, or they are of several seeds"
        )
    return str(seeds.pop()), arms


def _check_alike(arms: dict, others: dict, subject: str) -> None:
    for arm in (arm for arm in ARMS if arm in arms and arm in others):
        ours, theirs = (
            {"test images": x["test_images"], **x["settings"]} for x in (arms[arm], others[arm])
        )
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key) and (arm, key) != BY_TIME:
                raise UserError(
                    f"{subject}: its {arm} has {key} {ours.get(key)}, that of another seed has "
                    f"{theirs.get(key)}; the seeds of a row differ in --seed alone"
                )


def _complete(row: dict) -> dict[str, dict]:
    """The seeds with which all was run that was run with any."""
    every = set().union(*row.values())
    return {seed: arms for seed, arms in row.items() if arms.keys() == every}


def judge_rows(rows: dict) -> dict[str, dict | None]:
    """Of each row the claim that the distilled student is better than both that were trained
    alone, see `judge_family`; None where no student was trained alone.
    """
    return judge_family({name: _judge(row) for name, row in rows.items()})


def _judge(row: dict) -> dict | None:
    found = _complete(row)
    distilled = {seed: arms[DISTILLED] for seed, arms in found.items() if DISTILLED in arms}
    alone = {
        seed: {"AP": max(arms[arm]["AP"] for arm in BASELINES if arm in arms)}
        for seed, arms in found.items()
        if arms.keys() & set(BASELINES)
    }
    results = {"distilled": distilled, "alone": alone}
    return judge({"more": "distilled", "less": "alone"}, results)


def markdown(rows: dict) -> str:
    """The table, with what is to be known about it."""
    head = ["data and teacher", *ARMS, "gain", "p, after Holm", "seeds", "minutes in all"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    judged = judge_rows(rows)
    for name, row in rows.items():
        found = list(_complete(row).values())
        cells = [_cell([arms[arm]["AP"] for arms in found if arm in arms]) for arm in ARMS]
        of_row = judged[name] or {"differences": {}, "p": None}
        cells.append(_cell(list(of_row["differences"].values()), "+"))
        cells.append("" if of_row["p"] is None else f"{of_row['p']:.3f}, {of_row['holm']:.3f}")
        minutes = [sum(arm["minutes"] for arm in arms.values()) for arms in found]
        cells += [str(len(found)), f"{statistics.median(minutes):.0f}" if found else ""]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    gains = sum(bool(of_row) and of_row["p"] is not None for of_row in judged.values())
    return "\n".join(
        [
            "# What the one command brings",
            "",
            *lines,
            "",
            "AP on the test images: mean ± standard deviation over the seeds, or the only one. The",
            "gain is over the better of the two students alone, for each seed by itself; p is",
            f"Student's t, {gains} gains judged. Minutes of training are the median of the seeds.",
            "Empty cells were not run. Seeds with which only a part was run are in the json alone.",
            "",
            "Made by `python scripts/own_data_table.py`.",
            "",
        ]
    )


def _cell(values: list[float], sign: str = "") -> str:
    if not values:
        return ""
    mean, deviation = spread(values)
    text = f"{mean:{sign}.1f}"
    return text if len(values) == 1 else f"{text} ± {deviation:.1f}"
