"""An experiment by configs that are there already."""

import shutil
import subprocess
import sys

import pytest

from sad.config.load import get_sad_cfg
from sad.pipeline.given_configs import CURVE, experiment_of_configs
from sad.pipeline.paths import Paths
from sad.pipeline.request import Request
from sad.utils.errors import UserError
from toy import REPOSITORY


def experiment(toy, folder, configs=None, **changes):
    wishes = {"unlabeled": toy.path("unlabeled"), "seed": 3, **changes}
    request = Request(output=str(folder), configs=str(configs or toy.root), **wishes)
    return experiment_of_configs(request, Paths(str(folder)), "sad distill")


def value(opts: list, key: str):
    return opts[len(opts) - 1 - opts[::-1].index(key) + 1]


def test_the_configs_are_as_they_are_but_for_where_they_write_and_lead(toy, tmp_path):
    found = experiment(toy, tmp_path)
    assert [step.name for step in found.steps()] == ["teacher", "student", "label", "SAD", "report"]
    for name in ("teacher", "student", "SAD"):
        cfg = get_sad_cfg(found.configs[name], found.opts[name])
        theirs = get_sad_cfg(toy.path(f"{name}.yaml"))
        assert cfg.OUTPUT_DIR == str(tmp_path / "runs" / name) and cfg.SEED == 3
        assert cfg.TEST.EVAL_PERIOD == theirs.SOLVER.MAX_ITER // CURVE
        assert cfg.SOLVER == theirs.SOLVER and cfg.MODEL == theirs.MODEL
    assert cfg.SAD.TEACHER.WEIGHTS == found.weights("teacher")
    assert cfg.SAD.TEACHER.CONFIG_FILE == toy.path("teacher.yaml")
    registered = cfg.DATASETS.REGISTER.toy_pseudo_labels
    assert registered.JSON == str(tmp_path / "pseudo_labels.json") == found.pseudo_labels
    assert registered.IMAGES == toy.path("unlabeled")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_report_is_on_the_last_of_several_test_sets(toy, configs, tmp_path):
    labels = f"JSON: {toy.root}/annotations/labeled.json, IMAGES: {toy.root}/labeled"
    sets = f"DATASETS: {{REGISTER: {{toy_held: {{{labels}}}}}, TEST: [toy_held, toy_labeled]}}\n"
    for name in ("teacher", "student", "SAD"):
        path = configs / f"{name}.yaml"
        path.write_text(path.read_text() + sets)
    found = experiment(toy, tmp_path / "out", configs)
    assert found.test_set == "toy_labeled"
    commands = []
    found._run = lambda name, command: commands.append(command)
    found.steps()[-1].work()
    assert commands[0][commands[0].index("--test-set") + 1] == "toy_labeled"

    path = configs / "teacher.yaml"
    path.write_text(path.read_text().replace("[toy_held, toy_labeled]", "[toy_held]"))
    with pytest.raises(UserError, match="teacher.yaml is not tested on toy_labeled"):
        experiment(toy, tmp_path / "out", configs)


