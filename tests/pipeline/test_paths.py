"""The folder that the user names: where things lie in it, and whose it is."""

import pytest

from processes import locked
from sad.pipeline.paths import Paths, read_own
from sad.utils.errors import UserError


def test_where_things_lie():
    paths = Paths("/out")
    assert paths.config("SAD") == "/out/configs/SAD.yaml"
    assert paths.data("train.json") == "/out/data/train.json"
    assert paths.run("SAD") == "/out/runs/SAD"
    assert paths.weights("SAD") == "/out/runs/SAD/model_final.pth"


def test_the_old_goes_to_one_folder_of_each_call(tmp_path):
    for number in (1, 2):
        paths = Paths(str(tmp_path))
        for name in ("a.txt", "runs"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "inner").write_text(f"{number}")
            paths.keep([paths.of(name), paths.of("absent"), ""])
            assert not (tmp_path / name).exists()
            assert (tmp_path / "old" / f"{number}" / name / "inner").read_text() == f"{number}"


def test_a_folder_is_one_process_s(tmp_path):
    paths = Paths(str(tmp_path / "deep" / "new"))
    paths.take()
    paths.take()  # the same process
    with locked(tmp_path), pytest.raises(UserError, match="in use by process"):
        Paths(str(tmp_path)).take()


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.yaml").write_text("MINE: 1")
    with pytest.raises(UserError, match="holds configs of something else"):
        Paths(str(tmp_path)).take()
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]
    (tmp_path / "plan.json").write_text("{}")  # ours, copied without hidden files
    Paths(str(tmp_path)).take()


def test_a_place_is_checked_without_a_trace(tmp_path):
    Paths(str(tmp_path / "deep" / "new")).check()
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(UserError, match="--output .* cannot be written to"):
            Paths(str(folder)).check()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_other_files_are_in_nobody_s_way(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    Paths(str(tmp_path)).take()


def test_what_this_command_has_written(tmp_path):
    path = tmp_path / "plan.json"
    assert read_own(str(path), lambda _: False) == {}
    path.write_text('{"a": 1}')
    assert read_own(str(path), lambda found: "a" in found) == {"a": 1}
    with pytest.raises(UserError, match="plan.json is none that"):
        read_own(str(path), lambda found: "b" in found)
