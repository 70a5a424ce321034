"""What a run depends on, when its result may be used again, and one chain of real runs."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sad.study.experiments import Experiment, Lab
from sad.utils.errors import UserError
from sad.utils.folder_lock import alone_in
from toy import REPOSITORY

BASE = """
_BASE_: {root}/{name}.yaml
DATASETS:
  REGISTER:
    toy_unlabeled:
      JSON: {root}/annotations/image_info.json
      IMAGES: {root}/unlabeled
SOLVER:
  MAX_ITER: 4
{more}
"""
SAD = """
SAD:
  TEACHER:
    CONFIG_FILE: configs/toy/teacher.yaml
"""


FASTER_RCNN = """
SAD:
  TEACHER:
    CONFIG_FILE: configs/toy/rcnn/teacher.yaml
{more}
"""


@pytest.fixture
def root(toy, tmp_path, monkeypatch):
    """A repository with a benchmark of its own, as the current directory."""
    for folder in ("projects", "scripts"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    configs = tmp_path / "configs" / "toy"
    configs.mkdir(parents=True)
    for name in ("teacher", "student", "SAD"):
        more = SAD if name == "SAD" else ""
        (configs / f"{name}.yaml").write_text(BASE.format(root=toy.root, name=name, more=more))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    return tmp_path


def lab(root, **arguments):
    return Lab(root, root / "output", root / "results.json", "toy_unlabeled", **arguments)


def test_a_config_says_what_it_needs(root):
    sad = Experiment(
        "toy", "SAD", 3, ("SAD.DISTILL.CLASS.WEIGHT", 2.0), ("DATASETS.LABELED_SHARE", 0.5)
    )
    assert sad.name == "SAD WEIGHT=2.0 LABELED_SHARE=0.5"
    assert sad.cfg.SAD.DISTILL.CLASS.WEIGHT == 2.0
    assert sad.teacher.name == "teacher LABELED_SHARE=0.5" and sad.teacher.seed == 3
    assert sad.pseudo_label_set == "toy_pseudo_labels"
    hard = replace(sad, opts=("SAD.DISTILL.TERMS", "()"))  # its teacher wrote the boxes
    assert hard.teacher and hard.pseudo_label_set
    soft = replace(sad, opts=("SAD.TARGETS.UNLABELED", "('soft',)"))
    assert soft.teacher and soft.pseudo_label_set is None
    assert soft.name == "SAD UNLABELED=soft LABELED_SHARE=0.5"
    neither = replace(hard, opts=(*hard.opts, "DATASETS.UNLABELED", "()"))
    assert neither.teacher is None
    student = Experiment("toy", "student")
    assert student.teacher is None and student.pseudo_label_set is None


def test_a_teacher_of_a_folder_below_and_one_that_is_downloaded(root):
    """The second is not trained here, and which one it is belongs to the settings."""
    below = root / "configs" / "toy" / "below"
    below.mkdir()
    (below / "SAD.yaml").write_text("_BASE_: ../SAD.yaml\n")
    (below / "teacher.yaml").write_text("_BASE_: ../teacher.yaml\n")
    keys = ("SAD.TEACHER.CONFIG_FILE", "configs/toy/below/teacher.yaml")
    sad = Experiment("toy", "below/SAD", 3, (*keys, "SAD.TARGETS.UNLABELED", "('soft',)"))
    assert sad.yaml == "configs/toy/below/SAD.yaml" and sad.teacher.config == "below/teacher"
    assert lab(root).directory(sad.teacher).parent == root / "output" / "toy" / "seed3" / "below"
    zoo = [
        replace(sad, opts=(*sad.opts, "SAD.TEACHER.WEIGHTS", f"detectron2://{name}"))
        for name in "ab"
    ]
    assert zoo[0].teacher is zoo[1].teacher is None
    assert len({e.digest for e in (sad, *zoo)}) == 3


def test_the_digest_follows_the_settings_and_nothing_else(root):
    sad = Experiment("toy", "SAD")
    same = [
        replace(sad, seed=5),  # which results are kept by
        replace(sad, opts=("OUTPUT_DIR", "elsewhere")),
        replace(sad, opts=("SAD.TEACHER.WEIGHTS", "elsewhere.pth")),
        replace(sad, opts=("DATALOADER.NUM_WORKERS", 2)),
        replace(sad, opts=("SAD.DISTILL.CLASS.BETA", 1.5)),  # the default
    ]
    assert {other.digest for other in same} == {sad.digest}
    others = [
        replace(sad, opts=("SAD.DISTILL.CLASS.BETA", 1.0)),
        replace(sad, opts=("SOLVER.MAX_ITER", 5)),
        replace(sad, opts=("DATASETS.TEST", "('toy_unlabeled',)")),
        replace(sad, shared_opts=("DATASETS.LABELED_SHARE", 0.5)),
        Experiment("toy", "student"),
    ]
    assert len({other.digest for other in (sad, *others)}) == 6
    yaml = root / "configs" / "toy" / "teacher.yaml"
    yaml.write_text(yaml.read_text().replace("MAX_ITER: 4", "MAX_ITER: 5"))
    assert Experiment("toy", "SAD").digest != sad.digest  # through its teacher


def test_a_known_result_of_the_same_settings_is_used_again(root):
    student = Experiment("toy", "student", 2)
    entry = {"AP": 1.5, "AP50": 3.0, "AP75": 1.0, "digest": student.digest, "data": student.data}
    (root / "results.json").write_text(json.dumps({"student": {"2": entry}}))
    assert lab(root).find(student) == entry
    assert lab(root).run_all([student]) == {student: entry}  # no run was started
    assert not (root / "output").exists()
    assert lab(root).find(replace(student, seed=1)) is None
    assert lab(root).find(replace(student, opts=("SOLVER.BASE_LR", 0.1))) is None
    # Another name for the same settings.
    assert lab(root).find(replace(student, opts=("SOLVER.MAX_ITER", 4))) == entry
    # Other images than those of the result.
    data = root / "datasets" / "toy"
    data.mkdir(parents=True)
    (data / "digits.json").write_text('{"labeled": 7}')
    assert lab(root).find(student) is None
    entry = {**entry, "data": {"labeled": 7}}
    (root / "results.json").write_text(json.dumps({"student": {"2": entry}}))
    assert lab(root).find(student) == entry
    yaml = root / "configs" / "toy" / "student.yaml"
    yaml.write_text(yaml.read_text().replace("MAX_ITER: 4", "MAX_ITER: 5"))
    assert lab(root).find(Experiment("toy", "student", 2)) is None


def test_other_annotations_are_other_images(root):
    """Where no digits.json says how they were made."""
    key = "DATASETS.REGISTER.toy_labeled.JSON"
    labels = root / "labels.json"
    student = Experiment("toy", "student", opts=(key, str(labels)))
    assert student.data is None
    labels.write_text("{}")
    before, run = student.data, lab(root).directory(student)
    assert before.keys() == {"toy_labeled"}
    entry = {"AP": 1.5, "digest": student.digest, "data": before}
    (root / "results.json").write_text(json.dumps({"student": {"0": entry}}))
    assert lab(root).find(student) == entry
    labels.write_text('{"images": []}')
    assert student.data != before and lab(root).directory(student) != run
    assert lab(root).find(student) is None


def test_other_settings_or_images_are_another_run(root):
    """A finished run is never taken for one of an edited yaml."""
    sad = Experiment("toy", "SAD")
    before = lab(root).directory(sad)
    assert lab(root).directory(Experiment("toy", "SAD", 1)).name == before.name
    yaml = root / "configs" / "toy" / "teacher.yaml"
    yaml.write_text(yaml.read_text().replace("MAX_ITER: 4", "MAX_ITER: 5"))
    edited = lab(root).directory(Experiment("toy", "SAD"))
    assert edited != before
    data = root / "datasets" / "toy"
    data.mkdir(parents=True)
    (data / "digits.json").write_text('{"labeled": 7}')
    assert lab(root).directory(Experiment("toy", "SAD")) not in (before, edited)


@pytest.mark.slow
def test_teacher_labels_and_student_are_run_once_and_kept(root):
    sad, student = Experiment("toy", "SAD"), Experiment("toy", "student")
    teacher = sad.teacher
    first = lab(root).run_all([teacher, student, sad])
    home = root / "output" / "toy" / "seed0"
    runs = [lab(root).directory(experiment) for experiment in (teacher, student, sad)]
    assert set(home.iterdir()) == set(runs)
    found = json.loads((runs[0] / "pseudo_labels.json").read_text())
    assert found["annotations"]
    assert str(runs[0] / "model_final.pth") in (runs[2] / "output.txt").read_text()
    for experiment, result in first.items():
        assert 0 <= result["AP"] <= 100 and result["seconds_per_iteration"] > 0
        assert lab(root).find(experiment) == result
    # Results and runs are there: nothing is trained again.
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    assert lab(root).run_all([sad, teacher, student]) == {e: first[e] for e in first}
    (root / "results.json").unlink()
    assert lab(root).result(sad) == first[sad]
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_what_another_command_is_at_comes_last(root, monkeypatch):
    taken, *free = experiments = [Experiment("toy", "student", seed) for seed in (0, 1, 2)]
    order = []
    held = alone_in(lab(root).directory(taken))
    held.__enter__()

    def result(self, experiment):
        order.append(experiment)
        if order == free:
            held.__exit__(None, None, None)  # the other one is done
        with alone_in(self.directory(experiment)):
            return {"AP": experiment.seed}

    monkeypatch.setattr(Lab, "result", result)
    found = lab(root, jobs=1).run_all(experiments)
    assert order[:2] == free and taken in order[2:]
    assert found == {experiment: {"AP": experiment.seed} for experiment in experiments}


@pytest.mark.slow
def test_two_commands_share_the_runs_of_a_faster_rcnn(root, toy):
    """One teacher and its one set of pseudo-labels, for students with terms and without."""
    folder = root / "configs" / "toy" / "rcnn"
    folder.mkdir()
    no_terms = "  DISTILL: {TERMS: []}"
    for name, base, more in (
        ("teacher", "rcnn_teacher", ""),
        ("TAR", "TAR", FASTER_RCNN.format(more="")),
        ("HT", "TAR", FASTER_RCNN.format(more=no_terms)),
    ):
        (folder / f"{name}.yaml").write_text(BASE.format(root=toy.root, name=base, more=more))
    experiments = [Experiment("toy", f"rcnn/{name}") for name in ("teacher", "TAR", "HT")]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: lab(root, jobs=1).run_all(experiments), range(2))
    assert one == other
    kept = json.loads((root / "results.json").read_text())
    assert kept == {e.name: {"0": result} for e, result in one.items()}
    assert one[experiments[1]]["teacher_AP"] == one[experiments[0]]["AP"]
    runs = root / "output" / "toy" / "seed0" / "rcnn"
    assert len(list(runs.iterdir())) == 3 and len(list(runs.glob("*/pseudo_labels.json"))) == 1


@pytest.mark.slow
def test_a_run_that_fails_names_its_log_and_is_the_last(root):
    broken = Experiment("toy", "student", 0, ("MODEL.RETINANET.NUM_CLASSES", 7))
    student = Experiment("toy", "student", 1)
    with pytest.raises(UserError, match="output.txt") as error:
        lab(root, jobs=1).run_all([broken, student])
    assert not lab(root).directory(student).exists()
    log = str(error.value).split("see ")[1].split(";")[0]
    assert "NUM_CLASSES is 7" in open(log).read()
