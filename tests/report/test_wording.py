"""Sentences of both pages."""

from report_made import report
from sad.report.wording import shown_detections, timing


def test_thresholds_of_all_runs_or_of_each():
    content = report()
    text = shown_detections(content)
    assert all(f"{name} {value:g}" in text for name, value in
               content["pictures"]["thresholds"].items())  # fmt: skip
    content["pictures"]["thresholds"] = dict.fromkeys("ab", 0.25)
    assert "0.25 or more" in shown_detections(content)


def test_timing_says_on_what():
    content = report()
    text = timing(content)
    assert "50 images" in text and "(X, 2 cores, torch threads: 1, torch 2.4)" in text
    content["machine"]["cores"] = 1
    assert "(X, 1 core, torch" in timing(content)
