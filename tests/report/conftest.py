"""Finished runs of the toy problem."""

import shutil

import pytest

from toy import run_train_net


@pytest.fixture(scope="session")
def runs(toy, tmp_path_factory):
    """OUTPUT_DIRs of a teacher and a student after a few iterations; a test breaks a copy."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("teacher", "student"):
            arguments = ["TEST.EVAL_PERIOD", 5, "OUTPUT_DIR", root / name]
            config = toy.path(f"{name}.yaml")
            run_train_net(monkeypatch, "--config-file", config, *arguments)
    return root


@pytest.fixture
def student(runs, tmp_path):
    """A copy of the student's directory, to be broken."""
    return shutil.copytree(runs / "student", tmp_path / "student")
