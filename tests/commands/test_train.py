"""`sad train` by the script projects/SAD/train_net.py, as a user runs it."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from processes import free_port, locked
from sad.evaluation.finished import best_point_in
from toy import REPOSITORY, TRAIN_NET, run_train_net

LABEL_UNLABELED = REPOSITORY / "scripts" / "label_unlabeled.py"


def train_net(monkeypatch, toy, name, output, *arguments):
    """Flags come before KEY VALUE pairs."""
    flags = [argument for argument in arguments if str(argument).startswith("--")]
    opts = [argument for argument in arguments if not str(argument).startswith("--")]
    run_train_net(monkeypatch, "--config-file", toy.path(name), *flags, "OUTPUT_DIR", output, *opts)


def lines(output) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]


def detections(output) -> list[dict]:
    path = output / "inference" / "toy_labeled" / "coco_instances_results.json"
    return json.loads(path.read_text())


# --- the way it should go -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(toy, tmp_path_factory):
    """A run directory of 12 iterations of SAD."""
    output = tmp_path_factory.mktemp("runs") / "SAD"
    with pytest.MonkeyPatch.context() as monkeypatch:
        train_net(monkeypatch, toy, "SAD.yaml", output,
                  "SOLVER.MAX_ITER", 12, "SOLVER.CHECKPOINT_PERIOD", 6)  # fmt: skip
    return output


def test_whose_the_detections_are_and_from_which_score_is_noted(finished):
    folder = finished / "inference" / "toy_labeled"
    noted = json.loads((folder / "weights.json").read_text())
    assert noted["file"] == str(finished / "model_final.pth")
    best = best_point_in(str(folder), "toy_labeled")
    assert noted["threshold"] == best.threshold


def test_run_directory(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        *("config.yaml", "log.txt", "metrics.json", "last_checkpoint"),
        *("model_0000005.pth", "model_0000011.pth", "model_final.pth"),
    }
    assert (finished / "last_checkpoint").read_text() == "model_final.pth"
    *_, last_step, evaluated = lines(finished)
    assert last_step["iteration"] == 11
    assert last_step["loss_distill_class"] > 0
    assert evaluated["bbox/AP"] > 0


def test_said_once_at_the_start(finished):
    log = (finished / "log.txt").read_text()
    (line,) = [line for line in log.splitlines() if "Effective batch" in line]
    for part in (
        "Effective batch 2 = 1 ranks x 1 accumulation steps x 2 images a forward",
        "mix alternate of 6 labelled and 5 unlabelled images: 77% of the images seen are labelled",
        "learning rate 0.02 over 12 iterations, warm-up 3, times 0.1 at (8, 11)",
    ):
        assert part in line, part
    assert log.count("Teacher: ") == 1


@pytest.mark.slow
def test_eval_only_on_the_students_yaml_and_on_sads(finished, toy, tmp_path, monkeypatch):
    found = []
    for name in ("student.yaml", "SAD.yaml"):
        output = tmp_path / name
        train_net(monkeypatch, toy, name, output, "--eval-only",
                  "MODEL.WEIGHTS", finished / "model_final.pth",
                  "SAD.TEACHER.WEIGHTS", "")  # fmt: skip
        assert not (output / "model_final.pth").exists()
        found.append(detections(output))
    assert found[0] == found[1] == detections(finished)
    assert len(found[0]) > 20


def test_other_weights_are_not_evaluated_in_a_runs_folder(
    finished, toy, tmp_path, monkeypatch, capsys
):
    """Their results would replace its own."""
    output = shutil.copytree(finished, tmp_path / "run")
    weights = ("MODEL.WEIGHTS", toy.path("teacher.pth"))
    with pytest.raises(SystemExit) as exit_:
        train_net(monkeypatch, toy, "student.yaml", output, "--eval-only", *weights)
    said = capsys.readouterr().err
    assert exit_.value.code == 2 and "holds a run" in said and "another OUTPUT_DIR" in said
    assert detections(output) == detections(finished)
    assert (output / "config.yaml").read_text() == (finished / "config.yaml").read_text()


@pytest.mark.slow
def test_run_resumed_with_more_iterations(finished, toy, tmp_path, monkeypatch):
    output = tmp_path / "run"
    shutil.copytree(finished, output)
    (output / "last_checkpoint").write_text("model_0000005.pth")
    (output / "metrics.json").unlink()
    train_net(monkeypatch, toy, "SAD.yaml", output, "--resume", "SOLVER.MAX_ITER", 12)
    assert "Starting training from iteration 6" in (output / "log.txt").read_text()
    assert [line["iteration"] for line in lines(output)] == [11, 12]
    one, other = (torch.load(path / "model_final.pth")["model"] for path in (finished, output))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_saved_config_describes_the_run(finished, toy, tmp_path, monkeypatch):
    shutil.copy(finished / "config.yaml", tmp_path)
    run_train_net(
        monkeypatch, "--config-file", tmp_path / "config.yaml", "OUTPUT_DIR", tmp_path / "again"
    )
    one, other = (
        torch.load(path / "model_final.pth")["model"] for path in (finished, tmp_path / "again")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_check_teacher(toy, tmp_path, monkeypatch):
    train_net(monkeypatch, toy, "SAD.yaml", tmp_path / "run", "--check-teacher",
              "SOLVER.MAX_ITER", 10)  # fmt: skip
    log = (tmp_path / "run" / "log.txt").read_text()
    checked = log.index("Evaluating the teacher before training")
    assert (
        checked < log.index("Evaluation results for toy_labeled") < log.index("Starting training")
    )
    assert log.count("Evaluation results for toy_labeled") == 2
    # The teacher's own run directory, which its yaml names, is not written to.
    assert not (toy.root / "never_written").exists()


# --- refused before any training ----------------------------------------------------------------


@pytest.fixture
def refused(monkeypatch, toy, tmp_path, capsys):
    """A function that runs train_net and gives the one sentence it ends with."""

    def run(name, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            train_net(monkeypatch, toy, name, tmp_path / "run", *arguments)
        assert exit_.value.code == 2
        output = capsys.readouterr()
        sentences = output.err.splitlines()
        errors = [line for line in sentences if line.startswith("error: ")]
        assert len(errors) == 1 and sentences[-1] == errors[0]
        assert "Traceback" not in output.err
        log = tmp_path / "run" / "log.txt"
        if log.exists():
            assert "Traceback" not in log.read_text()
            assert "Starting training" not in log.read_text()
        assert not list(tmp_path.glob("run/*.pth"))
        return errors[0]

    return run


@pytest.mark.parametrize(
    ("opts", "named"),
    [
        (["SAD.TEACHER.WEIGHTS", ""], "SAD.TEACHER.WEIGHTS is empty"),
        (["SAD.TEACHER.WEIGHTS", "absent.pth"], "absent.pth do not exist"),
        (["SAD.TEACHER.CONFIG_FILE", "absent.yaml"], "absent.yaml"),
        (["MODEL.WEIGHTS", "absent.pth"], "absent.pth do not exist"),
        (["MODEL.RETINANET.NUM_CLASSES", 3], "NUM_CLASSES is 3, it must be 2"),
        (["SAD.DISTILL.CLASS.LOSS", "mse"], "SAD.DISTILL.CLASS.LOSS is 'mse'"),
        (["SAD.DISTILL.LAMDA", 1], "SAD.DISTILL.LAMDA"),
        (["SOLVER.ACCUMULATION_STEPS", 3], "IMS_PER_BATCH is 2, it must be a multiple of 1 rank"),
        (["SOLVER.REFERENCE_WORLD_SIZE", 4], "SOLVER.IMS_PER_BATCH is 2, it must be a multiple"),
        (["DATASETS.TRAIN", "('nowhere',)"], "DATASETS.TRAIN names 'nowhere'"),
        (["DATASETS.TEST", "('nowhere',)"], "DATASETS.TEST names 'nowhere'"),
        (["DATASETS.TRAIN", "()"], "DATASETS.TRAIN"),
        # Known to Detectron2, but not downloaded, or $DETECTRON2_DATASETS is another folder.
        (["DATASETS.TRAIN", "('coco_2017_train',)"], "instances_train2017.json"),
        (["DATASETS.TEST", "('coco_2017_val',)"], "instances_val2017.json"),
        (["DATASETS.UNLABELED", "('coco_2017_unlabeled',)"], "image_info_unlabeled2017.json"),
        (["DATASETS.UNLABELED", "('toy_unlabeled',)"], "hard targets"),
        (["DATASETS.REGISTER.toy_pseudo_labels.JSON", "absent.json"], "absent.json does not exist"),
        (["DATASETS.REGISTER.toy_pseudo_labels.IMAGES", "absent"], "absent does not exist"),
        (["--eval-only"], "MODEL.WEIGHTS"),
        (["--eval-only", "--resume"], "checkpoint"),  # nothing there to resume
        (["--eval-only", "MODEL.WEIGHTS", "absent.pth"], "absent.pth do not exist"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_input(refused, opts, named):
    assert named in refused("SAD.yaml", *opts)


def test_missing_config(monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run_train_net(monkeypatch, "--config-file", "absent.yaml")
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: config absent.yaml: ")


@pytest.mark.parametrize("key", ["toy_labeled", "toy_pseudo_labels"])
def test_annotations_cut_short(refused, toy, tmp_path, key):
    content = (toy.root / "annotations" / "pseudo_labels.json").read_text()
    (tmp_path / "cut.json").write_text(content[: len(content) // 2])
    sentence = refused("SAD.yaml", f"DATASETS.REGISTER.{key}.JSON", tmp_path / "cut.json")
    assert "cut.json is no whole json" in sentence


def evaluation_set(toy, tmp_path, change):
    """KEY VALUE pairs that put a changed copy of the labelled json in the place of another set."""
    content = toy.json("labeled.json")
    change(content)
    (tmp_path / "test.json").write_text(json.dumps(content))
    return (
        *("DATASETS.REGISTER.toy_unlabeled.JSON", tmp_path / "test.json"),
        *("DATASETS.REGISTER.toy_unlabeled.IMAGES", toy.path("labeled")),
        *("DATASETS.TEST", "('toy_unlabeled',)", "SOLVER.MAX_ITER", 10),
    )


def test_evaluation_set_is_checked_before_training(refused):
    """Found missing after the training, it would cost the user the result of hours."""
    sentence = refused("SAD.yaml", "DATASETS.TEST", "('toy_unlabeled',)", "SOLVER.MAX_ITER", 10,
                       "DATASETS.REGISTER.toy_unlabeled.JSON", "absent.json")  # fmt: skip
    assert "toy_unlabeled: annotation file" in sentence


def test_evaluation_set_of_other_classes(refused, toy, tmp_path):
    def third_class(content):
        content["categories"].append({"id": 9, "name": "gray"})

    sentence = refused("SAD.yaml", *evaluation_set(toy, tmp_path, third_class))
    assert "toy_unlabeled" in sentence and "classes" in sentence


@pytest.mark.slow
def test_evaluation_needs_boxes_and_classes_alone(toy, tmp_path, monkeypatch):
    """AP of a json whose ids begin anew in each image, without areas and crowd flags."""

    def bare(content):
        for number, annotation in enumerate(content["annotations"]):
            annotation.pop("iscrowd")
            annotation.pop("area")
            annotation["id"] = number % 2

    evaluations = []
    for number, change in enumerate((lambda content: None, bare)):
        evaluation_set(toy, tmp_path, change)
        # Detectron2 checks that ids are unique where a path does not have this word in it.
        shutil.copy(tmp_path / "test.json", tmp_path / "minival.json")
        output = tmp_path / f"run{number}"
        run_train_net(
            *(monkeypatch, "--config-file", toy.path("teacher.yaml"), "--eval-only"),
            *("MODEL.WEIGHTS", toy.path("teacher.pth"), "OUTPUT_DIR", output),
            *("DATASETS.REGISTER.toy_labeled.JSON", tmp_path / "minival.json"),
        )
        evaluations.append((output / "log.txt").read_text().rpartition("copypaste: ")[2])
    assert evaluations[0] == evaluations[1] != ""


@pytest.mark.slow
def test_json_without_info_is_enough(toy, tmp_path, monkeypatch):
    opts = evaluation_set(toy, tmp_path, lambda content: content.pop("info", None))
    train_net(monkeypatch, toy, "SAD.yaml", tmp_path / "run", *opts)
    assert lines(tmp_path / "run")[-1]["bbox/AP"] >= 0


@pytest.mark.slow
def test_unreadable_images_end_in_one_sentence(toy, tmp_path, monkeypatch, capsys):
    """In the middle of the training, where Detectron2 would log the error with its traceback."""
    shutil.copytree(toy.root / "labeled", tmp_path / "images")
    for path in sorted((tmp_path / "images").iterdir())[1:]:
        path.write_bytes(b"")
    with pytest.raises(SystemExit) as exit_:
        train_net(monkeypatch, toy, "SAD.yaml", tmp_path / "run",
                  "DATASETS.REGISTER.toy_labeled.IMAGES", tmp_path / "images",
                  "DATASETS.TEST", "()", "DATALOADER.MAX_UNREADABLE", 0.0)  # fmt: skip
    assert exit_.value.code == 2
    assert "MAX_UNREADABLE" in capsys.readouterr().err.splitlines()[-1]
    assert "Traceback" not in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_folder_that_another_training_uses(refused, tmp_path, flags):
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"):
        assert "OUTPUT_DIR" in (sentence := refused("SAD.yaml", *flags)) and "in use" in sentence
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


# --- through the shell --------------------------------------------------------------------------


def shell(toy, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=toy.root,
        env={**os.environ, "PYTHONPATH": str(TRAIN_NET.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_three_steps_through_the_command_lines(toy, tmp_path):
    """Teacher, its boxes, student, evaluation: what the quickstart does, in small."""
    teacher, student = tmp_path / "teacher", tmp_path / "SAD"
    learn = ("SOLVER.BASE_LR", 0.1, "SOLVER.CLIP_FULL_MODEL_NORM", 1.0)
    shell(toy, TRAIN_NET, "--config-file", toy.path("teacher.yaml"), "OUTPUT_DIR", teacher, *learn,
          "SOLVER.MAX_ITER", 150)  # fmt: skip
    weights = teacher / "model_final.pth"

    boxes = tmp_path / "pseudo_labels.json"
    shell(
        *(toy, LABEL_UNLABELED, "--config-file", toy.path("teacher.yaml"), "--weights", weights),
        *("--json", toy.path("annotations/image_info.json"), "--images", toy.path("unlabeled")),
        *("--labeled-json", toy.path("annotations/labeled.json"), "--output", boxes),
    )
    written = json.loads(boxes.read_text())
    assert [category["name"] for category in written["categories"]] == ["light", "dark"]
    assert 6 <= len(written["annotations"]) <= 24  # calibrated to 2 an image
    assert all(0 < annotation["score"] <= 1 for annotation in written["annotations"])

    opts = (
        *("SAD.TEACHER.WEIGHTS", weights, "DATASETS.REGISTER.toy_pseudo_labels.JSON", boxes),
        *(*learn, "SOLVER.MAX_ITER", 60, "DATALOADER.NUM_WORKERS", 2),
    )
    shell(toy, TRAIN_NET, "--config-file", toy.path("SAD.yaml"), "OUTPUT_DIR", student, *opts)
    trained = lines(student)[-1]
    assert trained["iteration"] == 60

    evaluated = shell(
        *(toy, TRAIN_NET, "--config-file", toy.path("student.yaml"), "--eval-only"),
        *("MODEL.WEIGHTS", student / "model_final.pth", "OUTPUT_DIR", tmp_path / "evaluation"),
    )
    assert "Evaluation results for bbox" in evaluated.stdout
    assert detections(tmp_path / "evaluation") == detections(student)
    assert trained["bbox/AP50"] > 5


@pytest.mark.slow
def test_two_ranks_launched_and_resumed_under_torchrun(toy, tmp_path):
    opts = ("OUTPUT_DIR", tmp_path / "run", "SOLVER.MAX_ITER", 10, "SOLVER.IMS_PER_BATCH", 4)
    config = ("--config-file", toy.path("SAD.yaml"))
    shell(toy, TRAIN_NET, *config, "--num-gpus", 2, *opts)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "Effective batch 4 = 2 ranks x 1 accumulation steps x 2 images" in log
    assert lines(tmp_path / "run")[-1]["iteration"] == 10

    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port())
    opts += ("SOLVER.MAX_ITER", 14, "SOLVER.ACCUMULATION_STEPS", 2)
    shell(toy, *torchrun, TRAIN_NET, *config, "--resume", *opts)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "Starting training from iteration 10" in log
    assert "Effective batch 4 = 2 ranks x 2 accumulation steps x 1 images" in log
    assert lines(tmp_path / "run")[-1]["iteration"] == 14


@pytest.mark.slow
def test_bad_input_of_two_ranks(toy, tmp_path):
    """The sentence once, exit code 2, no traceback of a worker, and nobody left waiting."""
    done = shell(
        *(toy, TRAIN_NET, "--config-file", toy.path("SAD.yaml"), "--num-gpus", 2),
        *("OUTPUT_DIR", tmp_path / "run", "SAD.TEACHER.WEIGHTS", "absent.pth"),
        code=2,
    )
    assert done.stderr.count("error: ") == 1 and "absent.pth do not exist" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