def test_evaluations_that_a_yaml_asks_for_stay(toy, configs, tmp_path):
    path = configs / "student.yaml"
    stop = "TEST: {EVAL_PERIOD: 2}\nSOLVER: {EARLY_STOP: {PATIENCE: 3}}\n"
    path.write_text(f"{path.read_text()}{stop}")
    found = experiment(toy, tmp_path / "out", configs)
    cfgs = {name: get_sad_cfg(found.configs[name], found.opts[name]) for name in found.opts}
    assert cfgs["student"].TEST.EVAL_PERIOD == 2
    assert cfgs["SAD"].TEST.EVAL_PERIOD == max(1, cfgs["SAD"].SOLVER.MAX_ITER // CURVE)


KEY = "SAD.TEACHER.CACHE.DIR"


@pytest.mark.slow
def test_the_teachers_answers_are_kept_where_views_come_again(toy, configs, tmp_path):
    assert KEY not in experiment(toy, tmp_path / "out", configs).opts["SAD"]
    yaml = configs / "SAD.yaml"
    often = f"{yaml.read_text()}SOLVER: {{MAX_ITER: 90}}\n"
    yaml.write_text(often)
    found = experiment(toy, tmp_path / "out", configs)
    assert value(found.opts["SAD"], KEY) == str(tmp_path / "out" / "runs" / "teacher_answers")
    assert 0 < found.share_asked <= 0.5
    assert found.keep_for == ["--keep-for", found.configs["SAD"], *found.opts["SAD"]]
    for theirs in ("SAD: {TEACHER: {CACHE: {DIR: kept}}}", "INPUT: {CROP: {ENABLED: true}}"):
        yaml.write_text(often + theirs)
        found = experiment(toy, tmp_path / "out", configs)
        assert KEY not in found.opts["SAD"] and found.share_asked == 1 and not found.keep_for


def test_a_student_that_stands_in_a_distiller(toy, configs, tmp_path):
    """Which LOSS_NORMALIZERS global asks for."""
    alone = "MODEL: {META_ARCHITECTURE: Distiller}\nSAD: {DISTILL: {TERMS: []}}\n"
    (configs / "student.yaml").write_text(f"_BASE_: {toy.root}/student.yaml\n{alone}")
    often = f"_BASE_: {toy.root}/SAD.yaml\nSOLVER: {{MAX_ITER: 90}}\n"
    (configs / "SAD.yaml").write_text(often)
    assert 0 < experiment(toy, tmp_path / "out", configs).share_asked <= 0.5


@pytest.mark.slow
def test_it_goes_on_with_the_seed_of_the_command(toy, configs, tmp_path):
    """Not with that of the yaml, which has none."""
    found = experiment(toy, tmp_path / "out", configs)
    opts = [str(x) for x in (*found.opts["student"], "SOLVER.MAX_ITER", 2)]
    (configs / "student.yaml").write_text(
        f"_BASE_: {toy.root}/student.yaml\nSEED: -1\nSOLVER: {{MAX_ITER: 2}}\n"
    )
    train = [sys.executable, str(REPOSITORY / "projects" / "SAD" / "train_net.py")]
    command = [*train, "--config-file", str(configs / "student.yaml"), *opts]
    subprocess.run(command, check=True, capture_output=True)
    assert value(experiment(toy, tmp_path / "out", configs).opts["student"], "SEED") == 3


@pytest.fixture
def rcnn_configs(toy, tmp_path):
    folder = tmp_path / "configs"
    folder.mkdir()
    for name, base in {"teacher": "rcnn_teacher", "student": "rcnn_student", "TAR": "TAR"}.items():
        (folder / f"{name}.yaml").write_text(f"_BASE_: {toy.root}/{base}.yaml\n")
    return folder


def test_a_faster_rcnn_pair_is_taught_by_tar(toy, rcnn_configs, tmp_path):
    (rcnn_configs / "SAD.yaml").write_text("of another pair")
    found = experiment(toy, tmp_path / "out", rcnn_configs)
    assert [step.name for step in found.steps()] == ["teacher", "student", "label", "TAR", "report"]
    assert found.configs["TAR"] == str(rcnn_configs / "TAR.yaml")
    cfg = get_sad_cfg(found.configs["TAR"], found.opts["TAR"])
    assert cfg.OUTPUT_DIR == str(tmp_path / "out" / "runs" / "TAR")
    assert cfg.SAD.TEACHER.WEIGHTS == found.weights("teacher")
    assert cfg.DATASETS.REGISTER.toy_pseudo_labels.JSON == found.pseudo_labels


def test_configs_of_two_detectors(toy, rcnn_configs, tmp_path):
    (rcnn_configs / "TAR.yaml").write_text(f"_BASE_: {toy.root}/SAD.yaml\n")
    with pytest.raises(UserError, match="TAR.yaml describes a RetinaNet .* of one detector"):
        experiment(toy, tmp_path / "out", rcnn_configs)


def test_unlabelled_images_by_the_name_of_a_data_set(toy, tmp_path):
    found = experiment(toy, tmp_path, unlabeled="toy_unlabeled", baseline=False)
    assert found.unlabeled == ["--dataset", "toy_unlabeled"]
    assert found.images == {"the unlabelled images": toy.path("annotations/image_info.json")}
    assert [step.name for step in found.steps()] == ["teacher", "label", "SAD", "report"]


@pytest.mark.slow
def test_a_folder_is_known_by_the_names_in_it(toy, tmp_path):
    shutil.copytree(toy.root / "unlabeled", tmp_path / "more")
    before = experiment(toy, tmp_path / "out", unlabeled=str(tmp_path / "more")).images
    shutil.copy(tmp_path / "more" / "000001.png", tmp_path / "more" / "seventh.png")
    after = experiment(toy, tmp_path / "out", unlabeled=str(tmp_path / "more")).images
    assert before.keys() == after.keys() and before != after


@pytest.fixture
def configs(toy, tmp_path):
    """A folder that tests may change."""
    folder = tmp_path / "configs"
    folder.mkdir()
    for name in ("teacher", "student", "SAD"):
        (folder / f"{name}.yaml").write_text(f"_BASE_: {toy.root}/{name}.yaml\n")
    return folder


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("teacher", None, "teacher.yaml does not exist"),
        ("SAD", "SAD: [", "SAD.yaml"),
        ("student", "SOLVER: {MAX_ITER: 0}", "SOLVER.MAX_ITER is 0"),
        ("student", "DATASETS: {TEST: []}", "student.yaml tests on nothing"),
        ("teacher", "DATASETS: {TRAIN: [toy_labelled]}", "did you mean toy_labeled"),
        ("teacher", "MODEL: {RETINANET: {NUM_CLASSES: 7}}", "NUM_CLASSES is 7, it must be 2"),
        ("SAD", "DATASETS: {UNLABELED: []}", "learns from no unlabelled images"),
    ],
)
def test_configs_that_are_wrong(name, text, said, toy, configs, tmp_path):
    path = configs / f"{name}.yaml"
    if text is None:
        path.unlink()
    else:
        path.write_text(f"_BASE_: {toy.root}/{name}.yaml\n{text}")
    with pytest.raises(UserError, match=said):
        experiment(toy, tmp_path / "out", configs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [(None, "give --unlabeled"), ("toy_unlabelled", "did you mean toy_unlabeled")],
)
def test_unlabelled_images_that_are_wrong(given, said, toy, tmp_path):
    with pytest.raises(UserError, match=said):
        experiment(toy, tmp_path, unlabeled=given)
