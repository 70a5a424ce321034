"""How long everything takes: ten steps of each network, and their sum."""

import os

import pytest

from sad.config.load import get_sad_cfg
from sad.pipeline.estimate import BESIDES, seconds_per_iteration, total_seconds

BOTH = ("student", "student_long")


def test_total():
    seconds = {"teacher": 2.0, "student": 0.5, "SAD": 1.5}
    iterations = {"teacher": 100, "student": 200, "SAD": 200}
    alone = 200 * 0.5 + 200 * 1.5  # as many iterations, and as long
    assert total_seconds(seconds, iterations, BOTH) == BESIDES * (200 + 300 + alone)
    assert total_seconds(seconds, iterations, ()) == BESIDES * (200 + 300)
    assert total_seconds(seconds, iterations, BOTH[:1]) == BESIDES * (200 + 300 + 100)
    fewer = total_seconds(seconds, iterations, (), asked=0.25)
    assert fewer == BESIDES * (200 + 200 * (0.5 + 0.25))
    tar = {name.replace("SAD", "TAR"): x for name, x in seconds.items()}
    assert total_seconds(tar, {"teacher": 100, "student": 200, "TAR": 200}, BOTH) == (
        total_seconds(seconds, iterations, BOTH)
    )
    given = {"student": 0.5, "SAD": 1.5}  # a teacher that is there already
    assert total_seconds(given, {"student": 200, "SAD": 200}, ()) == BESIDES * 300


def test_steps_are_timed_on_as_many_gpus(monkeypatch):
    commands = []
    monkeypatch.setattr("sad.pipeline.estimate.run", lambda command, log: commands.append(command))
    monkeypatch.setattr("sad.pipeline.estimate.read_metrics", lambda path: [{"time": 0.5}])
    configs = {"teacher": "t.yaml", "student": "s.yaml", "SAD": "S.yaml"}
    found = seconds_per_iteration(configs, {"student": ["SEED", 3]}, 4)
    assert found == {"teacher": 0.5, "student": 0.5, "SAD": 0.5}
    for command, config in zip(commands, configs.values(), strict=True):
        arguments = command[command.index("train") :]
        assert arguments[:5] == ["train", "--config-file", config, "--num-gpus", "4"]
    assert commands[1][commands[1].index("SEED") + 1] == "3"


@pytest.mark.slow
def test_timed_steps(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configs = {name: toy.path(f"{name}.yaml") for name in ("teacher", "student", "SAD")}
    found = seconds_per_iteration(configs, {}, 1)
    assert set(found) == set(configs) and all(0 < x < 60 for x in found.values())
    del configs["teacher"]  # SAD.yaml names one that is there
    keeps = {"SAD": ["SAD.TEACHER.CACHE.DIR", str(tmp_path / "answers")]}
    assert set(seconds_per_iteration(configs, keeps, 1)) == {"student", "SAD"}
    assert not list(tmp_path.iterdir())
    assert not os.path.exists(get_sad_cfg(configs["student"]).OUTPUT_DIR)
