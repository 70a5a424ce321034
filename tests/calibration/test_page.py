"""The page: curves, pictures of boxes, and what it says."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sad.calibration.page import draw_curves, draw_proposals, render_page
from sad.pseudo_labels.detections import DETECTION

NAMES = ["<cat>", "dog"]
POINT = {"threshold": 0.5, "boxes": 4, "precision": 0.75, "recall": 0.5, "f1": 0.6}
CURVE = {"precision": [0.5, 0.75, None], "recall": [1.0, 0.5, 0.0], "f1": [0.6, 0.6, 0.0]}


@pytest.fixture
def report() -> dict:
    names = ["all classes", *NAMES]
    parts = {"labelling": POINT, "best_f1": POINT, "precise": None, "chosen": POINT}
    return {
        "teacher": {"AP": 31.25, "AP50": 60.0, "AP75": 20.0, "AP_per_class": dict.fromkeys(NAMES)},
        "student_AP": 12.5,
        "held_out": {"images": 9, "boxes": 6, "trained_on": 0, "unreadable": {}},
        "unlabeled": {"images": 5, "looked_at": 5, "unreadable": {}},
        "thresholds": {
            **{"labelling": 0.5, "common": 0.5, "by_class": False},
            **{"chosen": dict.fromkeys(NAMES, 0.5), "reasons": dict.fromkeys(names, "few boxes")},
        },
        "points": [{"name": name, "labels": 6, **copy.deepcopy(parts)} for name in names],
        "curve_thresholds": [0.25, 0.5, 0.75],
        "curves": dict.fromkeys(names, CURVE),
        "advice": {
            "targets": "both",
            "settings": {"SAD.TARGETS.UNLABELED": ["hard", "soft"]},
            "lines": [{"level": "info", "text": "Use both.", "evidence": "A guess & more."}],
        },
    }


def test_page_shows_numbers_and_advice(report):
    page = render_page(report, [])
    assert "31.2 AP" in page and "18.8" in page  # teacher, and the gap of 18.75
    assert "Use both. A guess &amp; more." in page
    assert "&lt;cat&gt;" in page and "<cat>" not in page
    assert "0.75" in page and "nan" not in page.lower().replace("nano", "")
    assert "SAD.TARGETS.UNLABELED" in page and "thresholds.json" not in page


@pytest.mark.slow
def test_page_says_what_is_to_do(report):
    report["thresholds"]["by_class"] = True
    assert "--class-thresholds thresholds.json" in render_page(report, [])
    report["thresholds"] |= {"by_class": False, "common": 0.25}
    assert "--threshold 0.25" in render_page(report, [])
    report["advice"] |= {"targets": "stop", "settings": None}
    report["student_AP"] = None
    report["held_out"] |= {"trained_on": 3, "unreadable": {"a.png": "empty"}}
    report["unlabeled"] |= {"looked_at": 2, "unreadable": {"b.png": "cut short"}}
    page = render_page(report, [])
    for text in ("Do not distil", "3 images were left out", "a.png: empty", "b.png: cut short"):
        assert text in page
    assert "2 of 5 unlabelled images" in page and "In the student" not in page


def test_curves(report):
    together, classes = draw_curves(report).axes
    precision, recall, _, line = together.lines
    assert np.array_equal(precision.get_ydata(), [0.5, 0.75, np.nan], equal_nan=True)
    assert list(recall.get_ydata()) == [1.0, 0.5, 0.0] and line.get_xdata()[0] == 0.5
    names = [text.get_text() for text in classes.get_legend().get_texts()]
    assert names == ["<cat> (6)", "dog (6)"]


def test_pictures_show_kept_boxes_and_likely_ones(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    image = {"file_name": str(tmp_path / "a.png"), "width": 40, "height": 30}
    rows = [(1, (0, 0, 5 + n, 5), 0, 900_000) for n in range(3)] + [(0, (0, 0, 9, 9), 0, 900_000)]
    found = SimpleNamespace(images=[image, image], detections=np.array(rows, DETECTION))
    chances, kept = np.array([0.9, 0.5, 0.1, 0.9]), np.array([True, False, False, True])
    proposals = [{"file_name": "a.png", "reason": "doubts"}]
    (picture,) = draw_proposals(proposals, np.array([1]), found, chances, kept, NAMES)
    assert picture.caption == "1. a.png: doubts"
    patches = picture.image.axes[0].patches
    assert [(box.get_width(), box.get_linestyle()) for box in patches] == [(5, "-"), (6, "--")]
    texts = [text.get_text() for text in picture.image.axes[0].texts]
    assert texts == ["<cat> 90%", "<cat> 50%"]
