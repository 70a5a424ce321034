"""What distillation has gained, how sure that is, and which weights to use."""

from dataclasses import dataclass

from detectron2.data import MetadataCatalog

from ..evaluation.bootstrap import CONFIDENCE, paired_bootstrap
from ..utils.errors import UserError
from .runs import Run

RESAMPLES = 1000
# Points of AP from where on a teacher is better enough than a student for shares of the gap to mean
# something.
GAP = 1.0

HELPED, SAME, DID_NOT_HELP, UNKNOWN = "helped", "no difference", "did not help", "not known"


@dataclass(frozen=True)
class Roles:
    """Which run is what, by name."""

    distilled: str
    baselines: tuple[str, ...]  # the student alone, trained in one or several ways
    teacher: str = ""

    def check(self, names: list[str]) -> None:
        """
        Args:
            names: of the runs.
        Raises:
            UserError: a name is not one of the runs, stands for two roles, or none is a baseline.
        """
        if not (self.distilled and self.baselines):
            raise UserError("a gain is that of --distilled NAME over --baseline NAME: give both")
        given = [("--distilled", self.distilled)] + [("--baseline", b) for b in self.baselines]
        given += [("--teacher", self.teacher)] if self.teacher else []
        for flag, name in given:
            if name not in names:
                raise UserError(
                    f"{flag} {name!r} is none of the runs: it must be one of {', '.join(names)}"
                )
        if len({name for _, name in given}) < len(given):
            raise UserError("--distilled, --baseline and --teacher must name different runs")


def measure_gain(runs: list[Run], roles: Roles, *, seed: int = 0) -> dict:
    """The gain of the distilled student over the best of those alone, as report.json has it.

    Args:
        seed: of the bootstrap.
    Returns:
        "distilled", "baseline" (the one with the highest AP), "teacher" (or None): names;
        "differences": for each baseline and the teacher {"to": its name, "AP", "AP50"}, each of
        "difference", "low" and "high" in points of AP, the last two None without an interval;
        "resamples" and "seed" of the interval; "no_interval": why there is none, or "";
        "verdict": one of the constants above; "gap": AP of teacher less that of the baseline, or
        None; "share_of_gap": what the distilled student has closed of it, None where it is small;
        "use": name of the run whose weights to use.
    """
    by_name = {run.name: run for run in runs}
    ap = {run.name: run.accuracy["AP"] for run in runs}
    baseline = max(roles.baselines, key=ap.get)
    others = [*roles.baselines, *filter(None, [roles.teacher])]
    no_interval = ""
    try:
        differences = _with_intervals([by_name[roles.distilled], *map(by_name.get, others)], seed)
    except UserError as error:
        no_interval = str(error)
        differences = _without_intervals(by_name[roles.distilled], [by_name[o] for o in others])
    gain = next(d["AP"] for d in differences if d["to"] == baseline)
    gap = ap[roles.teacher] - ap[baseline] if roles.teacher else None
    verdict = judge(gain)
    helps = verdict == HELPED or (verdict != DID_NOT_HELP and gain["difference"] > 0)
    return {
        "distilled": roles.distilled,
        "baseline": baseline,
        "teacher": roles.teacher or None,
        "differences": differences,
        "resamples": RESAMPLES,
        "seed": seed,
        "no_interval": no_interval,
        "verdict": verdict,
        "gap": gap,
        "share_of_gap": gain["difference"] / gap if gap is not None and gap >= GAP else None,
        "use": roles.distilled if helps else baseline,
    }


def _with_intervals(runs: list[Run], seed: int) -> list[dict]:
    """Differences of the first run to the others.

    Raises:
        UserError: the detections of a run are absent, or not those that its figures are of.
    """
    for run in runs:
        run.require_detections()
    first, *others = [run.name for run in runs]
    found = paired_bootstrap(
        MetadataCatalog.get(runs[0].test_set).json_file,
        {run.name: run.detections_file for run in runs},
        [(first, other) for other in others],
        resamples=RESAMPLES,
        seed=seed,
    )
    for run in runs:
        run.check_same_ap(found["arms"][run.name]["AP"])
    return [
        {"to": other, **of_pair}
        for other, of_pair in zip(others, found["differences"], strict=True)
    ]


def _without_intervals(distilled: Run, others: list[Run]) -> list[dict]:
    return [
        {
            "to": other.name,
            **{
                metric: {
                    "difference": distilled.accuracy[metric] - other.accuracy[metric],
                    "low": None,
                    "high": None,
                }
                for metric in ("AP", "AP50")
            },
        }
        for other in others
    ]


def judge(gain: dict) -> str:
    """A verdict on a difference of AP and its interval."""
    if gain["low"] is None:
        return UNKNOWN
    if gain["low"] > 0:
        return HELPED
    return DID_NOT_HELP if gain["high"] < 0 else SAME


def relation(difference: float) -> str:
    """`13.1 points more than`"""
    size = f"{abs(difference):.1f}"
    if size == "0.0":
        return "as much as"
    unit = "point" if size == "1.0" else "points"
    return f"{size} {unit} {'more' if difference > 0 else 'less'} than"


def say_verdict(gain: dict, ap: dict[str, float]) -> str:
    """Whether distillation has helped, in words.

    Args:
        gain: see `measure_gain`.
        ap: name of a run -> its AP.
    """
    distilled, baseline = gain["distilled"], gain["baseline"]
    of_pair = next(d["AP"] for d in gain["differences"] if d["to"] == baseline)
    numbers = (
        f"“{distilled}” has AP {ap[distilled]:.1f}, {relation(of_pair['difference'])} “{baseline}” "
        f"with {ap[baseline]:.1f}"
    )
    if gain["verdict"] == UNKNOWN:
        return (
            f"{numbers}. Whether other test images would show the same is not known: "
            f"{gain['no_interval']}."
        )
    start = {
        HELPED: "Distillation helped",
        SAME: "The test images cannot tell whether distillation helped",
        DID_NOT_HELP: "Distillation did not help",
    }
    interval = f"{of_pair['low']:+.1f} to {of_pair['high']:+.1f}"
    return (
        f"{start[gain['verdict']]}: {numbers} ({CONFIDENCE} % interval of the difference over the "
        f"test images: {interval})."
    )


def say_gap(gain: dict, ap: dict[str, float]) -> str:
    """How much of what the teacher has ahead was handed on; "" without a teacher."""
    if not gain["teacher"]:
        return ""
    teacher, baseline = gain["teacher"], gain["baseline"]
    ahead = f"“{teacher}” has AP {ap[teacher]:.1f}"
    share = gain["share_of_gap"]
    if share is None:
        more = "hardly more" if gain["gap"] > 0 else "no more"
        return f"{ahead}, {more} than “{baseline}”: from such a teacher there is little to learn."
    if round(share, 2) >= 1:
        return f"{ahead}, and the distilled student reaches that."
    if share <= 0:
        return f"{ahead}. The distilled student has closed nothing of that gap."
    return f"{ahead}. The distilled student has closed {100 * share:.0f} % of the gap to it."


def say_use(gain: dict) -> str:
    """Which weights to use, and why."""
    use = f"Use “{gain['use']}”"
    if gain["verdict"] == HELPED:
        return f"{use}."
    if gain["verdict"] == DID_NOT_HELP:
        return f"{use}, the student alone."
    return f"{use}: nothing speaks against it so far. More test images would tell more."
