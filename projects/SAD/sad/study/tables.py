"""The paper's tables beside what was measured: statistics, markdown and pictures."""

import math
import statistics

import yaml
from scipy import stats

from ..evaluation.metrics_file import METRICS
from ..utils.errors import UserError

LEVEL = 0.05  # of significance


def read_tables(path: str) -> dict:
    """configs/tables.yaml, its tables by their names as text.

    Raises:
        UserError: a table or claim names a row that is not there.
    """
    with open(path, encoding="utf-8") as file:
        spec = yaml.safe_load(file)
    spec["tables"] = {str(name): table for name, table in spec["tables"].items()}
    named = {f"table {number}": table for number, table in spec["tables"].items()}
    named["labels"] = spec["labels"]
    rows = [row for table in named.values() for row in table["rows"]]
    rows += [row for claim in spec["claims"].values() for row in rows_of(claim)]
    for row in rows:
        if row not in spec["rows"]:
            raise UserError(f"{path} names the row {row}, which is not among its rows")
    for name, table in named.items():
        for claim in table["claims"]:
            if claim not in spec["claims"]:
                raise UserError(f"{path}: {name} names the claim {claim}, which is not there")
    return spec


def rows_of(claim: dict) -> list[str]:
    return [claim[side] for side in ("more", "less") if side in claim]


def summary(results: dict[int, dict]) -> dict:
    """Mean and standard deviation over the seeds of each metric: {"AP": (mean, sd), ...}.

    Args:
        results: seed -> {"AP", "AP50", "AP75"}
    """
    return {metric: spread([result[metric] for result in results.values()]) for metric in METRICS}


