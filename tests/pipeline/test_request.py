"""What can be asked for, and which wishes contradict each other."""

import pytest

from sad.pipeline.request import Request
from sad.utils.errors import UserError


@pytest.mark.parametrize(
    "given",
    [
        {"labeled": "a.json"},
        {"labeled": "a.json", "unlabeled": "b", "val": "c.json", "test": "d.json", "minutes": 3},
        {"data": "folder", "iterations": 5, "flips": False},
        {"configs": "configs/digits", "unlabeled": "digits_unlabeled"},
        {"labeled": "a.json", "teacher": "t.yaml", "teacher_weights": "t.pth"},
    ],
)
def test_wishes_that_go_together(given, tmp_path):
    Request(output=str(tmp_path / "new"), **given).check()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nothing to learn from"),
        ({"labeled": "a", "output": ""}, "--output is empty"),
        ({"data": "a", "labeled": "b"}, "--data has no say beside --labeled"),
        ({"data": "a", "test": "b"}, "--data has no say beside --test"),
        ({"data": "a", "images": "b"}, "--data has no say beside --images"),
        ({"data": "a", "configs": "b"}, "--data has no say beside --configs"),
        ({"configs": "a", "flips": False}, "--configs has no say beside --flips"),
        ({"configs": "a", "flips": True}, "--configs has no say beside --flips"),
        ({"configs": "a", "size": 64}, "--configs has no say beside --size"),
        (
            {"labeled": "a", "teacher": "t.yaml", "teacher_weights": "t", "size": 64},
            "--teacher-weights has no say beside --size",
        ),
        ({"labeled": "a", "size": 16}, "--size is 16, it must be at least 32"),
        ({"configs": "a", "student": "small"}, "--configs has no say beside --student"),
        ({"configs": "a", "layout": "voc"}, "--configs has no say beside --layout"),
        ({"configs": "a", "iterations": 4}, "--configs has no say beside --iterations"),
        ({"configs": "a", "minutes": 4.0}, "--minutes has no say beside --configs"),
        ({"configs": "a", "teacher_weights": "t"}, "--configs has no say beside --teacher-weights"),
        ({"configs": "a", "val": "v"}, "--configs has no say beside --val"),
        ({"labeled": "a", "minutes": 0}, "--minutes is 0"),
        ({"labeled": "a", "minutes": float("nan")}, "--minutes is nan"),
        ({"labeled": "a", "minutes": 3.0, "iterations": 5}, "--minutes has no say beside"),
        ({"configs": "a", "labeled": "b"}, "--configs has no say beside --labeled"),
        ({"configs": "a", "teacher": "b"}, "--configs has no say beside --teacher"),
        ({"labeled": "a", "teacher_weights": "t.pth"}, "goes with --teacher CONFIG"),
        ({"labeled": "a", "teacher": "tiny", "teacher_weights": "t"}, "goes with --teacher"),
        ({"labeled": "a", "iterations": 0}, "--iterations is 0"),
        ({"labeled": "a", "num_gpus": 0}, "--num-gpus is 0"),
        ({"labeled": "a", "seed": -1}, "--seed is -1"),
        ({"labeled": "a", "minutes": -2.0}, "--minutes is -2"),
    ],
)
def test_wishes_that_contradict_each_other(given, said, tmp_path):
    with pytest.raises(UserError, match=said):
        Request(**{"output": str(tmp_path / "new"), **given}).check()
    assert not list(tmp_path.iterdir())


def test_output_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken is a file"):
        Request(output=str(tmp_path / "taken"), labeled="a").check()


def test_settings_are_what_results_depend_on():
    one = Request(output="a", labeled="x.json", num_gpus=2, baseline=False, redo=True)
    other = Request(output="b", labeled="y.json")
    defaults = {"--student": "tiny", "--seed": 0, "--fixed-camera": False}
    assert one.settings() == other.settings() == defaults
    assert Request(output="a", data="x", flips=False).settings()["--flips"] is False


@pytest.mark.parametrize("flag", ["data", "images", "unlabeled"])
@pytest.mark.parametrize("output", ["photos", "photos/deep/out", "link/out"])
def test_an_output_among_the_users_own_files(flag, output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to("photos")
    given = {} if flag == "data" else {"labeled": "a.json"}
    with pytest.raises(UserError, match=f"lies in --{flag} photos"):
        Request(output=output, **{flag: "photos"}, **given).check()
    Request(output="photos_out", **{flag: "photos"}, **given).check()
