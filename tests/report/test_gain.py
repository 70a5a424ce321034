"""What was gained, from real (toy) runs whose detections are chosen: verdicts, shares, advice."""

import json
import shutil

import pytest

from sad.report.gain import (
    DID_NOT_HELP,
    HELPED,
    SAME,
    UNKNOWN,
    Roles,
    judge,
    measure_gain,
    say_gap,
    say_use,
    say_verdict,
)
from sad.report.runs import read_runs
from sad.utils.errors import UserError

DETECTIONS = "inference/toy_labeled/coco_instances_results.json"


@pytest.fixture
def arms(runs, toy, tmp_path):
    """A function: {name: share of the objects that it finds} -> runs, all of one network."""
    objects = toy.json("labeled.json")["annotations"]
    sure = {"score": 0.9}

    def make(shares: dict):
        for name, share in shares.items():
            folder = shutil.copytree(runs / "student", tmp_path / name)
            # The dark one of each image comes second: of some images all are found, of some half.
            found = [o | sure for n, o in enumerate(objects) if n % 2 == 0 or n < 2 * share]
            found = found if share else []
            (folder / DETECTIONS).write_text(json.dumps(found))
        pairs = [(name, str(tmp_path / name)) for name in shares]
        return read_runs(pairs, test_set="toy_labeled")

    return make


def aps(runs):
    return {run.name: run.accuracy["AP"] for run in runs}


@pytest.mark.slow
def test_a_gain_over_the_better_of_two_baselines(arms):
    runs = arms({"alone": 0, "longer": 1, "SAD": 6, "teacher": 6})
    ap = aps(runs)
    assert ap["alone"] == 0 and 50 < ap["longer"] < 70 and ap["SAD"] == pytest.approx(100)
    gain = measure_gain(runs, Roles("SAD", ("alone", "longer"), "teacher"))
    assert (gain["distilled"], gain["baseline"], gain["teacher"]) == ("SAD", "longer", "teacher")
    assert [pair["to"] for pair in gain["differences"]] == ["alone", "longer", "teacher"]
    over_alone, over_longer, over_teacher = (pair["AP"] for pair in gain["differences"])
    assert over_alone == pytest.approx({"difference": 100, "low": 100, "high": 100})
    assert over_longer["difference"] == pytest.approx(100 - ap["longer"])
    assert 0 < over_longer["low"] < over_longer["difference"]
    assert over_teacher == {"difference": 0, "low": 0, "high": 0}
    assert gain["verdict"] == HELPED and gain["use"] == "SAD" and not gain["no_interval"]
    assert (gain["gap"], gain["share_of_gap"]) == pytest.approx((100 - ap["longer"], 1))
    assert "reaches" in say_gap(gain, ap)
    sentence = say_verdict(gain, ap)
    assert f"{100 - ap['longer']:.1f} points more than “longer”" in sentence
    assert f"{over_longer['low']:+.1f} to {over_longer['high']:+.1f}" in sentence
    assert json.loads(json.dumps(gain)) == gain


def test_a_loss_and_no_difference(arms):
    runs = arms({"alone": 6, "SAD": 1, "again": 1})
    lost = measure_gain(runs, Roles("SAD", ("alone",)))
    assert lost["verdict"] == DID_NOT_HELP and lost["use"] == "alone"
    assert lost["differences"][0]["AP"]["high"] < 0
    assert (lost["teacher"], lost["gap"], lost["share_of_gap"]) == (None, None, None)
    assert say_gap(lost, aps(runs)) == "" and "“alone”" in say_use(lost)
    same = measure_gain(runs, Roles("SAD", ("again",), "alone"))
    assert same["verdict"] == SAME and same["use"] == "again"
    assert same["share_of_gap"] == 0


def test_a_seed_is_kept(arms):
    runs = arms({"alone": 2, "SAD": 4})
    of_seed = [measure_gain(runs, Roles("SAD", ("alone",)), seed=seed) for seed in (3, 3, 4)]
    assert of_seed[0] == of_seed[1] and of_seed[0]["differences"] != of_seed[2]["differences"]


def test_shares_of_the_gap(arms):
    runs = arms({"alone": 1, "SAD": 3, "teacher": 5, "poor": 1})
    ap = aps(runs)
    assert ap["alone"] < ap["SAD"] < ap["teacher"]
    gain = measure_gain(runs, Roles("SAD", ("alone",), "teacher"))
    share = (ap["SAD"] - ap["alone"]) / (ap["teacher"] - ap["alone"])
    assert gain["share_of_gap"] == pytest.approx(share)
    assert f" {100 * share:.0f} %" in say_gap(gain, ap)
    poor = measure_gain(runs, Roles("SAD", ("alone",), "poor"))
    assert poor["gap"] == 0 and poor["share_of_gap"] is None
    assert "little to learn" in say_gap(poor, ap)


def test_without_detections_there_is_a_difference_but_no_interval(runs, student, tmp_path):
    def gain_of(distilled):
        found = read_runs([("alone", str(runs / "student")), ("SAD", str(distilled))])
        return measure_gain(found, Roles("SAD", ("alone",))), aps(found)

    last = json.loads((student / "metrics.json").read_text().splitlines()[-1])
    gain, _ = gain_of(student)
    assert gain["verdict"] == SAME  # as it is, and its copy
    with open(student / "metrics.json", "a") as file:  # evaluated later, by other weights
        file.write(json.dumps(last | {"bbox/AP": last["bbox/AP"] + 5}) + "\n")
    gain, ap = gain_of(student)
    assert gain["verdict"] == UNKNOWN and gain["use"] == "SAD"
    assert f"{student / DETECTIONS} have AP {last['bbox/AP']:.2f}" in gain["no_interval"]
    (student / DETECTIONS).unlink()
    gain, ap = gain_of(student)
    assert gain["differences"][0]["AP"] == {"difference": 5, "low": None, "high": None}
    assert gain["no_interval"] == f"{student / DETECTIONS} does not exist"
    assert gain["no_interval"] in say_verdict(gain, ap)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 3, HELPED),
        (0, 3, SAME),
        (-1, 2, SAME),
        (0, 0, SAME),
        (-3, 0, SAME),
        (-3, -0.1, DID_NOT_HELP),
        (None, None, UNKNOWN),
    ],
)
def test_the_interval_decides(low, high, verdict):
    assert judge({"difference": 1, "low": low, "high": high}) == verdict


@pytest.mark.parametrize(
    ("roles", "sentence"),
    [
        (Roles("", ("a",)), "give both"),
        (Roles("a", ()), "give both"),
        (Roles("d", ("a",)), "--distilled 'd' is none of the runs.*a, b, c"),
        (Roles("a", ("b", "d")), "--baseline 'd' is none"),
        (Roles("a", ("b",), "d"), "--teacher 'd' is none"),
        (Roles("a", ("a",)), "different runs"),
        (Roles("a", ("b", "b")), "different runs"),
        (Roles("a", ("b",), "b"), "different runs"),
    ],
)
def test_roles_that_are_none(roles, sentence):
    with pytest.raises(UserError, match=sentence):
        roles.check(["a", "b", "c"])


def test_roles_of_runs():
    Roles("a", ("b", "c"), "d").check(["a", "b", "c", "d", "e"])
