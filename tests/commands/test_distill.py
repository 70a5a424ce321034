"""`sad distill` from a user's labels and images to the report, at toy size."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

import sad
from layouts_made import MAKERS, make_folder
from sad.config.load import get_sad_cfg
from sad.evaluation.metrics_file import read_metrics
from toy import REPOSITORY, run_script
from users_data import make_images

SCRIPTS = REPOSITORY / "scripts"
BELOW = {"coco": "labels.json", "yolo": "data.yaml", "voc": "Annotations"}  # what --labeled names
STUDENTS = ["student alone", "student alone, as long", "SAD student"]


def distill(monkeypatch, *arguments):
    run_script(monkeypatch, SCRIPTS / "distill.py", *arguments)


def refused(monkeypatch, capsys, *arguments) -> str:
    """The sentence that a call ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        distill(monkeypatch, *arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    return error


def files(folder: Path) -> dict[Path, int]:
    found = (path for path in folder.rglob("*") if path.name not in ("log.txt", ".lock"))
    return {path: path.stat().st_mtime_ns for path in found if path.is_file()}


def content(path: Path) -> dict:
    return json.loads(path.read_text())


def ap(run: Path) -> float:
    """What training has written down last."""
    last = read_metrics(str(run / "metrics.json"))[-1]
    found = last.get("test/bbox/AP", last.get("bbox/AP"))
    return 0.0 if found != found else found


def user(tmp_path, layout: str) -> tuple:
    """Labels with all that is odd, unlabelled images, and the arguments of a short call."""
    truth = MAKERS[layout](tmp_path / "mine", number=24, seed=1)
    make_images(tmp_path / "more", 8, seed=2)
    arguments = [
        *("--labeled", tmp_path / "mine" / BELOW[layout], "--unlabeled", tmp_path / "more"),
        *("--output", tmp_path / "out", "--teacher", "small", "--student", "tiny"),
    ]
    return truth, arguments


# --- all of it -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_odd_labels_to_a_report(tmp_path, monkeypatch, capsys):
    truth, arguments = user(tmp_path, "coco")
    arguments += ["--iterations", 3, "--rounds", 1]
    distill(monkeypatch, *arguments)
    out = tmp_path / "out"
    printed = capsys.readouterr().out
    assert str(out / "report.html") in printed and "\x1b" not in printed  # a pipe
    lines = (out / "log.txt").read_text().splitlines()
    assert [line.partition("]")[0] for line in lines] == [f"[{n}/9" for n in range(1, 10)]

    report = content(out / "report.json")
    assert [run["name"] for run in report["runs"]] == [
        *("teacher", "teacher, self-trained", *STUDENTS)
    ]
    folders = ("teacher", "teacher_1", "student", "student_long", "SAD")
    for run, folder in zip(report["runs"], folders, strict=True):
        assert run["AP"] == pytest.approx(ap(out / "runs" / folder), abs=1e-6)
    assert report["gain"]["baseline"] in STUDENTS[:2]
    assert any("too few labels" in note for note in report["notes"])
    for name in ("inspection.html", "report.html", "report.md", "runs/calibration/to_label.csv"):
        assert (out / name).stat().st_size > 0

    sets = {name: content(out / "data" / f"{name}.json")["images"] for name in ("train", "val")}
    used = {image["file_name"] for images in sets.values() for image in images}
    assert used == set(truth.boxes) and 0 < len(sets["val"]) < len(sets["train"])
    assert content(out / "inspection.json")["sets"].keys() == {"train", "test"}

    before = files(out)
    distill(monkeypatch, *arguments)  # all of it is done
    assert files(out) == before
    assert (out / "log.txt").read_text().count("done earlier") == 9


def processes_of(folder: Path) -> list[str]:
    """Command lines that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if str(folder) in text:
            found.append(text)
    return found


def stopped(folder: Path, moment: Path, *arguments) -> int:
    """The exit code of a call that is sent SIGTERM as soon as a file is there."""

    def call():
        with pytest.MonkeyPatch.context() as monkeypatch:
            distill(monkeypatch, *arguments)

    process = multiprocessing.get_context("fork").Process(target=call)
    process.start()
    end = time.monotonic() + 120
    while not moment.exists():
        assert process.is_alive() and time.monotonic() < end
        time.sleep(0.01)
    process.terminate()
    process.join(120)
    assert not processes_of(folder)
    return process.exitcode


@pytest.mark.slow
def test_a_call_that_is_stopped_and_a_config_that_is_edited(tmp_path, monkeypatch, capsys):
    _, arguments = user(tmp_path, "yolo")
    arguments += ["--iterations", 40, "--no-baseline"]
    out = tmp_path / "out"
    assert stopped(out, out / "runs" / "teacher" / "last_checkpoint", *arguments) == 75
    assert not (out / "runs" / "teacher" / "model_final.pth").exists()
    distill(monkeypatch, *arguments)
    starts = [
        int(line.rpartition(" ")[2])
        for line in (out / "logs" / "teacher.txt").read_text().splitlines()
        if "Starting training from iteration" in line
    ]
    assert starts[0] == 0 < starts[1] and len(starts) == 2
    assert content(out / "report.json")["gain"] is None

    edited = out / "configs" / "SAD.yaml"
    edited.write_text(edited.read_text() + "SEED: 7\n")
    before = files(out)
    assert "SAD.yaml changed since; to be done again: SAD, report." in refused(
        monkeypatch, capsys, *arguments
    )
    assert files(out) == before
    distill(monkeypatch, *arguments, "--redo")
    after = files(out)
    for name in ("teacher/model_final.pth", "calibration/calibration.json"):
        path = out / "runs" / name
        assert after[path] == before[path]
    assert (out / "old" / "1" / "runs" / "SAD" / "model_final.pth").exists()
    assert get_sad_cfg(str(out / "runs" / "SAD" / "config.yaml")).SEED == 7


@pytest.mark.slow
def test_a_folder_with_everything_and_then_its_teacher_for_others(tmp_path):
    truths = make_folder(tmp_path / "all", "voc", number=6, oddities=True)
    first = sad.distill(
        data=str(tmp_path / "all"),
        output=str(tmp_path / "first"),
        teacher="small",
        iterations=2,
        baseline=False,
    )
    assert first.verdict == "not known" and os.path.exists(first.report)
    assert first.ap == {
        "teacher": pytest.approx(ap(tmp_path / "first" / "runs" / "teacher"), abs=1e-6),
        "SAD student": pytest.approx(ap(Path(first.run)), abs=1e-6),
    }
    assert sad.Predictor(first.run).class_names == truths["train"].classes
    for name, truth in truths.items():
        images = content(tmp_path / "first" / "data" / f"{name}.json")["images"]
        assert {os.path.basename(image["file_name"]) for image in images} == set(truth.boxes)

    teacher = tmp_path / "first" / "runs" / "teacher"
    second = sad.distill(
        data=str(tmp_path / "all"),
        output=str(tmp_path / "second"),
        teacher=str(teacher / "config.yaml"),
        teacher_weights=str(teacher / "model_final.pth"),
        iterations=1,
        baseline=False,
    )
    assert second.ap["teacher"] == pytest.approx(first.ap["teacher"], abs=0.1)
    assert not (tmp_path / "second" / "runs" / "teacher" / "model_final.pth").exists()


@pytest.mark.slow
def test_configs_that_are_given(toy, tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    for name in ("teacher", "student", "SAD"):
        text = f"_BASE_: {toy.root}/{name}.yaml\nSOLVER: {{MAX_ITER: 4}}\n"
        (tmp_path / "configs" / f"{name}.yaml").write_text(text)
    out = tmp_path / "out"
    distill(
        *(monkeypatch, "--configs", tmp_path / "configs", "--unlabeled", toy.root / "unlabeled"),
        *("--output", out, "--seed", 3),
    )
    report = content(out / "report.json")
    assert [run["name"] for run in report["runs"]] == ["teacher", STUDENTS[0], STUDENTS[2]]
    assert not (out / "configs").exists() and (out / "pseudo_labels.json").exists()
    for name in ("teacher", "student", "SAD"):
        cfg = get_sad_cfg(str(out / "runs" / name / "config.yaml"))
        assert (cfg.SEED, cfg.SOLVER.MAX_ITER) == (3, 4)


@pytest.mark.slow
def test_a_faster_rcnn_pair_from_labels_to_a_report(tmp_path, monkeypatch, capsys):
    _, arguments = user(tmp_path, "coco")
    arguments += ["--iterations", 2, "--detector", "FasterRCNN"]
    distill(monkeypatch, *arguments)
    out = tmp_path / "out"
    report = content(out / "report.json")
    arms = {"teacher": "teacher", STUDENTS[0]: "student", STUDENTS[1]: "student_long"}
    arms["TAR student"] = "TAR"
    assert [run["name"] for run in report["runs"]] == list(arms)
    for run in report["runs"]:
        assert run["AP"] == pytest.approx(ap(out / "runs" / arms[run["name"]]), abs=1e-6)
    assert report["gain"]["distilled"] == "TAR student"
    assert report["title"] != "Semi-supervised adaptive distillation"
    metrics = read_metrics(str(out / "runs" / "TAR" / "metrics.json"))
    learnt = {"loss_distill_feature", "loss_distill_roi_class", "loss_distill_roi_box"}
    assert learnt <= set().union(*metrics)
    assert sad.Predictor(str(out / "runs" / "TAR")).class_names
    before = files(out)
    distill(monkeypatch, *arguments)
    assert files(out) == before

    teacher = out / "runs" / "teacher"  # for others, which need no --detector then
    second = sad.distill(
        labeled=str(arguments[1]),
        unlabeled=str(tmp_path / "more"),
        output=str(tmp_path / "second"),
        teacher=str(teacher / "config.yaml"),
        teacher_weights=str(teacher / "model_final.pth"),
        iterations=1,
        baseline=False,
    )
    assert second.ap.keys() == {"teacher", "TAR student"}
    assert second.run == str(tmp_path / "second" / "runs" / "TAR")


@pytest.mark.slow
def test_configs_of_a_faster_rcnn_pair(toy, tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    for name, base in {"teacher": "rcnn_teacher", "student": "rcnn_student", "TAR": "TAR"}.items():
        text = f"_BASE_: {toy.root}/{base}.yaml\nSOLVER: {{MAX_ITER: 4}}\n"
        (tmp_path / "configs" / f"{name}.yaml").write_text(text)
    out = tmp_path / "out"
    distill(
        *(monkeypatch, "--configs", tmp_path / "configs", "--unlabeled", toy.root / "unlabeled"),
        *("--output", out),
    )
    report = content(out / "report.json")
    assert [run["name"] for run in report["runs"]] == ["teacher", STUDENTS[0], "TAR student"]
    assert (out / "runs" / "TAR" / "model_final.pth").exists()


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["RetinaNet", "FasterRCNN"])
def test_a_dry_run_leaves_nothing_behind(detector, tmp_path, monkeypatch, capsys):
    _, arguments = user(tmp_path, "coco")
    before = files(tmp_path)
    distill(monkeypatch, *arguments, "--minutes", 2, "--detector", detector, "--dry-run")
    printed = capsys.readouterr().out
    assert files(tmp_path) == before and not (tmp_path / "out").exists()
    assert "so that everything takes about 2 minutes" in printed and "hours" in printed
    method = {"RetinaNet": "SAD", "FasterRCNN": "TAR"}[detector]
    assert f"{tmp_path}/out/runs/{method}" in printed and "[7/7]" not in printed


# --- what takes no training ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout", [x if x == "yolo" else pytest.param(x, marks=pytest.mark.slow) for x in MAKERS]
)
@pytest.mark.parametrize("oddities", [False, True])
def test_every_layout_can_be_looked_into(layout, oddities, tmp_path, monkeypatch):
    truth = MAKERS[layout](tmp_path / "mine", number=5, oddities=oddities)
    labels = tmp_path / "mine" / BELOW[layout]
    run_script(
        *(monkeypatch, SCRIPTS / "inspect_data.py", "--labeled", labels),
        *("--output", tmp_path / "out"),
    )
    found = content(tmp_path / "out" / "inspection.json")["sets"]["train"]
    assert found["images"] == len(truth.boxes)
    assert ("left_out" in json.dumps(found)) or not oddities
    page = (tmp_path / "out" / "inspection.html").read_text()
    assert page.count("http-equiv") == 1 and 'src="http' not in page  # the page's own policy


def test_a_mistake_ends_in_a_sentence(tmp_path, monkeypatch, capsys):
    make_images(tmp_path / "images", 3, seed=1)
    for arguments, said in (
        ([], "nothing to learn from"),
        (["--labeled", tmp_path / "images"], "no labels in"),
        (["--labeled", "absent.json"], "do not exist"),
    ):
        assert said in refused(monkeypatch, capsys, *arguments, "--output", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_flags_become_arguments(tmp_path, monkeypatch):
    """Of `sad.distill`, which has the same."""
    seen = {}
    monkeypatch.setattr("sad.commands.distill.distill", lambda **given: seen.update(given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        distill(
            *(monkeypatch, "--labeled", "a.json", "--output", "out", "--teacher-weights", "t.pth"),
            *("--no-baseline", "--no-flips", "--minutes", "2.5", "--num-gpus", 2, "--redo"),
        )
    assert seen.pop("command") == (
        "sad distill --labeled a.json --output out --teacher-weights t.pth --no-baseline "
        "--no-flips --minutes 2.5 --num-gpus 2 --redo"
    )
    assert {key: x for key, x in seen.items() if x not in (None, "tiny")} == {
        **{"labeled": "a.json", "output": "out", "teacher_weights": "t.pth", "baseline": False},
        **{"flips": False, "minutes": 2.5, "num_gpus": 2, "redo": True, "seed": 0},
        "fixed_camera": False,
    }
