"""Images to label: chances by score, expected errors, and how the list is spread."""

import csv

import numpy as np
import pytest
from scipy.special import expit, logit

from sad.calibration.to_label import (
    Errors,
    choose_spread,
    describe,
    expected_errors,
    fit_chance,
    uncertainty,
    write_list,
)


def test_chances_are_frequencies():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 20_000)
    chances = expit(0.5 * logit(scores) - 1)
    chance = fit_chance(scores, rng.random(20_000) < chances)
    assert np.abs(chance(scores) - chances).max() < 0.03
    assert np.isfinite(chance(np.array([0.0, 1.0]))).all()


def test_chances_of_one_kind_or_none():
    all_right = fit_chance(np.array([0.5, 0.7]), np.array([True, True]))
    assert all_right(np.zeros(2)).tolist() == [0.75, 0.75]
    assert fit_chance(np.empty(0), np.empty(0, bool))(np.zeros(1)).tolist() == [0.5]


def test_expected_errors_by_hand():
    images = np.array([0, 0, 2, 2, 2])
    chances = np.array([0.9, 0.4, 0.2, 0.5, 0.1])
    kept = np.array([True, False, True, True, False])
    errors = expected_errors(images, chances, kept, 4)
    assert errors.wrong == pytest.approx([0.1, 0, 1.3, 0])
    assert errors.missed == pytest.approx([0.4, 0, 0.1, 0])
    assert errors.objects == pytest.approx([1.3, 0, 0.8, 0])
    assert uncertainty(errors) == pytest.approx([0.5 / 2.3, 0, 1.4 / 1.8, 0])


def test_crowded_images_do_not_always_win():
    crowded, doubtful = (np.full(30, 0.8), np.full(2, 0.5))
    chances = np.concatenate([crowded, doubtful])
    images = np.repeat([0, 1], [30, 2])
    errors = expected_errors(images, chances, np.ones(32, bool), 2)
    assert errors.wrong[0] > errors.wrong[1]
    assert np.argmax(uncertainty(errors)) == 1


def test_spread_by_plain_loops():
    rng = np.random.default_rng(0)
    values, features = rng.uniform(0.1, 1, 30), rng.normal(size=(30, 3)) * [1, 10, 0]
    chosen = choose_spread(values, features, 5)
    points = features / [features[:, 0].std(), features[:, 1].std(), 1]
    expected = [int(np.argmax(values))]
    while len(expected) < 5:
        left = [i for i in range(30) if i not in expected]

        def gain(i):
            return values[i] * min(np.linalg.norm(points[i] - points[j]) for j in expected)

        expected.append(max(left, key=gain))
    assert chosen.tolist() == expected


def test_copies_come_last():
    features = np.array([[0.0], [0.0], [0.0], [1.0], [5.0]])
    values = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    assert set(choose_spread(values, features, 3).tolist()) == {0, 3, 4}
    everything = choose_spread(values, features, 50).tolist()
    assert sorted(everything) == [0, 1, 2, 3, 4]


def test_only_uncertain_images_are_chosen_from():
    """The 11th of 11 images is the most different, and too certain for a list of one or two."""
    values = np.array([*np.linspace(0.9, 0.5, 20), 0.001])
    features = np.array([*np.zeros(20), 1000.0])[:, None]
    assert 20 not in choose_spread(values, features, 2)


def test_list(tmp_path):
    errors = Errors(np.array([1.0, 0]), np.array([0.5, 0]), np.array([2.0, 0]))
    images = [{"file_name": 'ä, "b".jpg'}, {"file_name": "c.jpg"}]
    proposals = describe(np.array([0, 1]), images, errors)
    assert proposals[0]["uncertainty"] == 0.5 and proposals[1]["uncertainty"] == 0
    write_list(str(tmp_path / "to_label.csv"), proposals)
    with open(tmp_path / "to_label.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == ['ä, "b".jpg', "c.jpg"]
    assert "1.0 wrong" in rows[0]["reason"] and "0.5 missed" in rows[0]["reason"]
    assert float(rows[0]["uncertainty"]) == 0.5
