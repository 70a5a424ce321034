"""Both files are written, or none."""

import json

import pytest

from sad.inspection.run import inspect_data
from sad.utils.errors import UserError


@pytest.mark.slow
def test_page_and_json(faulty, tmp_path):
    sets, unlabeled = faulty
    output = tmp_path / "output"
    summary = inspect_data(sets, str(output), unlabeled=unlabeled, command="the command")
    assert sorted(path.name for path in output.iterdir()) == ["inspection.html", "inspection.json"]
    assert json.loads((output / "inspection.json").read_text()) == summary
    page = (output / "inspection.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and "the command" in page


def test_a_mistake_writes_nothing(faulty, tmp_path):
    sets, _ = faulty
    bad = {"train": sets["train"]._replace(json_file=str(tmp_path / "absent.json"))}
    with pytest.raises(UserError, match="absent.json"):
        inspect_data(bad, str(tmp_path / "output"))
    assert not (tmp_path / "output").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--output"):
        inspect_data(sets, str(tmp_path / "file"))
