"""Curves with a legend, and images with what each model finds."""

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from matplotlib.patches import Rectangle

from sad.report.figures import seen, training

CURVES = {
    "bbox/AP": [([5, 10], [1.0, 2.0]), ([5, 10, 15], [0.0, 3.0, 4.0])],
    "total_loss": [([1, 2], [3.0, 2.0]), ([1, 2], [2.0, 1.0])],
    "loss_cls": [([1, 2], [1.0, 0.5]), ([1, 2], [0.6, 0.4])],
}


def test_curves_of_each_run_and_whose_they_are():
    (part,) = training(["teacher", "student"], CURVES).parts
    assert [picture.caption for picture in part.pictures] == [
        "AP while training",
        "Classification loss (log scale)",
    ]
    (axes,) = part.pictures[0].image.axes
    drawn = [line.get_ydata().tolist() for line in axes.lines]
    assert drawn == [values for _, values in CURVES["bbox/AP"]]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    colors = [patch.get_facecolor() for patch in axes.get_legend().get_patches()]
    assert texts == ["teacher", "student"] and len(set(colors)) == 2


def test_the_loss_where_ap_was_found_at_the_end_alone():
    curves = CURVES | {"bbox/AP": [([10], [2.0]), ([5, 10], [0.0, 3.0])]}
    (part,) = training(["teacher", "student"], curves).parts
    assert part.pictures[0].caption == "Total loss (log scale)"


@pytest.mark.parametrize("position", [0, 1])  # a wide and a tall image
def test_truth_and_runs_side_by_side(toy, position):
    toy.cfg("student.yaml")
    record = DatasetCatalog.get("toy_labeled")[position]
    nothing = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros(0, bool)
    names = "boxes", "classes", "scores", "correct"
    missed = dict(zip(names, nothing, strict=True)) | {"missed": np.arange(2)}
    wrong = {
        "boxes": np.array([[1.0, 2.0, 20.0, 30.0]]),
        "classes": np.array([1]),
        "scores": np.array([0.5]),
        "correct": np.array([False]),
        "missed": np.array([1]),
    }
    report = {"timed_images": 6, "pictures": {"score_threshold": 0.4}}
    report["runs"] = [{"name": "first"}, {"name": "second"}]
    _, part = seen(report, [(record, [missed, wrong])], ["light", "dark"]).parts
    captions = [picture.caption for picture in part.pictures]
    assert captions[0].endswith("2 objects") and record["file_name"][-10:] in captions[0]
    assert captions[1:] == ["first, 0 of 2 found, 0 wrong", "second, 0 of 1 found, 1 wrong"]
    boxes = []
    for picture in part.pictures:
        (axes,) = picture.image.axes
        boxes.append(sum(isinstance(patch, Rectangle) for patch in axes.patches))
        width, height = picture.image.get_size_inches()
        assert width / height == pytest.approx(record["width"] / record["height"])
    assert boxes == [2, 2, 2]
