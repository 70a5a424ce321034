"""The report: reading runs, matching detections, and the three files from real (toy) runs."""

import json
import runpy
import shutil
import sys

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from sad.modeling.build import load_detector
from sad.pseudo_labels.targets import precision_recall
from sad.report.page import running_mean
from sad.report.report import Run, choose, markdown, match, measure, read_metrics, read_runs
from sad.utils.errors import UserError
from toy import REPOSITORY, run_train_net


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def runs(toy, tmp_path_factory):
    """OUTPUT_DIRs of a teacher and a student after a few iterations."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("teacher", "student"):
            arguments = ["TEST.EVAL_PERIOD", 5, "OUTPUT_DIR", root / name]
            config = toy.path(f"{name}.yaml")
            run_train_net(monkeypatch, "--config-file", config, *arguments)
    return root


@pytest.fixture
def student(runs, tmp_path):
    """A copy of the student's directory, to be broken."""
    return shutil.copytree(runs / "student", tmp_path / "student")


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


def test_accuracy_and_curves_of_a_real_run(runs):
    run = Run("student", str(runs / "student"))
    lines = [json.loads(line) for line in (runs / "student/metrics.json").read_text().splitlines()]
    assert run.accuracy == {m: lines[-1][f"bbox/{m}"] for m in ("AP", "AP50", "AP75")}
    # Evaluated after 5 iterations and after all 10.
    assert run.curve("bbox/AP")[0] == [5, 10]
    assert run.curve("total_loss")[0][-1] == 10


def test_accuracy_and_curves_from_numbers(student):
    last = {"iteration": 60, "bbox/AP": 12.345, "bbox/AP50": 30.0, "bbox/AP75": 6.05}
    middle = {"iteration": 29, "bbox/AP": 3.0}
    losses = [{"iteration": 19, "loss_cls": 1.5}, {"iteration": 59, "loss_cls": 0.5}]
    write_lines(student / "metrics.json", [losses[0], middle, losses[1], last])
    run = Run("student", str(student))
    assert run.accuracy == {"AP": 12.345, "AP50": 30.0, "AP75": 6.05}
    assert run.curve("bbox/AP") == ([30, 60], [3.0, 12.345])
    assert run.curve("loss_cls") == ([20, 60], [1.5, 0.5])


@pytest.mark.parametrize("file", ["config.yaml", "metrics.json", "model_final.pth"])
def test_unfinished_run_is_named(student, file):
    (student / file).unlink()
    with pytest.raises(UserError, match=f"'mine': {student / file} does not exist"):
        Run("mine", str(student))


@pytest.mark.parametrize("lines", [[], [{"iteration": 19, "bbox/AP": 3.0}, {"iteration": 39}]])
def test_run_that_was_not_evaluated_is_named(student, lines):
    write_lines(student / "metrics.json", lines)
    with pytest.raises(UserError, match="'mine': .*metrics.json does not end with bbox/AP"):
        Run("mine", str(student))


def test_runs_must_share_one_test_set(runs, student):
    config = student / "config.yaml"
    text = config.read_text()
    assert text.count("  TEST:\n  - toy_labeled\n") == 1
    config.write_text(text.replace("  TEST:\n  - toy_labeled\n", "  TEST:\n  - digits_tune\n"))
    with pytest.raises(UserError, match="'other' was tested on digits_tune and 'ours' on toy"):
        read_runs([("ours", str(runs / "student")), ("other", str(student))])
    config.write_text(text.replace("  TEST:\n", "  TEST:\n  - digits_tune\n"))
    with pytest.raises(UserError, match="'two': DATASETS.TEST is .*exactly one"):
        read_runs([("two", str(student))])


def test_weights_of_another_model_are_named(runs, student):
    shutil.copy(runs / "teacher/model_final.pth", student)
    with pytest.raises(UserError, match=f"{student}.*do not fit the model"):
        load_detector(str(student / "config.yaml"), str(student / "model_final.pth"), "cpu")


