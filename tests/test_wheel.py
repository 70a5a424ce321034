"""What `pip install .` brings: every file, and commands that work in an empty folder."""

import json
import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from processes import free_port
from toy import REPOSITORY

PROJECT = REPOSITORY / "projects" / "SAD"
SMALL = ("MODEL.RETINANET.SCORE_THRESH_TEST", "0.001", "SOLVER.IMS_PER_BATCH", "4",
         "SOLVER.MAX_ITER", "2")  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what a wheel is built from: setuptools writes into the folder."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    for name in ("projects", "configs", "model_zoo"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    pip("wheel", source, *offline, "--wheel-dir", folder)
    (path,) = folder.iterdir()
    return path


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def environment(folder: Path, *what) -> Path:
    """A virtual environment with all packages of this interpreter but its `sad`, and with `what`.

    Of another interpreter's packages .pth files, such as that of an editable install, do not count.
    """
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    pip("--python", folder / "bin" / "python", "install", *offline, *what)
    return folder


class Shell:
    """Runs commands of a virtual environment in a folder."""

    def __init__(self, environment: Path, folder: Path):
        self.bin, self.folder = environment / "bin", folder

    def __call__(self, command: str, *arguments) -> str:
        unset = ("PYTHONPATH", "PYTORCH_JIT", "DETECTRON2_DATASETS")
        done = subprocess.run(
            [self.bin / command, *map(str, arguments)],
            cwd=self.folder,
            env={key: value for key, value in os.environ.items() if key not in unset},
            capture_output=True,
            text=True,
            timeout=540,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def files(folder: Path) -> dict[str, bytes]:
    """{path below the folder: content}, without what Python leaves there."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.slow
def test_a_wheel_holds_the_package_the_configs_and_the_model_zoo(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        held = {name: archive.read(name) for name in names}
    expected = {"sad_command.py": (PROJECT / "sad_command.py").read_bytes()}
    expected |= {f"sad/{name}": content for name, content in files(PROJECT / "sad").items()}
    configs = files(REPOSITORY / "configs")
    expected |= {f"sad/configs/{name}": content for name, content in configs.items()}
    weights = files(REPOSITORY / "model_zoo")
    expected |= {f"sad/model_zoo/{name}": content for name, content in weights.items()}
    assert held.keys() == expected.keys() and held == expected


@pytest.mark.slow
def test_from_images_to_a_student_in_an_empty_folder(wheel, tmp_path):
    """Every way to start a command: `sad`, `python -m`, two processes of its own, torchrun."""
    folder = tmp_path / "empty"
    folder.mkdir()
    shell = Shell(environment(tmp_path / "venv", wheel), folder)
    assert "train" in shell("sad", "--help") and shell("sad", "--version").startswith("sad 0")

    shell("sad", "digits", "--labeled", 4, "--unlabeled", 4, "--tune", 2, "--minival", 3,
          "--workers", 1)  # fmt: skip
    shell("sad", "train", "--config-file", "configs/digits/teacher.yaml",
          "OUTPUT_DIR", "teacher", *SMALL)  # fmt: skip
    boxes = "datasets/digits/annotations/pseudo_labels.json"
    shell(
        *("python", "-m", "sad_command", "label", "--config-file", "configs/digits/teacher.yaml"),
        *("--weights", "teacher/model_final.pth", "--dataset", "digits_unlabeled"),
        *("--labeled-dataset", "digits_labeled", "--output", boxes, *SMALL[:2]),
    )
    distill = ("--config-file", "configs/digits/SAD.yaml", "OUTPUT_DIR", "SAD",
               "SAD.TEACHER.WEIGHTS", "teacher/model_final.pth")  # fmt: skip
    shell("sad", "train", "--num-gpus", 2, *distill, *SMALL)
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port())
    shell("python", *torchrun, "-m", "sad_command", "train", "--resume", *distill,
          *SMALL[:-1], 4)  # fmt: skip
    *_, last = (folder / "SAD" / "metrics.json").read_text().splitlines()
    assert json.loads(last)["iteration"] == 4 and "bbox/AP" in json.loads(last)
    assert "2 ranks" in (folder / "SAD" / "log.txt").read_text()

    shell("sad", "report", "--output", "report", "--images", 2,
          "--run", "teacher=teacher", "--run", "SAD=SAD")  # fmt: skip
    report = json.loads((folder / "report" / "report.json").read_text())
    assert [run["name"] for run in report["runs"]] == ["teacher", "SAD"]
    assert report["command"].startswith("sad report --output report")

    program = (
        "import sad, sad_command, glob\n"
        "found = sad.Predictor('SAD')(glob.glob('datasets/digits/minival/*.jpg')[0])\n"
        "print(len(found), sad.__file__, sad_command.__file__, sep='\\n')\n"
        "print(sad.model_zoo.get_checkpoint('digits/SAD'), len(sad.model_zoo.names()))"
    )
    count, *modules, weights = shell("python", "-c", program).splitlines()
    weights, number = weights.split()
    assert Path(weights).is_relative_to(tmp_path / "venv") and int(number) == 3
    assert int(count) >= 0
    assert all(Path(module).is_relative_to(tmp_path / "venv") for module in modules)


@pytest.mark.slow
def test_a_clone_that_is_installed_to_be_changed(source, tmp_path):
    """The modules and configs of the clone, from any folder."""
    shell = Shell(environment(tmp_path / "venv", "--editable", source), tmp_path)
    assert "--config-file" in shell("sad", "train", "--help")
    program = (
        "import sad\nfrom sad.config.load import config_path\n"
        "print(sad.__file__, config_path('configs/digits/SAD.yaml'), sep='\\n')"
    )
    package, config = shell("python", "-c", program).splitlines()
    assert Path(package).samefile(source / "projects" / "SAD" / "sad" / "__init__.py")
    assert Path(config).samefile(source / "configs" / "digits" / "SAD.yaml")
