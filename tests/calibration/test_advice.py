"""Which targets follow from a gap, a precision and numbers of images."""

import pytest

from sad.calibration.advice import CASES, CLOSE, SETTINGS, advise
from sad.calibration.page import TARGETS
from toy import REPOSITORY


@pytest.mark.parametrize(
    ("teacher", "student", "precision", "targets"),
    [
        (0.0, None, 0.9, "stop"),
        (4.9, 4.0, 0.9, "stop"),
        (40.0, 38.0, 0.1, "soft targets"),
        (40.0, None, 0.1, "soft targets"),
        (40.0, None, 0.6, "both"),
        (40.0, 10.0, 0.6, "both"),
        (40.0, 36.0, 0.6, "pseudo-labels"),
        (40.0, 45.0, 0.6, "stop"),
        (40.0, 45.0, 0.1, "stop"),
        (40.0, 0.0, 0.6, "both"),
    ],
)
def test_targets(teacher, student, precision, targets):
    advised, lines = advise(teacher, student, precision, 100, 1000)
    assert advised == targets and targets in SETTINGS
    assert all(line.text and line.evidence for line in lines)
    assert {line.level for line in lines} <= {"good", "info", "warning"}
    assert (lines[0].level == "warning") == (targets == "stop")


@pytest.mark.parametrize(
    ("teacher", "student", "precision", "targets"),
    [
        (4.9, 4.0, 0.9, "stop"),
        (40.0, 38.0, 0.1, "labelled images"),
        (40.0, None, 0.6, "both"),
        (40.0, 36.0, 0.6, "pseudo-labels"),
    ],
)
def test_soft_targets_alone_are_never_advised_to_a_faster_rcnn(
    teacher, student, precision, targets
):
    advised, lines = advise(teacher, student, precision, 100, 1000, needs_hard_targets=True)
    assert advised == targets and targets in SETTINGS and targets in TARGETS
    assert all(line.text and line.evidence for line in lines)


def test_the_rules_take_the_best_of_our_measured_cases():
    """Not of the paper's: there both are the best, by 1.1 AP at most for a close student."""
    for case in CASES:
        targets, _ = advise(case.teacher, case.student, 0.7, 100, 1000)
        best = max((getattr(case, name) or 0, name) for name in ("hard", "soft", "both"))
        ours = {"pseudo-labels": "hard", "both": "both"}[targets]
        close = case.student / case.teacher >= CLOSE
        assert ours == ("hard" if close else "both")
        if case.name.startswith("paper"):
            assert best[0] - getattr(case, ours) <= 1.11
        elif "FCOS" in case.name:
            assert best[0] - getattr(case, ours) <= 0.41
        else:
            assert ours == best[1]


def test_cases_are_those_of_the_tables():
    tables = {
        number: (REPOSITORY / "docs" / "tables" / f"digits_table{number}.md").read_text()
        for number in (3, 6)
    }
    for case in CASES:
        if case.name.startswith("digit"):
            table = tables[6 if "FCOS" in case.name else 3]
            assert all(f"| {value:.1f} ± " in table for value in case[2:] if value is not None)
    assert (
        f"| {CASES[2].teacher:.1f} ± "
        in (REPOSITORY / "docs" / "tables" / "digits_table4.md").read_text()
    )


def test_few_unlabelled_images_are_said():
    levels = [advise(40, 20, 0.8, 100, number)[1][-1].level for number in (10, 1000)]
    assert levels == ["warning", "info"]
