"""A run's metrics, read again."""

import json
import math

from sad.evaluation.metrics_file import read_metrics


def test_metrics_of_an_interrupted_run(tmp_path):
    path = tmp_path / "metrics.json"
    before = [
        {"iteration": 999, "bbox/AP": 50.0},  # a longer run in the same folder, earlier
        {"iteration": 19, "total_loss": 3.0},
        {"iteration": 39, "total_loss": 2.0},
    ]
    after = [
        {"iteration": 24, "bbox/AP": 1.0},
        {"iteration": 39, "total_loss": 2.5},  # once more after resuming
        {"iteration": 39, "loss_cls": 1.0},
        {"iteration": 40, "bbox/AP": 9.0},
    ]
    cut_short = '{"iteration": 59, "total'
    path.write_text("".join(json.dumps(line) + "\n" for line in before) + cut_short)
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in after)
    assert read_metrics(path) == [
        {"iteration": 19, "total_loss": 3.0},
        {"iteration": 24, "bbox/AP": 1.0},
        {"iteration": 39, "total_loss": 2.5, "loss_cls": 1.0},
        {"iteration": 40, "bbox/AP": 9.0},
    ]


def test_where_nothing_was_found_ap_is_0_and_that_of_a_class_has_none(tmp_path):
    path = tmp_path / "metrics.json"
    nan = float("nan")
    found = {"bbox/AP": nan, "val/bbox/AP50": nan, "bbox/AP75": 1.5, "bbox/AP-cat": nan}
    path.write_text(json.dumps({"iteration": 9, "total_loss": nan, **found}))
    (line,) = read_metrics(path)
    of_class, loss = line.pop("bbox/AP-cat"), line.pop("total_loss")
    assert line == {"iteration": 9, "bbox/AP": 0.0, "val/bbox/AP50": 0.0, "bbox/AP75": 1.5}
    assert math.isnan(of_class) and math.isnan(loss)
