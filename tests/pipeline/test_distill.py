"""The one call: what is checked before anything is written, and the configs that are given."""

import shutil

import pytest

from sad.config.load import get_sad_cfg
from sad.pipeline.configs import Paths
from sad.pipeline.distill import Teller, distill, prepare
from sad.pipeline.request import Request
from sad.utils.errors import UserError
from users_data import make_images, write_coco


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"student": "smal"}, "did you mean small"),
        ({"labeled": "absent.json"}, "do not exist"),
        ({"teacher": "absent.yaml", "teacher_weights": "t.pth"}, "absent.yaml"),
        ({"minutes": 1.0, "iterations": 3}, "--minutes has no say"),
    ],
)
def test_nothing_is_written_for_a_mistake(change, said, tmp_path):
    labels = write_coco(tmp_path / "labels.json", make_images(tmp_path / "images", 24, seed=1))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=said):
        distill(**{"labeled": str(labels), "output": str(tmp_path / "out"), **change})
    assert sorted(tmp_path.rglob("*")) == before


def test_configs_that_are_given(toy, tmp_path):
    folder = str(toy.root)
    request = Request(output=str(tmp_path), configs=folder, unlabeled=toy.path("unlabeled"), seed=3)
    request.check()
    experiment = prepare(request, Paths(str(tmp_path)), "sad distill")
    assert [step.name for step in experiment.steps()] == [
        *("teacher", "student", "label", "SAD", "report")
    ]
    opts = dict(zip(*[iter(experiment.opts["SAD"])] * 2, strict=True))
    assert opts["SEED"] == 3 and opts["OUTPUT_DIR"] == str(tmp_path / "runs" / "SAD")
    assert opts["SAD.TEACHER.WEIGHTS"] == str(tmp_path / "runs" / "teacher" / "model_final.pth")
    assert experiment.unlabeled == ["--images", toy.path("unlabeled")]
    with pytest.raises(UserError, match="give --unlabeled"):
        prepare(Request(output=str(tmp_path), configs=folder), Paths(str(tmp_path)), "")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A folder whose configs are written, and what they were asked for with; read-only."""
    folder = tmp_path_factory.mktemp("planned")
    labels = write_coco(folder / "labels.json", make_images(folder / "images", 24, seed=1))
    wishes = {"labeled": str(labels), "images": str(folder / "images"), "iterations": 7}
    wishes |= {"teacher": "tiny", "student": "tiny"}
    output = folder / "out"
    prepare(Request(output=str(output), **wishes), Paths(str(output)), "")
    return output, wishes


def content(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("redo", [False, True])
@pytest.mark.parametrize("edit", [False, True])
def test_a_copied_folder_leaves_the_original_alone(redo, edit, planned, tmp_path, monkeypatch):
    monkeypatch.setattr("sad.pipeline.experiment.run", lambda *_: pytest.fail("it runs"))
    output, wishes = planned
    copy = tmp_path / "copy"
    shutil.copytree(output, copy)
    student = copy / "configs" / "student.yaml"
    if edit:
        student.write_text(student.read_text().replace("MAX_ITER: 7", "MAX_ITER: 8"))
    before = content(output) | content(copy)
    with pytest.raises(UserError, match=rf"OUTPUT_DIR of {copy}.* is {output}.*--output"):
        distill(output=str(copy), redo=redo, **wishes)
    assert content(output) | content(copy) == before


@pytest.mark.slow
def test_a_copied_folder_that_is_planned_anew(planned, tmp_path):
    output, wishes = planned
    copy, wishes = tmp_path / "copy", wishes | {"iterations": 8}
    shutil.copytree(output, copy)
    experiment = prepare(Request(output=str(copy), redo=True, **wishes), Paths(str(copy)), "")
    assert get_sad_cfg(experiment.configs["SAD"]).OUTPUT_DIR == str(copy / "runs" / "SAD")


def test_a_folder_by_another_path_is_the_same(planned, tmp_path):
    output, wishes = planned
    (tmp_path / "link").symlink_to(output)
    link = str(tmp_path / "link")
    assert prepare(Request(output=link, **wishes), Paths(link), "").method == "SAD"


@pytest.mark.slow
@pytest.mark.parametrize("is_long", [False, True])
def test_a_config_that_writes_elsewhere(is_long, planned, tmp_path):
    output, wishes = planned
    folder = tmp_path / "out"
    prepare(Request(output=str(folder), **wishes), Paths(str(folder)), "")
    name = "student_long" if is_long else "SAD"
    (folder / "configs" / f"{name}.yaml").write_text(
        f"_BASE_: student.yaml\nOUTPUT_DIR: {output}/runs/{name}\n"
    )
    with pytest.raises(UserError, match=f"{name}.yaml"):
        prepare(Request(output=str(folder), **wishes), Paths(str(folder)), "")


def test_a_line_for_each_step(tmp_path, capsys):
    say = Teller(str(tmp_path))
    say("one")
    say("two")
    assert capsys.readouterr().out == (tmp_path / "log.txt").read_text() == "one\ntwo\n"


def test_the_output_is_looked_at_before_the_labels(tmp_path):
    """They may take minutes to read."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="--output .* cannot be written to"):
        distill(str(tmp_path / "absent.json"), output=str(tmp_path / "file" / "out"))
