"""AP and time of a run, by the lines that training writes."""

import json

import pytest

from sad.pipeline.outcome import iterations_done, last_ap, seconds_per_iteration


def write(folder, *lines):
    (folder / "metrics.json").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(folder)


@pytest.mark.parametrize(
    ("last", "ap"),
    [
        ({"bbox/AP": 12.5}, 12.5),
        ({"val/bbox/AP": 1.5, "test/bbox/AP": 2.5}, 2.5),
        ({"bbox/AP": 1.5, "test/bbox/AP": 2.5}, 2.5),
        ({"test/bbox/AP": float("nan")}, 0.0),  # nothing was found
        ({"total_loss": 0.5}, None),  # it was killed in the last evaluation
        ({"other/bbox/AP": 2.5}, None),
    ],
)
def test_ap(last, ap, tmp_path):
    lines = (
        {"iteration": 4, "bbox/AP": 7.0},
        {"iteration": 9, "time": 1.0},
        {"iteration": 9, **last},
    )
    run = write(tmp_path, *lines)
    assert last_ap(run, "test") == ap and iterations_done(run) == 9


def test_time_is_a_mean(tmp_path):
    times = [{"iteration": n, "time": time} for n, time in enumerate((2.0, 0.5, 0.5))]
    assert seconds_per_iteration(write(tmp_path, *times, {"iteration": 3})) == 1.0
    times = [line | {"cpu_time": 2 * line["time"]} for line in times]
    assert seconds_per_iteration(write(tmp_path, *times)) == 2.0


def test_a_run_that_says_nothing(tmp_path):
    assert last_ap(str(tmp_path), "test") is seconds_per_iteration(str(tmp_path)) is None
    run = write(tmp_path)
    assert last_ap(run, "test") is seconds_per_iteration(run) is None
