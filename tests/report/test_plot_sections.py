"""Sections with plots: what they say, and what they leave out."""

import pytest

from report_made import picture, report
from sad.report.html import Filtered, Group, Notes, Pictures, Table, render
from sad.report.plot_sections import errors, seen, teaching, training


def tables(section) -> list[Table]:
    return [part for part in section.parts if isinstance(part, Table)]


def test_errors_of_the_runs_that_have_details():
    content = report()
    content["runs"][1]["details"] = None
    content["no_details"] = {"alone": "its file does not exist"}
    section = errors(content)
    assert "“alone” is left out: its file does not exist." in section.parts[0].notes[0].text
    (table,) = tables(section)
    assert [row[0] for row in table.rows] == ["teacher", "longer", "SAD"]
    row = dict(zip(table.head, table.rows[0], strict=True))
    found = content["runs"][0]["details"]["errors"]
    assert row["score from"] == "0.40" and row["F1"] == "0.33"
    assert (row["objects found"], row["found wrongly"]) == (found["found"], found["meant"])
    assert (row["wrong class"], row["background"]) == (found["class"], found["background"])
    assert row["missed"] == found["missed"]
    assert [len(p.pictures) for p in section.parts if isinstance(p, Pictures)] == [3, 1, 3]


def test_without_details_there_is_why_or_nothing():
    content = report()
    for run in content["runs"]:
        run["details"] = None
    assert errors(content) is None
    content["no_details"] = {"SAD": "it has none"}
    (only,) = errors(content).parts
    assert isinstance(only, Notes)


def test_objects_that_one_of_the_pair_finds(toy):
    content = report([picture(toy.root / "labeled" / "000001.png", gained=1)])
    section = seen(content)
    (table,) = tables(section)
    assert table.rows == [
        ["both", "5", "50.0%"],
        ["“SAD” alone", "3", "30.0%"],
        ["“alone” alone", "1", "10.0%"],
        ["neither", "1", "10.0%"],
    ]
    shown = section.parts[-1]
    assert isinstance(shown, Filtered) and [*shown.choices] == ["gained", "lost"]
    assert "“alone” wrong, “SAD” right" in shown.choices["gained"]
    content |= {"gain": None}
    content["pictures"]["agreement"] = None
    section = seen(content)
    assert not tables(section) and section.parts[-1].choices == {}


def test_training_has_ratios_where_there_are_any():
    assert len(training(report()).parts[0].pictures) == 3
    assert len(training(report(names=("a", "b"))).parts[0].pictures) == 2


@pytest.mark.parametrize("threshold", [0.4, {"light": 0.4, "dark": 0.5}])
def test_what_the_teacher_is_worth(threshold):
    content = report()
    labels = content["pseudo_labels"]["labels"]
    labels["threshold"] = threshold
    text = teaching(content, []).parts[0].text
    assert "1,234 pseudo-labels on 56 images" in text and ("0.40" in text) == (threshold == 0.4)
    labels["measured"] = {"precision": 0.75, "recall": 0.5}
    text = teaching(content, []).parts[0].text
    assert "75% are right" in text and "50% of the objects" in text
    labels["measured"] = {"precision": None, "recall": None}
    assert teaching(content, []).parts[0].text.endswith("more.")


def test_what_is_hard():
    content = report()
    shares = {"objects": 0.2, "uncertainty": None, "divergence": {"SAD": 0.6}}
    content["uncertainty"]["images"] = [{"name": "a.png", **shares}]
    section = teaching(content, [Group("a.png", [])])
    (table,) = tables(section)
    assert table.rows == [["a.png", "20%", None, "60%"]]
    assert teaching(content | {"pseudo_labels": None}, []) is None
    assert "a.png" in render("t", "l", [section])
