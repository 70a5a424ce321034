"""What is drawn and written of a labelling job."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sad.pseudo_labels.detections import DETECTION
from sad.pseudo_labels.image_table import ImageTable
from sad.pseudo_labels.report import draw_histogram, draw_preview, write_report

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
IMAGES = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in (10, 11, 12)]
REPORT = {
    **{"threshold": 0.5, "score_floor": 0.05, "calibration": {"target_mean": 1.5}},
    **{"instances": 3, "detections": 9, "mean_instances_per_image": 1.0},
    **{"images_kept": 2, "images_dropped": 1, "images_unreadable": 0, "images_left_out": 0},
    **{"images_truncated": 0, "images_at_cap": 1, "images_cut_by_cap": 0, "detection_cap": 4},
    "instances_per_class": {"cat": 1, "dog": 2},
    "score_histogram": {"edges": [0.0, 0.25, 0.5, 0.75, 1.0], "counts": [2, 4, 1, 2]},
    "precision_recall_at_iou_0.5": None,
    "warnings": ["look here"],
}


@pytest.fixture
def images(tmp_path):
    for number, image in enumerate(IMAGES):
        path = tmp_path / image["file_name"]
        Image.new("RGB", (image["width"], image["height"]), (80 * number,) * 3).save(path)
    return tmp_path


def boxes(axes) -> list[tuple[float, ...]]:
    return [(*x.get_xy(), x.get_width(), x.get_height()) for x in axes.patches]


def test_histogram():
    scores, classes = draw_histogram(REPORT).axes
    (bars,) = scores.patches
    assert bars.get_data().values.tolist() == [2, 4, 1, 2]
    assert bars.get_data().edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert [line.get_xdata()[0] for line in scores.lines] == [0.5, 0.05]
    assert [bar.get_height() for bar in classes.patches] == [1, 2]
    assert [text.get_text() for text in classes.get_xticklabels()] == ["cat", "dog"]


def test_histogram_of_thresholds_by_class():
    by_class = {**REPORT, "threshold": {"cat": 0.25, "dog": 0.5}}
    scores, classes = draw_histogram(by_class).axes
    assert [line.get_xdata()[0] for line in scores.lines] == [0.25, 0.5, 0.05]
    assert "0.250 to 0.500 by class" in scores.get_legend().get_texts()[0].get_text()
    names = [text.get_text() for text in classes.get_xticklabels()]
    assert ["0.25" in names[0], "0.50" in names[1]] == [True, True]


def test_preview(images):
    annotations = [
        {"image_id": 10, "category_id": 3, "bbox": [1, 2, 10, 5], "score": 0.75},
        {"image_id": 12, "category_id": 7, "bbox": [0, 0, 40, 30], "score": 0.5},
        {"image_id": 12, "category_id": 3, "bbox": [5, 5, 5, 5], "score": 0.25},
    ]
    coco = {"images": IMAGES, "annotations": annotations, "categories": CATEGORIES}
    shown = [axes for axes in draw_preview(coco, str(images)).axes if axes.images]
    assert [np.asarray(axes.images[0].get_array()).max() for axes in shown] == [0, 80, 160]
    assert [boxes(axes) for axes in shown] == [
        [(1, 2, 10, 5)],
        [],
        [(0, 0, 40, 30), (5, 5, 5, 5)],
    ]
    first, second = shown[2].texts
    assert "dog" in first.get_text() and "0.50" in first.get_text()
    assert first.get_bbox_patch().get_facecolor() != second.get_bbox_patch().get_facecolor()


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("measured", [False, True])
def test_files_beside_the_json_and_a_log_of_what_matters(images, tmp_path, measured, by_class, log):
    rates = {"labels": 4, "precision": 0.75, "recall": 0.5}
    quality = {"overall": rates, "per_class": {"cat": rates, "dog": {**rates, "precision": None}}}
    report = {**REPORT, "precision_recall_at_iou_0.5": quality if measured else None}
    if by_class:
        report["threshold"] = {"cat": 0.125, "dog": 0.5}
    job = SimpleNamespace(
        output=str(tmp_path / "labels.json"),
        image_root=str(images),
        images=ImageTable.write(str(tmp_path), IMAGES),
        categories=CATEGORIES,
    )
    write_report(job, np.array([(1, (0, 0, 5, 5), 0, 500_000)], DETECTION), report)
    folder = tmp_path / "labels_report"
    assert json.loads((folder / "report.json").read_text()) == report
    for name in ("histogram.png", "preview.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 300
    assert len(list(folder.iterdir())) == 3
    assert "look here" in log
    assert any("0.750" in message for message in log) == measured
    assert any("0.125" in message.split() for message in log) == by_class
