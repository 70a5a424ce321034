"""The report's four files from real (toy) runs, and the command that writes them."""

import json
import shutil

import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from sad.data.datasets import read_sets, register_coco_set
from sad.modeling.build import load_detector
from sad.report.report import details_of, objects_of_classes, pictures_of
from sad.report.runs import read_runs
from sad.utils.errors import UserError
from toy import REPOSITORY, run_script, run_train_net


def test_weights_of_another_model_are_named(runs, student):
    shutil.copy(runs / "teacher/model_final.pth", student)
    with pytest.raises(UserError, match=f"{student}.*do not fit the model"):
        load_detector(str(student / "config.yaml"), str(student / "model_final.pth"), "cpu")


def report(monkeypatch, *arguments):
    run_script(monkeypatch, REPOSITORY / "scripts" / "report.py", *arguments)


@pytest.mark.slow
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
    names = [picture["file_name"] for picture in content["pictures"]["images"]]
    assert len(set(names)) == 3 and content["pictures"]["from"] == 6
    assert set(content["pictures"]["thresholds"].values()) == {0.012}
    for row in content["runs"]:
        last = (runs / row["name"] / "metrics.json").read_text().splitlines()[-1]
        assert row["AP"] == json.loads(last)["bbox/AP"]
        assert row["name"] in printed
    text = (output / "report.md").read_text()
    assert text.startswith("# Toys") and f"--output {output}" in text
    with Image.open(output / "report.png") as page:
        assert page.width == 1600 and len(page.getcolors(page.width * page.height)) > 50
    html = (output / "report.html").read_text()
    assert html.count("<img ") == html.count("data:image/") == 3 * (1 + 2)
    assert html.count("<svg ") == 3 + 3 + 1 + 2 + 2  # results, rates, costs, matrices, curves
    assert content["gain"] is None and content["no_details"] == {}
    assert sorted(path.name for path in output.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
        "report.png",
    ]


@pytest.mark.slow
def test_report_with_a_gain(runs, tmp_path, monkeypatch):
    """Of a model over itself there is none, whatever the test images."""
    arms = {"alone": "student", "SAD": "student", "teacher": "teacher"}
    for name, of in arms.items():
        arms[name] = folder = shutil.copytree(runs / of, tmp_path / name)
        best = ("--eval-only", "MODEL.WEIGHTS", folder / "model_best.pth", "OUTPUT_DIR", folder)
        run_train_net(monkeypatch, "--config-file", str(folder / "config.yaml"), *best)
    pairs = [word for name, folder in arms.items() for word in ("--run", f"{name}={folder}")]
    roles = ["--distilled", "SAD", "--baseline", "alone", "--teacher", "teacher"]
    files = ["--test-set", "toy_labeled", "--weights", "model_best.pth"]
    notes = ["--note", "It is a toy.", "--note", "It is small."]
    options = ["--images", 2, "--pictures", 1, "--output", tmp_path / "report"]
    report(monkeypatch, *pairs, *roles, *files, *notes, *options)
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    gain = content["gain"]
    assert content["pictures"]["agreement"]["first"] == 0  # by a model over itself
    assert content["uncertainty"]["students"] == ["SAD", "alone"]
    assert [set(x["divergence"]) for x in content["uncertainty"]["images"]] == [{"SAD", "alone"}]
    assert gain["verdict"] == "no difference" and gain["use"] == "alone"
    assert gain["differences"][0]["AP"] == {"difference": 0, "low": 0, "high": 0}
    assert content["notes"] == ["It is a toy.", "It is small."]
    assert content["classes"] == {"light": 6, "dark": 6}
    lines = map(json.loads, (runs / "teacher/metrics.json").read_text().splitlines())
    best = max((line for line in lines if "bbox/AP" in line), key=lambda line: line["bbox/AP"])
    teacher = content["runs"][2]
    assert teacher["AP"] == pytest.approx(best["bbox/AP"], abs=1e-9)
    wanted = {name: best[f"bbox/AP-{name}"] for name in ("light", "dark")}
    assert teacher["class_AP"] == pytest.approx(wanted, abs=1e-9)
    assert teacher["weights"] == "model_best.pth" and teacher["minutes"] > 0
    for name in ("report.html", "report.md"):
        text = (tmp_path / "report" / name).read_text()
        assert "It is a toy." in text and f"{arms['alone']}/model_best.pth" in text


def test_mistakes_exit_with_2(runs, tmp_path, monkeypatch, capsys):
    register_coco_set("absent_set", str(tmp_path / "tune.json"), str(tmp_path))
    run = f"one={runs / 'student'}"
    for arguments, sentence in (
        ([f"one={tmp_path / 'absent'}"], "absent/config.yaml does not exist"),
        ([str(runs / "student")], "is not of the form NAME=DIR"),
        ([run, "--distilled", "one"], "give both"),
        ([run, "--distilled", "one", "--baseline", "two"], "--baseline 'two' is none of the runs"),
        ([run, "--weights", "model_best.pth"], "needs --test-set"),
        ([run, "--test-set", "toy_unlabele"], "no registered data set"),
        ([run, "--test-set", "absent_set"], "tune.json does not exist"),
    ):
        with pytest.raises(SystemExit) as exit:
            report(monkeypatch, "--run", *arguments, "--output", tmp_path / "report")
        assert exit.value.code == 2
        error = capsys.readouterr().err
        assert sentence in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_run_without_detections_leaves_the_others_theirs(runs, tmp_path):
    """Pictures are then of the images that time was measured on."""
    shutil.copytree(runs / "student", tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "inference")
    pairs = [("teacher", str(runs / "teacher")), ("bare", str(tmp_path / "bare"))]
    read = read_runs(pairs)
    images = read_sets(["toy_labeled"], 10**6)
    details, found, reasons = details_of(read, None)
    file = runs / "teacher/inference/toy_labeled/coco_instances_results.json"
    assert list(details) == ["teacher"] and found == {"teacher": json.loads(file.read_text())}
    assert "does not exist" in reasons["bare"]
    assert details["teacher"]["costs"]["AP50"] == pytest.approx(read[0].accuracy["AP50"])
    assert sum(map(sum, details["teacher"]["confusion"][:2])) == 12  # objects
    nothing = [[Instances((9, 9), pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0),
                          pred_classes=torch.zeros(0, dtype=int))] * 3] * 2  # fmt: skip
    options = {"number": 2, "threshold": None, "pair": None}
    made = pictures_of(read, details, found, images, images[:3], nothing, 2, **options)
    assert made["from"] == 3 and len(made["images"]) == 2
    assert [run["missed"] for run in made["images"][0]["runs"]] == [[0, 1]] * 2
    made = pictures_of(read[:1], details, found, images, images[:3], nothing, 2, **options)
    assert made["from"] == 6 and made["thresholds"] == {"teacher": details["teacher"]["threshold"]}


def test_objects_of_each_class_without_crowds(toy):
    toy.cfg("student.yaml")
    images = read_sets(["toy_labeled"], 10**6)
    crowd = images[0]["annotations"][0] | {"iscrowd": 1}
    images[0] = images[0] | {"annotations": [crowd]}
    assert objects_of_classes(images, ["light", "dark", "grey"]) == {
        "light": 5,
        "dark": 5,
        "grey": 0,
    }
