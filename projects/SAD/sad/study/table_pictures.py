"""Pictures of the tables: what was measured beside the paper's numbers."""

import statistics
import textwrap

from matplotlib.figure import Figure

from ..utils.drawing import INK, PALE, RUN_COLORS
from .tables import claim_cells, claims_note, summary


def table_picture(content: dict, benchmark: str) -> Figure:
    """Each row's AP: the seeds as dots, their mean as a line, the paper's number beside.

    Below them the claims and how they were judged.
    """
    rows, claims = content["rows"], [claim_line(claim) for claim in content["claims"]]
    if claims:
        claims += textwrap.wrap(claims_note(content["claims"]), 150)
    height = 1.6 + 0.36 * len(rows) + 0.19 * len(claims)
    figure = Figure(figsize=(11, height), dpi=100, facecolor="white", layout="constrained")
    of_paper = any(row["paper"] for row in rows)
    here, *paper = figure.subplots(1, 1 + of_paper, sharey=True, squeeze=False)[0]
    for number, row in enumerate(rows):
        values = [result["AP"] for result in row["results"].values()]
        if values:
            here.plot(values, [number] * len(values), "o", color=RUN_COLORS[2], alpha=0.55, ms=6)
            mean = statistics.mean(values)
            here.plot([mean, mean], [number - 0.33, number + 0.33], color=INK, lw=2)
        else:
            here.text(
                0.5, number, "not run here", color=PALE, fontsize=8, va="center", ha="center",
                transform=here.get_yaxis_transform(),
            )  # fmt: skip
        if row["paper"]:
            paper[0].plot(row["paper"][0], number, "D", color=RUN_COLORS[1], ms=7)
    here.set_yticks(range(len(rows)), [row["name"] for row in rows])
    here.set_ylim(len(rows) - 0.4, -0.6)
    here.set_xlabel(f"AP on {benchmark}, here: seeds and their mean")
    for axes in paper:
        axes.set_xlabel("AP on COCO, in the paper")
    for axes in (here, *paper):
        axes.grid(axis="x", color="#E5E5E5")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    if claims:
        figure.supxlabel("\n".join(claims), x=0.02, ha="left", fontsize=9, color=INK)
    figure.suptitle(content["title"], x=0.02, ha="left", fontsize=12, color=INK)
    return figure


def claim_line(claim: dict) -> str:
    text, _, mean, p, corrected, verdict = claim_cells(claim)
    if p:
        return f"{verdict}: {text} ({mean}, p {p}, Holm's {corrected})"
    return f"{verdict or 'not run here'}: {text}"


def cost_picture(content: dict) -> Figure:
    """AP over ms per image and over GFLOPs here, and over ms in the paper."""
    figure = Figure(figsize=(13, 4.6), dpi=100, facecolor="white", layout="constrained")
    here, flops, paper = figure.subplots(1, 3)
    for number, row in enumerate(content["rows"]):
        color = RUN_COLORS[number % len(RUN_COLORS)]
        cost = content["cost"]["rows"].get(row["name"])
        if row["results"] and cost:
            ap = summary(row["results"])["AP"][0]
            _point(here, cost["ms"], ap, row["name"], color)
            _point(flops, cost["gflops"], ap, row["name"], color)
        if row["paper"]:
            _point(paper, row["paper"][1], row["paper"][0], row["name"], color)
    for axes, title, label in (
        (here, "here", "ms per image"),
        (flops, "here", "GFLOPs"),
        (paper, "in the paper, COCO test-dev", "ms per image"),
    ):
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(label)
        axes.set_ylabel("AP")
        axes.margins(0.25)
        axes.grid(color="#E5E5E5")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(content["title"], x=0.02, ha="left", fontsize=12, color=INK)
    return figure


def _point(axes, x, y, name, color) -> None:
    axes.plot(x, y, "o", color=color, ms=8)
    axes.annotate(name, (x, y), xytext=(6, 6), textcoords="offset points", fontsize=8, color=INK)


def curve_picture(content: dict) -> Figure:
    figure = Figure(figsize=(8, 4.6), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots()
    for number, (name, curve) in enumerate(content["curves"].items()):
        points = {share: summary(found)["AP"] for share, found in curve.items() if found}
        if points:
            means, deviations = zip(*points.values(), strict=True)
            shares = [100 * share for share in points]
            axes.errorbar(
                shares,
                means,
                deviations,
                color=RUN_COLORS[number],
                marker="o",
                capsize=3,
                label=name,
            )
    axes.set_xscale("log")
    axes.set_xticks([100 * share for share in next(iter(content["curves"].values()))])
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.minorticks_off()
    axes.set_xlabel("share of the labels")
    axes.set_ylabel("AP, mean and standard deviation of the seeds")
    axes.grid(color="#E5E5E5")
    axes.spines[["top", "right"]].set_visible(False)
    if axes.has_data():
        axes.legend(frameon=False)
    figure.suptitle(content["title"], x=0.02, ha="left", fontsize=12, color=INK)
    return figure


def imbalance_picture(content: dict) -> Figure:
    """Gain over the student alone against the easy terms per foreground anchor."""
    figure = Figure(figsize=(9, 4.8), dpi=100, facecolor="white", layout="constrained")
    axes = figure.subplots()
    gains, ticks = {}, {}
    for name, entry in content["benchmarks"].items():
        if not entry["terms"] or "student alone" not in entry["arms"]:
            continue
        x = entry["terms"]["easy_per_foreground"]
        ticks[x] = f"{x:,.0f}\n{name}"
        plain = max(entry["arms"]["student alone"].values())
        for arm, by_weight in entry["arms"].items():
            gains.setdefault(arm, {})[x] = max(by_weight.values()) - plain
    for number, (arm, points) in enumerate(gains.items()):
        axes.plot(
            list(points), list(points.values()), marker="o", color=RUN_COLORS[number], label=arm
        )
    axes.set_xscale("log")
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    axes.set_xlabel("easy terms per foreground anchor")
    axes.set_ylabel("AP over the student alone, best weight")
    axes.grid(color="#E5E5E5")
    axes.spines[["top", "right"]].set_visible(False)
    if gains:
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(content["title"], x=0.02, ha="left", fontsize=12, color=INK)
    return figure
