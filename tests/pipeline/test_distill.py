"""The one call: what is checked before anything is written, and the configs that are given."""

import pytest

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


def test_a_line_for_each_step(tmp_path, capsys):
    say = Teller(str(tmp_path))
    say("one")
    say("two")
    assert capsys.readouterr().out == (tmp_path / "log.txt").read_text() == "one\ntwo\n"
