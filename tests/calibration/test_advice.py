"""Which targets are advised, case by case."""

import pytest

from sad.calibration.advice import CASES, SETTINGS, advise


@pytest.mark.parametrize(
    ("teacher", "student", "precision", "targets"),
    [
        (2.0, 1.0, 0.9, "stop"),
        (40.0, 38.0, 0.1, "soft targets"),
        (40.0, 38.0, 0.8, "pseudo-labels"),
        (40.0, 10.0, 0.8, "both"),
        (40.0, None, 0.8, "both"),
        (40.0, 0.0, 0.8, "both"),
    ],
)
def test_advice(teacher, student, precision, targets):
    found, lines = advise(teacher, student, precision, 100, 900)
    assert found == targets and found in SETTINGS
    assert all(
        line.text and line.evidence and line.level in ("good", "info", "warning") for line in lines
    )


def test_few_unlabelled_images_are_warned_of():
    few = advise(40.0, 10.0, 0.8, 100, 50)[1][-1]
    many = advise(40.0, 10.0, 0.8, 100, 500)[1][-1]
    assert (few.level, many.level) == ("warning", "info")


def test_settings_are_keys_of_the_config():
    from sad.config.defaults import defaults

    for settings in SETTINGS.values():
        assert set(settings or {}) <= set(defaults())


def test_the_evidence_bears_the_rule_out():
    """Of students that were trained in both ways, the far ones gain from soft targets."""
    for case in CASES:
        if case.student / case.teacher < 0.5:
            assert case.both > case.hard
