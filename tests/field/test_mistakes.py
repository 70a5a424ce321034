"""What users get wrong: each mistake ends in one sentence and exit code 2, with nothing written.

A row of the tables in tests/mistakes is a mistake, the command that makes it, and what the sentence
must say: the key or file, and what to do.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from mistakes import MISTAKES, TABLES
from processes import locked
from sad.modeling.build import build_detector
from sad.pipeline.paths import Paths
from sad.pipeline.plan import make_plan
from sad.pipeline.request import Request
from sad.utils.files import LOCK
from toy import REPOSITORY, TRAIN_NET, run_script

CHANGES = {  # what is done to each annotation of a good json
    "corners": lambda coco, a: a.update(bbox=_corners(a["bbox"])),
    "shares": lambda coco, a: a.update(bbox=[value / 100 for value in a["bbox"]]),
    "text_ids": lambda coco, a: a.update(image_id=str(a["image_id"])),
    "crowds": lambda coco, a: a.update(iscrowd=1),
    "crowd_flag": lambda coco, a: a.update(iscrowd="perhaps"),
    "text_category": lambda coco, a: a.update(category_id=str(a["category_id"])),
    "gray": lambda coco, a: coco["categories"][1].update(name="gray"),
}


def _corners(box: list) -> list:
    x, y, w, h = box
    return [x, y, x + w, y + h]


IN_THE_SHELL = (
    "typo in a section",
    "C4 for a teacher",
    "folder of another run",
    "annotations cut short",
    "labelling with another network's weights",
    "negative seed",
)


@pytest.fixture(scope="module")
def wrong(toy, tmp_path_factory):
    """A folder of files that are given in the place of others."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, text in {
        "broken.yaml": "SAD: [",
        "no_base.yaml": "_BASE_: absent.yaml",
        "typo.yaml": f"_BASE_: {toy.root}/SAD.yaml\nSAD: {{TEECHER: {{WEIGHTS: a.pth}}}}",
        "nan.yaml": f"_BASE_: {toy.root}/SAD.yaml\nSAD: {{DISTILL: {{CLASS: {{WEIGHT: .nan}}}}}}",
        "faster_rcnn.yaml": "MODEL: {META_ARCHITECTURE: GeneralizedRCNN}",
        "cut.json": json.dumps(toy.json("labeled.json"))[:500],
        "digits.json": "{",
        "half.json": '{"light": 0.5}',
        "more.json": '{"light": 0.5, "dark": 0.5, "lights": 0.5}',
        "percent.json": '{"light": 0.5, "dark": 50}',
        "list.json": "[0.5, 0.5]",
        "lazy.py": "model = dict(num_classes=2)",
        "nameless.yaml": "train: images",
        "svg/a.xml": "<svg/>",
        "entities/a.xml": '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>',
        "two_layouts/a.xml": "<annotation/>",
        "two_layouts/a.txt": "0 0.5 0.5 0.1 0.1",
        **{f"twice/{x}/labels/a.txt": "0 0.5 0.5 0.1 0.1" for x in ("val", "valid")},
        "untrained/test/labels/a.txt": "0 0.5 0.5 0.1 0.1",
        **{f"sets/{x}/labels/a.txt": "0 0.5 0.5 0.1 0.1" for x in ("train", "test")},
        "imageless/labels/a.txt": "0 0.5 0.5 0.1 0.1",
        "imageless/data.yaml": "names: [cat]",
        "theirs/configs/base.yaml": "MINE: 1",
        "plan/plan.json": '{"days": 3}',
        "empty.yaml": "",
        "broken.onnx": "no protobuf",
        "broken.pt2": "no zip",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("svg", "entities", "two_layouts"):
        Image.new("RGB", (8, 8)).save(folder / name / "a.png")
    content = toy.json("labeled.json")
    content["categories"].append({"id": 9, "name": "gray"})
    (folder / "three_classes.json").write_text(json.dumps(content))
    (folder / "via.json").write_text(json.dumps({"a.png1": {"filename": "a.png", "regions": []}}))
    for name, change in CHANGES.items():
        content = toy.json("labeled.json")
        for annotation in content["annotations"]:
            change(content, annotation)
        (folder / f"{name}.json").write_text(json.dumps(content))
    content = {**toy.json("labeled.json"), "annotations": []}
    (folder / "no_labels.json").write_text(json.dumps(content))
    content = toy.json("labeled.json")
    for image in content["images"]:
        image["width"] += 1
    (folder / "wider.json").write_text(json.dumps(content))
    shutil.copytree(toy.root / "unlabeled", folder / "images")
    (folder / "images" / "000004.png").unlink()
    shutil.copytree(toy.root / "labeled", folder / "empty")
    (folder / "empty" / "000004.png").write_bytes(b"")
    (folder / "floats").mkdir()
    for path in (toy.root / "unlabeled").iterdir():
        grey = Image.open(path).convert("F")
        grey.save(folder / "floats" / path.name, "TIFF")
    (folder / "shown" / "predicted_pictures").mkdir(parents=True)
    for name in ("folder.pth", "folder.onnx"):
        (folder / name).mkdir()
    (folder / "run").mkdir()
    (folder / "done").mkdir()
    (folder / "done" / "model_final.pth").touch()
    (folder / "run" / "last_checkpoint").write_text("model_final.pth")
    model = build_detector(toy.cfg("student.yaml"))
    torch.save({"model": model.state_dict()}, folder / "student.pth")
    teacher = {"model": build_detector(toy.cfg("teacher.yaml")).state_dict()}
    torch.save(teacher, folder / "nameless.pth")
    (folder / "cut.pth").write_bytes((folder / "student.pth").read_bytes()[:1000])
    torch.save({"layer1.0.conv1.weight": torch.zeros(3, 3)}, folder / "resnet.pth")
    shutil.copytree(toy.root / "labeled", folder / "copies")
    write_configs(folder / "untested", toy, "DATASETS: {TEST: []}")
    write_configs(folder / "supervised", toy, "DATASETS: {UNLABELED: []}")
    rcnn = {"teacher": "rcnn_teacher", "student": "rcnn_student"}
    write_configs(folder / "two_detectors", toy, names={**rcnn, "teacher": "teacher", "TAR": "TAR"})
    write_configs(folder / "no_tar", toy, names={**rcnn, "SAD": "SAD"})
    for name in ("planned", "cut_record", "broken_config"):
        write_plan(folder / name, toy)
    (folder / "cut_record" / "state.json").write_text('{"teacher": ')
    (folder / "broken_config" / "configs" / "student.yaml").write_text("SOLVER: [")
    for name in ("busy", "busy_labelling"):
        (folder / name).mkdir()
    with locked(folder / "busy"), locked(folder / "busy_labelling"):
        yield folder