def test_markdown_rounds_and_keeps_the_order():
    row = {"AP": 41.04, "AP50": 60.0, "AP75": 44.96, "parameters": 0.4181, "gflops": 0.0538327}
    report = {
        "title": "Title",
        "command": "make it",
        "test_set": "some_set",
        "test_images": 1000,
        "timed_images": 50,
        "machine": {"device": "CPU", "cpu": "X", "cores": 2, "torch_threads": 1, "torch": "2.4"},
        "runs": [{"name": "SAD", "ms": 7.26, **row}, {"name": "teacher", "ms": 17.5, **row}],
    }
    text = markdown(report)
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    assert lines[0] == ["", "AP", "AP50", "AP75", "parameters (M)", "GFLOPs", "ms per image"]
    assert lines[2] == ["SAD", "41.0", "60.0", "45.0", "0.42", "0.0538", "7.3"]
    assert [line[0] for line in lines[2:]] == ["SAD", "teacher"]
    assert "`make it`" in text and "1,000 images of some_set" in text and "(X, 2 cores" in text


def detections(*rows):
    """Rows of (box, class, score)."""
    boxes, classes, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return Instances(
        (100, 100),
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
        scores=torch.tensor(scores, dtype=torch.float32),
    )


def record_of(*rows):
    """Rows of (box as x, y, width, height; class; iscrowd)."""
    return {
        "annotations": [
            {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": label, "iscrowd": crowd}
            for box, label, crowd in rows
        ]
    }


def test_match_takes_each_object_once_and_minds_the_class():
    record = record_of(([0, 0, 10, 10], 0, 0), ([50, 50, 20, 20], 1, 0), ([0, 80, 10, 10], 0, 0))
    found = match(
        detections(
            ([0, 0, 10, 11], 0, 0.5),  # second on the first object: its score is lower
            ([0, 0, 10, 10], 0, 0.9),
            ([50, 50, 70, 70], 0, 0.8),  # right place, wrong class
            ([0, 80, 10, 84], 0, 0.7),  # IoU 0.4
        ),
        record,
    )
    assert found["scores"].round(1).tolist() == pytest.approx([0.9, 0.8, 0.7, 0.5])
    assert found["correct"].tolist() == [True, False, False, False]
    assert found["missed"].tolist() == [1, 2]


def test_match_leaves_out_what_lies_on_a_crowd():
    record = record_of(([0, 0, 50, 50], 0, 1), ([60, 60, 10, 10], 0, 0))
    found = match(detections(([5, 5, 20, 20], 0, 0.9), ([5, 5, 20, 20], 1, 0.8)), record)
    assert found["classes"].tolist() == [1]  # the other one is no error
    assert found["correct"].tolist() == [False]
    assert found["missed"].tolist() == [1]  # nor is the crowd an object to miss


def test_match_of_nothing():
    found = match(detections(([0, 0, 10, 10], 0, 0.9)), record_of())
    assert found["correct"].tolist() == [False] and not len(found["missed"])
    found = match(detections(), record_of(([0, 0, 10, 10], 0, 0)))
    assert not len(found["correct"]) and found["missed"].tolist() == [0]


def test_match_counts_as_pycocotools_does():
    """On random scenes, with crowds, against the COCOeval behind the hard targets' report."""
    rng = np.random.default_rng(0)
    categories = [{"id": label, "name": str(label)} for label in range(2)]
    totals = np.zeros(2, int)
    for _ in range(40):
        corners, sizes = rng.integers(0, 30, (8, 2)), rng.integers(20, 60, (8, 2))
        truth = np.hstack([corners, sizes]).astype(float).tolist()
        labels, crowds = rng.integers(0, 2, 8).tolist(), (rng.random(8) < 0.2).tolist()
        record = record_of(*zip(truth, labels, map(int, crowds), strict=True))
        moved = np.array(truth) + rng.normal(0, 5, (8, 4))
        scores = rng.permutation(8) / 8
        boxes = np.hstack([moved[:, :2], moved[:, :2] + moved[:, 2:]])
        found = match(detections(*zip(boxes.tolist(), labels, scores, strict=True)), record)

        annotations = [{"image_id": 1, **annotation} for annotation in record["annotations"]]
        targets = [
            {
                "id": i + 1,
                "image_id": 1,
                "category_id": labels[i],
                "bbox": moved[i].tolist(),
                "area": moved[i, 2] * moved[i, 3],
                "score": scores[i],
            }
            for i in range(8)
        ]
        counts = precision_recall(annotations, targets, [1], categories)["overall"]
        ours = [found["correct"].sum(), len(found["correct"])]
        assert ours == [counts["correct"], counts["targets"]]
        assert found["correct"].sum() + len(found["missed"]) == counts["labels"]
        totals += [counts["correct"], counts["targets"] - counts["correct"]]
    assert (totals > 20).all()  # the scenes have both right and wrong detections


def test_choose_prefers_images_on_which_the_runs_differ():
    def result(wrong, missed):
        return {"correct": np.array([True] + [False] * wrong), "missed": np.arange(missed)}

    good, bad, worse = result(0, 0), result(1, 1), result(2, 3)
    matches = [[bad, bad], [good, bad], [worse, good], [bad, good]]
    assert choose(matches, 3) == [2, 1, 3]  # equals stay in their order
    assert choose(matches, 9) == [2, 1, 3, 0]


def test_running_mean_at_the_ends():
    assert running_mean([2.0, 4.0]) == pytest.approx([2, 4])  # too few to smooth
    curve = np.arange(20.0)
    smooth = running_mean(curve + 3 * (np.arange(20) % 3 == 0))  # a spike in each window of 3
    assert smooth[1:-1] == pytest.approx(curve[1:-1] + 1)
    assert smooth[[0, -1]] == pytest.approx([(3 + 1) / 2, (18 + 3 + 19) / 2])


def test_costs_are_those_of_the_model(runs):
    run = read_runs([("student", str(runs / "student"))])[0]
    model, cfg = load_detector(run.path("config.yaml"), run.path("model_final.pth"), "cpu")
    records = DatasetCatalog.get(run.test_set)[:2]
    (cost,) = measure([(model, cfg)], records)
    multiply_adds = 0

    def count(module, inputs, output):
        nonlocal multiply_adds
        multiply_adds += module.weight.numel() * output.shape[-2] * output.shape[-1]

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    (again,) = measure([(model, cfg)], records[:1])  # FLOPs once, warm-up once, timed once
    # The convolutions by hand; the rest of fvcore's count is normalisation and upsampling.
    assert 0.95 < multiply_adds / 3 / 1e9 / cost["gflops"] <= 1
    assert again["gflops"] == cost["gflops"]
    weights = torch.load(run.path("model_final.pth"), weights_only=True)["model"]
    learned = [v.numel() for k, v in weights.items() if k.endswith((".weight", ".bias"))]
    assert cost["parameters"] * 1e6 == pytest.approx(sum(learned))
    assert cost["ms"] > 0 and len(cost["detections"]) == 2


def report(monkeypatch, *arguments):
    """What the shell does with `python scripts/report.py ...`, in this process."""
    monkeypatch.setattr(sys, "argv", ["scripts/report.py", *map(str, arguments)])
    runpy.run_path(str(REPOSITORY / "scripts" / "report.py"), run_name="__main__")


def test_report_of_two_runs(runs, tmp_path, monkeypatch, capsys):
    output = tmp_path / "report"
    arguments = ["--run", f"teacher={runs}/teacher", "--run", f"student={runs}/student"]
    options = ["--images", 4, "--pictures", 3, "--score-threshold", 0.012, "--title", "Toys"]
    report(monkeypatch, *arguments, *options, "--output", output)
    printed = capsys.readouterr().out
    content = json.loads((output / "report.json").read_text())
    assert content["test_images"] == 6 and content["timed_images"] == 4
    assert [row["name"] for row in content["runs"]] == ["teacher", "student"]
    assert content["runs"][0]["gflops"] > content["runs"][1]["gflops"]
    assert len(set(content["pictures"]["images"])) == 3
    for row in content["runs"]:
        last = (runs / row["name"] / "metrics.json").read_text().splitlines()[-1]
        assert row["AP"] == json.loads(last)["bbox/AP"]
        assert row["name"] in printed
    text = (output / "report.md").read_text()
    assert text.startswith("# Toys") and f"--output {output}" in text
    with Image.open(output / "report.png") as page:
        assert page.width == 1600 and len(page.getcolors(page.width * page.height)) > 50
    assert sorted(path.name for path in output.iterdir()) == [
        "report.json",
        "report.md",
        "report.png",
    ]


def test_command_line_mistakes_exit_with_2(runs, tmp_path, monkeypatch, capsys):
    for run, sentence in (
        (f"one={tmp_path / 'absent'}", "absent/config.yaml does not exist"),
        (str(runs / "student"), "is not of the form NAME=DIR"),
    ):
        with pytest.raises(SystemExit) as exit:
            report(monkeypatch, "--run", run, "--output", tmp_path / "report")
        assert exit.value.code == 2
        error = capsys.readouterr().err
        assert sentence in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "report").exists()