def spread(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation (0 for a single value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def judge(claim: dict, results: dict[str, dict[int, dict]]) -> dict | None:
    """What the seeds say of a claim: AP of `more` less AP of `less`, paired by seed.

    Without `less`, it is less the AP of the very teacher that taught `more`. "held" and
    "contradicted" are differences that the two-sided paired t-test tells from 0 at 5 %. Weaker is a
    sign that all seeds share and the test does not confirm; all else is "undecided".

    Args:
        claim: {"more", "less", "gains"}; with `gains` False it says that there is no gain, which a
            loss holds and a gain contradicts.
        results: row -> seed -> result; a row or seed that has not been run is left out.
    Returns:
        {"differences": {seed: AP}, "mean", "standard_error", "p", "verdict"}; p is None with fewer
        than three seeds in common, and the whole is None without any.
    """
    more = results.get(claim["more"], {})
    if "less" in claim:
        less = {seed: result["AP"] for seed, result in results.get(claim["less"], {}).items()}
    else:
        less = {s: result["teacher_AP"] for s, result in more.items() if "teacher_AP" in result}
    differences = {seed: more[seed]["AP"] - less[seed] for seed in more if seed in less}
    if not differences:
        return None
    values = list(differences.values())
    mean, deviation = spread(values)
    judged = {
        "differences": differences,
        "mean": mean,
        "standard_error": deviation / math.sqrt(len(values)),
    }
    if len(values) < 3:
        return {**judged, "p": None, "verdict": "fewer than three seeds"}
    p = float(stats.ttest_1samp(values, 0).pvalue)
    p = 1.0 if math.isnan(p) else p  # no difference in any seed
    claimed = values if claim.get("gains", True) else [-value for value in values]
    return {**judged, "p": p, "verdict": _verdict(claimed, p)}


def _verdict(claimed: list[float], p: float) -> str:
    """
    Args:
        claimed: differences that are above 0 if the claim is right.
    """
    if p < LEVEL:
        return "held" if statistics.mean(claimed) > 0 else "contradicted"
    if all(difference > 0 for difference in claimed):
        return "same sign in every seed"
    if all(difference < 0 for difference in claimed):
        return "other sign in every seed"
    return "undecided"


def holm(ps: list[float]) -> list[float]:
    """Each p after Holm's correction for all of them, in the order given."""
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = highest
    return corrected


def judge_family(judged: dict[object, dict | None]) -> dict[object, dict | None]:
    """Claims judged together.

    Args:
        judged: any key -> see `judge`
    Returns:
        The same with "holm", p after the correction for all claims that have one, and "family", how
        many those are.
    """
    ps = {key: entry["p"] for key, entry in judged.items() if entry and entry["p"] is not None}
    corrected = dict(zip(ps, holm(list(ps.values())), strict=True))
    return {
        key: entry and {**entry, "holm": corrected.get(key), "family": len(ps)}
        for key, entry in judged.items()
    }


def markdown(title: str, rows: list[dict], claims: list[dict], command: str) -> str:
    """The table and its claims.

    Args:
        rows: {"name", "config", "coco": config of the paper's own row, "paper": AP, AP50, AP75 or
            nothing, "results": seed -> result}
        claims: {"text", "judged": see `judge_family`}
    """
    lines = [
        f"# {title}",
        "",
        "| row | COCO config | the paper's AP / AP50 / AP75 | config | AP | AP50 | AP75 | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        paper = " / ".join(map(str, row["paper"])) or "none"
        cells = ["not run here", "", "", ""]
        if row["results"]:
            cells = [_plus_minus(*pair) for pair in summary(row["results"]).values()]
            cells.append(", ".join(f"{result['AP']:.1f}" for result in row["results"].values()))
        coco = f"`{row['coco']}`" if row["coco"] else ""
        start = f"| {row['name']} | {coco} | {paper} | `{row['config']}` |"
        lines.append(f"{start} {' | '.join(cells)} |")
    lines += ["", *claims_table(claims), "", f"Made by `{command}`.", ""]
    return "\n".join(lines)


def claims_table(claims: list[dict]) -> list[str]:
    if not claims:
        return []
    return [
        "| claim | difference of AP by seed | mean ± standard error | p | Holm's p | verdict |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(claim_cells(claim))} |" for claim in claims),
        "",
        claims_note(claims),
    ]


def claims_note(claims: list[dict]) -> str:
    """How the claims were judged, and beside how many."""
    family = next((claim["judged"]["family"] for claim in claims if claim["judged"]), 0)
    return (
        "p: two-sided paired t-test over the seeds, without those in which two runs of one teacher "
        f"taught the two rows; held and contradicted: p < {100 * LEVEL:g} %. Holm's p: corrected "
        f"for the {family} claims judged together."
    )


def claim_cells(claim: dict) -> list[str]:
    """A claim's text, differences, mean ± standard error, p, Holm's p and the verdict."""
    text, judged = claim["text"], claim["judged"]
    if judged is None:
        return [text, "not run here", "", "", "", ""]
    each = ", ".join(f"{difference:+.1f}" for difference in judged["differences"].values())
    mean = f"{judged['mean']:+.1f}"
    if len(judged["differences"]) > 1:
        mean += f" ± {judged['standard_error']:.1f}"
    if judged["p"] is None:
        return [text, each, mean, "", "", judged["verdict"]]
    also = ", after Holm too" if judged["holm"] < LEVEL else ""
    p, corrected = f"{judged['p']:.3f}", f"{judged['holm']:.3f}"
    return [text, each, mean, p, corrected, judged["verdict"] + also]


def _plus_minus(mean: float, deviation: float) -> str:
    return f"{mean:.1f} ± {deviation:.1f}" if deviation else f"{mean:.1f}"


def cost_markdown(content: dict) -> str:
    """Table 5: accuracy against time."""
    lines = [
        f"# {content['title']}",
        "",
        "| row | config | paper AP (test-dev), ms | AP | parameters (M) | GFLOPs | ms per image |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in content["rows"]:
        cells = [_plus_minus(*summary(row["results"])["AP"]) if row["results"] else "not run here"]
        if cost := content["cost"]["rows"].get(row["name"]):
            cells += [f"{cost['parameters']:.2f}", f"{cost['gflops']:.3g}", f"{cost['ms']:.1f}"]
        cells += [""] * (4 - len(cells))
        paper = ", ".join(map(str, row["paper"]))
        lines.append(f"| {row['name']} | `{row['config']}` | {paper} | {' | '.join(cells)} |")
    if content["cost"]["rows"]:
        where = content["cost"]["machine"]
        lines += [
            "",
            "GFLOPs: 1e9 multiply-adds for one image. Time: median of 100 images, one at a time, "
            f"the models in turn; {where['device']}, {where['cpu']}, {where['torch_threads']} "
            f"threads, torch {where['torch']}.",
        ]
    return "\n".join([*lines, "", f"Made by `{content['command']}`.", ""])


def curve_markdown(content: dict) -> str:
    """AP of each model at each share of the labels, and the claims."""
    shares = list(next(iter(content["curves"].values())))
    lines = [
        f"# {content['title']}",
        "",
        f"| | {' | '.join(f'{share:.0%}' for share in shares)} |",
        f"|---|{'---|' * len(shares)}",
    ]
    for name, curve in content["curves"].items():
        cells = [
            _plus_minus(*summary(curve[share])["AP"]) if curve[share] else "not run here"
            for share in shares
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *claims_table(content["claims"])]
    return "\n".join([*lines, "", f"Made by `{content['command']}`.", ""])


def imbalance_markdown(content: dict) -> str:
    """Best AP of each loss on each benchmark, and the AP with each weight."""
    benchmarks = content["benchmarks"]
    arms = list(dict.fromkeys(arm for entry in benchmarks.values() for arm in entry["arms"]))
    lines = [
        f"# {content['title']}",
        "",
        f"| | {' | '.join(benchmarks)} |",
        f"|---|{'---|' * len(benchmarks)}",
    ]
    for what, key in (
        ("terms per image", "terms"),
        ("foreground anchors per image", "foreground"),
        ("easy terms per foreground anchor", "easy_per_foreground"),
    ):
        cells = [f"{e['terms'][key]:,.0f}" if e["terms"] else "" for e in benchmarks.values()]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    for arm in arms:
        cells = [_best(entry["arms"].get(arm, {})) for entry in benchmarks.values()]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    lines += [
        "",
        "The best AP over the weights, and in brackets the AP with each weight. "
        "One run of each: no difference is judged.",
    ]
    return "\n".join([*lines, "", f"Made by `{content['command']}`.", ""])


def _best(by_weight: dict) -> str:
    if not by_weight:
        return "not run here"
    best = f"{max(by_weight.values()):.1f}"
    if len(by_weight) == 1:
        return best
    return f"{best} ({', '.join(f'{weight:g}: {ap:.1f}' for weight, ap in by_weight.items())})"