SAD_PAIR = {name: name for name in ("teacher", "student", "SAD")}


def write_configs(folder: Path, toy, last_line: str = "", names: dict = SAD_PAIR) -> None:
    folder.mkdir()
    for name, base in names.items():
        (folder / f"{name}.yaml").write_text(f"_BASE_: {toy.root}/{base}.yaml\n{last_line}\n")


def write_plan(folder: Path, toy) -> None:
    """What the first call of `sad distill` leaves, before its first step."""
    labels = toy.path("annotations/labeled.json")
    request = Request(str(folder), labels, toy.path("labeled"), test=labels, teacher="tiny")
    make_plan(request, Paths(str(folder)))


def test_the_tables_cover_every_command():
    assert len(MISTAKES) == sum(map(len, TABLES))  # no mistake has another's name
    commands = {mistake[0].split()[0] for mistake in MISTAKES.values()}
    assert commands == {
        "train_net",
        *(path.stem for path in scripts() if path.stem != "install_detectron2"),
    }


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake, toy, wrong, tmp_path, monkeypatch, capsys):
    name, *arguments = filled_in(mistake, toy, wrong, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = files(toy.root, wrong, tmp_path)
    with pytest.raises(SystemExit) as exit_:
        run_script(monkeypatch, path_of(name), *arguments)
    check(mistake, exit_.value.code, capsys.readouterr().err, toy, wrong, tmp_path)
    assert files(toy.root, wrong, tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("mistake", IN_THE_SHELL)
def test_mistake_in_the_shell(mistake, toy, wrong, tmp_path):
    """From the start of the interpreter to its end; 15 s are for a machine that does no more."""
    name, *arguments = filled_in(mistake, toy, wrong, tmp_path)
    before = files(toy.root, wrong, tmp_path)
    start = os.times()
    done = subprocess.run(
        [sys.executable, path_of(name), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TRAIN_NET.parent)},
        capture_output=True,
        text=True,
    )
    end = os.times()
    check(mistake, done.returncode, done.stderr, toy, wrong, tmp_path)
    assert files(toy.root, wrong, tmp_path) == before
    computed = sum(end[i] - start[i] for i in (2, 3))  # of child processes, user and system
    assert computed < 15


def scripts() -> list[Path]:
    return sorted((REPOSITORY / "scripts").glob("*.py"))


def path_of(name: str) -> Path:
    return TRAIN_NET if name == "train_net" else REPOSITORY / "scripts" / f"{name}.py"


def filled_in(mistake: str, toy, wrong: Path, tmp_path: Path) -> list[str]:
    places = {"{toy}": toy.root, "{wrong}": wrong, "{out}": tmp_path / "out"}
    text = MISTAKES[mistake][0]
    for place, path in places.items():
        text = text.replace(place, str(path))
    return shlex.split(text)


def files(*folders: Path) -> dict:
    found = (path for folder in folders for path in folder.rglob("*"))
    paths = [path for path in found if path.name != LOCK]  # whoever looks at a folder holds it
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def check(mistake: str, code: int, stderr: str, toy, wrong: Path, tmp_path: Path) -> None:
    assert code == 2
    assert "Traceback" not in stderr
    sentences = [line.partition("error: ")[2] for line in stderr.splitlines() if "error: " in line]
    assert len(sentences) == 1 and stderr.rstrip().endswith(sentences[0])
    for part in MISTAKES[mistake][1:]:
        assert part in sentences[0]
    for folder in (toy.root, wrong, tmp_path):  # pytest's are long
        sentences[0] = sentences[0].replace(str(folder), "")
    assert len(sentences[0]) < 350
