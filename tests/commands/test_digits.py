"""`sad digits`: the same files as the function's, where they shall lie, and a summary."""

import json

import pytest

from sad.digit_scenes.dataset import write_digit_scenes
from toy import REPOSITORY, run_script

SMALL = {"labeled": 5, "unlabeled": 4, "tune": 2, "minival": 3, "workers": 1}
SCRIPT = REPOSITORY / "scripts" / "make_digits.py"


def contents(root):
    """{relative path: bytes} of every file under a folder."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root): path.read_bytes() for path in files}


@pytest.mark.slow
def test_command_line(tmp_path, monkeypatch, capsys):
    write_digit_scenes(tmp_path / "expected", **SMALL)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    sizes = [part for key, value in SMALL.items() for part in (f"--{key}", value)]
    run_script(monkeypatch, SCRIPT, *sizes)
    assert contents(tmp_path / "digits") == contents(tmp_path / "expected")
    lines = capsys.readouterr().out.splitlines()
    labels = json.loads((tmp_path / "digits" / "annotations" / "labeled.json").read_text())
    objects = len(labels["annotations"])
    assert lines[0].split() == ["labeled", "5", "images", str(objects), "objects"]
    assert lines[1].split() == ["unlabeled", "4", "images", "no", "labels"]
    assert lines[-1].split() == ["preview", str(tmp_path / "digits" / "preview.png")]

    with pytest.raises(SystemExit) as stopped:
        run_script(monkeypatch, SCRIPT, *sizes, "--seed", 1)
    assert stopped.value.code == 2
    assert "--overwrite" in capsys.readouterr().err
