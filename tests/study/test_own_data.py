"""The table of what the one command reached, from made-up reports."""

import json

import pytest

from sad.study.own_data import ARMS, markdown, read_reports
from sad.utils.errors import UserError


def folder(path, aps):
    """
    Args:
        aps: of the arms of SAD in their order, or by their names.
    """
    path.mkdir()
    arms = (*ARMS[:3], "SAD student")
    named = aps if isinstance(aps, dict) else dict(zip(arms, aps, strict=False))
    runs = [{"name": arm, "AP": ap, "minutes": 10} for arm, ap in named.items()]
    (path / "report.json").write_text(json.dumps({"test_images": 7, "runs": runs}))
    return str(path)


def test_gains_over_the_better_student_of_each_seed(tmp_path):
    bins = [
        folder(tmp_path / "0", (34, 10, 12, 20)),
        folder(tmp_path / "1", (35, 13, 11, 23)),
        folder(tmp_path / "2", (33, 12, 12, 18)),
    ]
    cells = [folder(tmp_path / "3", (44, 40, 41, 40.5))]
    rows = read_reports({"bins": bins, "cells": cells})
    judged = rows["bins"]["judged"]
    assert list(judged["differences"].values()) == [8, 10, 6]
    # t = 8 / (2 / sqrt(3)) with two degrees of freedom
    assert judged["p"] == pytest.approx(0.0202, abs=1e-4) and judged["holm"] == judged["p"]
    judged = rows["cells"]["judged"]
    assert list(judged["differences"].values()) == [-0.5] and judged["p"] is None
    text = markdown(rows, "make it")
    assert "| bins | 34.0 ± 1.0 | 11.7 ± 1.5 | 11.7 ± 0.6 | 20.3 ± 2.5 | +8.0 ± 2.0 |" in text
    assert "| cells | 44.0 | 40.0 | 41.0 | 40.5 | -0.5 |" in text
    assert "`make it`" in text


def test_a_row_without_baselines(tmp_path):
    small = folder(tmp_path / "small", {"teacher": 20, "SAD student": 15})
    of_two_stages = folder(tmp_path / "two", {"teacher": 21, "TAR student": 16})
    rows = read_reports({"small": [small], "two stages": [of_two_stages]})
    assert "| two stages | 21.0 |  |  | 16.0 |  |  | 20 |" in markdown(rows, "make it")
    assert rows["small"]["judged"] is None
    assert "| small | 20.0 |  |  | 15.0 |  |  | 20 |" in markdown(rows, "make it")
    with pytest.raises(UserError, match="student alone"):
        read_reports({"bins": [small, folder(tmp_path / "other", (34, 10, 12, 20))]})


def test_folders_that_will_not_do(tmp_path):
    with pytest.raises(UserError, match="report.json does not exist"):
        read_reports({"bins": [str(tmp_path)]})
    with pytest.raises(UserError, match="no SAD student or TAR student"):
        read_reports({"bins": [folder(tmp_path / "0", (34,))]})
