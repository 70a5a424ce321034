"""The table of what the one command reached, from made-up reports."""

import json

import pytest

from sad.study.own_data import ARMS, add_reports, judge_rows, markdown
from sad.utils.errors import UserError


def folder(path, seed, aps, **settings):
    """
    Args:
        aps: of the arms of SAD in their order, or by their names.
    """
    path.mkdir(exist_ok=True)
    arms = (*ARMS[:3], "SAD student")
    named = aps if isinstance(aps, dict) else dict(zip(arms, aps, strict=False))
    runs = [{"name": arm, "AP": ap, "minutes": 10} for arm, ap in named.items()]
    told = [{"seed": seed, "iterations": 100, **settings} for _ in runs]
    report = {"test_images": 7, "runs": runs, "settings": {"runs": told}}
    (path / "report.json").write_text(json.dumps(report))
    return str(path)


def test_gains_over_the_better_student_of_each_seed(tmp_path):
    bins = [
        folder(tmp_path / "0", 0, (34, 10, 12, 20)),
        folder(tmp_path / "1", 1, (35, 13, 11, 23)),
        folder(tmp_path / "2", 2, (33, 12, 12, 18)),
    ]
    cells = [folder(tmp_path / "3", 0, (44, 40, 41, 40.5))]
    rows = add_reports({}, {"bins": bins, "cells": cells})
    judged = judge_rows(rows)
    assert list(judged["bins"]["differences"].values()) == [8, 10, 6]
    # t = 8 / (2 / sqrt(3)) with two degrees of freedom
    assert judged["bins"]["p"] == pytest.approx(0.0202, abs=1e-4)
    assert judged["bins"]["holm"] == judged["bins"]["p"]
    assert list(judged["cells"]["differences"].values()) == [-0.5] and judged["cells"]["p"] is None
    text = markdown(rows)
    assert "| bins | 34.0 ± 1.0 | 11.7 ± 1.5 | 11.7 ± 0.6 | 20.3 ± 2.5 | +8.0 ± 2.0 |" in text
    assert "| cells | 44.0 | 40.0 | 41.0 | 40.5 | -0.5 |" in text


def test_what_is_known_stays_and_is_replaced_seed_by_seed(tmp_path):
    ten, two = (folder(tmp_path / str(seed), seed, (34, 10, 12, 20)) for seed in (10, 2))
    rows = add_reports({}, {"bins": [ten], "cells": [ten]})
    again = add_reports(json.loads(json.dumps(rows)), {"bins": [two]})
    assert list(again["bins"]) == ["2", "10"] and again["cells"] == rows["cells"]
    folder(tmp_path / "2", 2, (34, 10, 12, 21))
    assert add_reports(again, {"bins": [two]})["bins"]["2"]["distilled student"]["AP"] == 21


def test_a_row_without_baselines(tmp_path):
    small = folder(tmp_path / "small", 0, {"teacher": 20, "SAD student": 15})
    of_two_stages = folder(tmp_path / "two", 0, {"teacher": 21, "TAR student": 16})
    rows = add_reports({}, {"small": [small], "two stages": [of_two_stages]})
    assert "| two stages | 21.0 |  |  | 16.0 |  |  | 1 | 20 |" in markdown(rows)
    assert judge_rows(rows)["small"] is None
    assert "| small | 20.0 |  |  | 15.0 |  |  | 1 | 20 |" in markdown(rows)


def test_a_seed_counts_when_all_of_it_was_run(tmp_path):
    arms = ARMS[0], ARMS[1], "SAD student"
    bins = [
        folder(tmp_path / str(seed), seed, dict(zip(arms, (34, 10, 20), strict=True)))
        for seed in range(3)
    ]
    longer = [
        folder(tmp_path / f"long {seed}", seed, {ARMS[2]: 12 + seed}, iterations=200 + seed)
        for seed in range(3)
    ]
    rows = add_reports({}, {"bins": [*bins[:2], folder(tmp_path / "part", 2, {"teacher": 30})]})
    assert "| 34.0 ± 0.0 | 10.0 ± 0.0 |  | 20.0 ± 0.0 | +10.0 ± 0.0 |  | 2 | 30 |" in markdown(rows)
    rows = add_reports(rows, {"bins": [*bins[2:], *longer[:2]]})
    assert list(judge_rows(rows)["bins"]["differences"].values()) == [8, 7]
    rows = add_reports(rows, {"bins": longer[2:]})
    assert list(judge_rows(rows)["bins"]["differences"].values()) == [8, 7, 6]
    parts = [folder(tmp_path / "a", 0, {"teacher": 3}), folder(tmp_path / "b", 1, {ARMS[1]: 3})]
    assert "| cells |  |  |  |  |  |  | 0 |  |" in markdown(add_reports({}, {"cells": parts}))


def test_seeds_of_a_row_differ_in_nothing_else(tmp_path):
    first = folder(tmp_path / "0", 0, (34, 10, 12, 20))
    longer = folder(tmp_path / "1", 1, (34, 10, 12, 20), iterations=200)
    with pytest.raises(UserError, match="teacher has iterations 200"):
        add_reports({}, {"bins": [first, longer]})


def test_the_length_by_the_clock_may_differ(tmp_path):
    paths = [folder(tmp_path / str(seed), seed, (34, 10, 12, 20)) for seed in (0, 1)]
    report = json.loads((tmp_path / "1" / "report.json").read_text())
    report["settings"]["runs"][2]["iterations"] += 1
    (tmp_path / "1" / "report.json").write_text(json.dumps(report))
    assert len(add_reports({}, {"bins": paths})["bins"]) == 2


def test_folders_that_will_not_do(tmp_path):
    with pytest.raises(UserError, match="report.json does not exist"):
        add_reports({}, {"bins": [str(tmp_path)]})
    for number, text in enumerate(("{", "{}", "[]")):
        broken = tmp_path / f"broken_{number}"
        broken.mkdir()
        (broken / "report.json").write_text(text)
        with pytest.raises(UserError, match="no whole report"):
            add_reports({}, {"bins": [str(broken)]})
    with pytest.raises(UserError, match="not one of `sad distill`"):
        add_reports({}, {"bins": [folder(tmp_path / "0", 0, {"mine": 34})]})
