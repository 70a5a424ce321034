"""The images most worth labelling: uncertain, and unlike each other."""

import csv

import numpy as np
import pytest

from sad.calibration.to_label import (
    choose_spread,
    describe,
    expected_errors,
    fit_chance,
    uncertainty,
    write_list,
)


def test_chance_follows_the_scores():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.01, 0.99, 4000)
    right = rng.uniform(size=4000) < scores
    chance = fit_chance(scores, right)
    assert chance(np.array([0.2, 0.5, 0.8])) == pytest.approx([0.2, 0.5, 0.8], abs=0.04)
    same = fit_chance(scores[:8], np.ones(8, bool))
    assert same(np.array([0.1, 0.9])) == pytest.approx([0.9, 0.9])


def test_expected_errors():
    images, chances = np.array([0, 0, 2]), np.array([0.9, 0.4, 0.5])
    errors = expected_errors(images, chances, np.array([True, False, True]), 3)
    assert errors.wrong == pytest.approx([0.1, 0, 0.5])
    assert errors.missed == pytest.approx([0.4, 0, 0])
    assert errors.objects == pytest.approx([1.3, 0, 0.5])
    assert uncertainty(errors) == pytest.approx([0.5 / 2.3, 0, 0.5 / 1.5])


def test_the_chosen_are_spread():
    values = np.array([1.0, 0.99, 0.98, 0.5, 0.01])
    features = np.array([[0.0, 0], [0, 0.01], [0.01, 0], [5, 5], [-9, 9]])
    assert choose_spread(values, features, 2).tolist() == [0, 3]
    assert sorted(choose_spread(values, features, 9).tolist()) == [0, 1, 2, 3, 4]
    assert choose_spread(np.ones(3), np.zeros((3, 2)), 2).tolist() == [0, 1]


def test_list(tmp_path):
    errors = expected_errors(np.array([0]), np.array([0.25]), np.array([True]), 1)
    proposals = describe(np.array([0]), [{"file_name": 'a "b", c.png'}], errors)
    write_list(str(tmp_path / "list.csv"), proposals)
    with open(tmp_path / "list.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["file_name"] == 'a "b", c.png' and float(row["wrong"]) == 0.75
