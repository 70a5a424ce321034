"""Ranks meet, whoever starts them, and one that dies ends the job."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import launch_rank
from processes import SLURM, TORCHRUN, free_port, run_job, slurm_tasks
from sad.engine import launch
from sad.engine.launch import start
from sad.utils.errors import STOPPED, UserError
from toy import TRAIN_NET

SCRIPT = Path(launch_rank.__file__)


def arguments(**given):
    return SimpleNamespace(
        **{
            **{"num_gpus": 1, "num_machines": 1, "machine_rank": 0, "dist_url": "auto"},
            **{"fate": "well", "rank": 1, "everywhere": False, **given},
        }
    )


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", [TORCHRUN, SLURM])
@pytest.mark.parametrize("given", [{"num_gpus": 4}, {"num_machines": 2}])
def test_two_launchers(environment, given, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="has started [48] ranks, so leave out --num-gpus"):
        start(launch_rank.main, arguments(**given))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"num_machines": 2, "machine_rank": 2, "dist_url": "tcp://h:1"}, "--machine-rank is 2"),
        ({"num_machines": 2}, "--num-machines 2 needs --dist-url"),
        ({"num_gpus": 2, "dist_url": "127.0.0.1:1"}, "--dist-url is 127.0.0.1:1, it must be tcp"),
        ({"num_gpus": 2, "dist_url": "tcp://h"}, "--dist-url is tcp://h, it must be tcp://HOST"),
        ({"num_gpus": 2, "dist_url": "tcp://:1"}, "--dist-url is tcp://:1, it must be tcp"),
        ({"num_gpus": 2, "dist_url": "tcp://h:x"}, "--dist-url is tcp://h:x, it must be tcp"),
        ({"num_gpus": 2, "dist_url": "tcp://h:70000"}, "--dist-url is tcp://h:70000, it must be"),
    ],
)
def test_machines(given, named):
    with pytest.raises(UserError, match=named):
        start(launch_rank.main, arguments(**given))


# --- ranks forked from this process, with SLURM's variables -----------------------------------


@pytest.fixture
def job(capfd, monkeypatch):
    """A function that runs a job: (exit codes, lines of stdout, stderr)."""
    monkeypatch.setattr(launch, "GRACE_SECONDS", 0.5)

    def run(*args, environments=None, seconds=60, **given):
        environments = environments or slurm_tasks()
        args = args or [arguments(**given)] * len(environments)
        codes = run_job(launch_rank.main, args, environments, seconds)
        output = capfd.readouterr()
        return codes, output.out.splitlines(), output.err

    return run


def met(lines) -> list[list[int]]:
    return [json.loads(line) for line in lines if line.startswith("[")]


def test_one_rank_runs_in_this_process(capfd):
    start(launch_rank.main, arguments())
    assert met(capfd.readouterr().out.splitlines()) == [[0, 1, 0, 1, 1]] * 2


def test_ranks_of_slurm(job):
    codes, lines, _ = job()
    assert codes == [0, 0]
    assert sorted(met(lines)) == [[0, 2, 0, 2, 3]] * 2 + [[1, 2, 1, 2, 3]] * 2
    assert lines[0].startswith("Waiting for 2 ranks of SLURM at 127.0.0.1:")


def test_ranks_of_two_machines(job):
    tasks = [{**task, "SLURM_LOCALID": "0"} for task in slurm_tasks()]
    for task in tasks:
        task |= {"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "MASTER_ADDR": "127.0.0.1"}
    codes, lines, _ = job(environments=tasks)
    assert codes == [0, 0]
    assert sorted(met(lines)) == [[0, 2, 0, 1, 3]] * 2 + [[1, 2, 0, 1, 3]] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fate", "codes", "said"),
    [
        ("exception", [1, 1], "error: rank 1 of 2: ValueError: a bug of mine"),
        ("killed", [1, -9], "error: rank 0 of 2: RuntimeError: "),
        ("mistake", [1, 2], "error: SOME.KEY is 3, it must be 4"),
        ("exit", [1, 5], "error: rank 0 of 2: RuntimeError: "),
    ],
)
def test_dead_rank_ends_the_others(job, fate, codes, said):
    found, lines, err = job(fate=fate)
    assert found == codes
    assert said in err
    assert len(met(lines)) == 2  # they had met before


def test_mistake_of_all_ranks(job):
    codes, _, err = job(fate="mistake", everywhere=True)
    assert codes == [2, 2]
    assert "Traceback" not in err


@pytest.mark.slow
def test_rank_that_waits_in_vain(job):
    """Nobody closes the connection: the timeout is what ends it."""
    codes, _, err = job(fate="asleep", seconds=4)
    assert codes == [1, 1]
    assert "error: rank 0 of 2: RuntimeError: " in err and "Timed out" in err


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_ranks_that_never_start(job, rank):
    codes, _, err = job(environments=[slurm_tasks()[rank]], seconds=2)
    assert codes == [2]
    assert f"error: rank {rank} did not meet the other 1 at 127.0.0.1:" in err


@pytest.fixture
def port_in_use():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield str(listener.getsockname()[1])


@pytest.mark.parametrize("port", ["29500x", "0", "70000", "-1"])
def test_port_that_is_none(job, port):
    tasks = [{**task, "MASTER_PORT": port} for task in slurm_tasks()]
    codes, _, err = job(environments=tasks)
    assert codes == [2, 2] and "Traceback" not in err
    assert f"'{port}': they must be a host's name and a port" in err


def test_port_in_use(job, port_in_use):
    codes, _, err = job(environments=[{**slurm_tasks()[0], "MASTER_PORT": port_in_use}], seconds=2)
    assert codes == [2] and "Traceback" not in err
    assert f"rank 0 did not meet the other 1 at 127.0.0.1:{port_in_use}" in err


@pytest.mark.slow
def test_host_that_cannot_be_reached(job):
    task = {**slurm_tasks()[1], "MASTER_ADDR": "no-such-host.invalid"}
    codes, _, err = job(environments=[task], seconds=2)
    assert codes == [2] and "Traceback" not in err
    assert "rank 1 did not meet the other 1 at no-such-host.invalid:" in err


def test_ctrl_c_in_all_ranks_of_a_launcher(job):
    codes, _, err = job(fate="interrupted", everywhere=True)
    assert set(codes) == {130} and "Traceback" not in err
    assert err.count("interrupted: the same command goes on") == 1


# --- started by torchrun and by Detectron2's launch ----------------------------------------------


@pytest.mark.slow
def test_torchrun_names_the_dead_rank():
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    run = subprocess.run(
        [sys.executable, *torchrun, "--master-port", free_port(), str(SCRIPT), "--fate", "killed"],
        env={**os.environ, "PYTHONPATH": str(TRAIN_NET.parent)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 1
    assert sorted(met(run.stdout.splitlines())) == [[0, 2, 0, 2, 3], [1, 2, 1, 2, 3]]
    cause = run.stderr[run.stderr.index("Root Cause") :]
    assert "rank      : 1 (local_rank: 1)" in cause and "SIGKILL" in cause


@pytest.mark.slow
def test_launched_ranks_and_an_exception(job):
    codes, lines, err = job(environments=[{}], num_gpus=2, fate="exception")
    assert codes == [1]
    assert sorted(met(lines)) == [[0, 2, 0, 2, 3], [1, 2, 1, 2, 3]]
    assert "ValueError: a bug of mine\nerror: rank 1 of 2: ValueError: a bug of mine\n" in err
    assert err.count("Traceback") == 1
    assert err.endswith("error: rank 1 of 2: process 1 terminated with exit code 1\n")


@pytest.mark.slow
def test_two_machines_and_a_killed_rank(job):
    machines = {"num_machines": 2, "dist_url": f"tcp://127.0.0.1:{free_port()}"}
    args = [arguments(**machines, machine_rank=rank, fate="killed") for rank in (0, 1)]
    codes, lines, err = job(*args, environments=[{}, {}])
    assert codes == [1, 1]
    assert sorted(met(lines)) == [[0, 2, 0, 1, 3], [1, 2, 0, 1, 3]]
    assert "error: rank 1 of 2: process 0 terminated with signal SIGKILL\n" in err
    assert "error: rank 0 of 2: RuntimeError: " in err


@pytest.mark.slow
@pytest.mark.parametrize("machine", [0, 1])
def test_launched_ranks_that_do_not_meet(job, port_in_use, machine):
    """The port of the first machine is in use, or nobody answers the second one."""
    at = {0: f"tcp://127.0.0.1:{port_in_use}", 1: f"tcp://127.0.0.1:{free_port()}"}[machine]
    arguments_ = arguments(num_gpus=1, num_machines=2, machine_rank=machine, dist_url=at)
    codes, _, err = job(arguments_, environments=[{}], seconds=3)
    assert codes == [2] and "Traceback" not in err
    assert err.splitlines()[-1].startswith(f"error: the ranks did not meet at {at}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fate", "signals", "code", "saved", "said"),
    [
        ("saves", [signal.SIGTERM], 75, 2, STOPPED),
        ("saves", [signal.SIGINT], 75, 2, STOPPED),
        ("saves", [signal.SIGINT] * 2, -signal.SIGINT, 0, "Ctrl-C again ends it at once"),
        ("asleep", [signal.SIGINT], 130, 0, "interrupted: the same command goes on"),
        ("begins", [signal.SIGINT], 130, 0, "interrupted: the same command goes on"),
    ],
)
def test_signal_to_a_launched_job(fate, signals, code, saved, said):
    """To all its processes, as a terminal and a scheduler send it."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--num-gpus", "2", "--fate", fate, "--everywhere"],
        env={**os.environ, "PYTHONPATH": str(TRAIN_NET.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert len(met([process.stdout.readline() for _ in range(2)])) == 2
    time.sleep(0.5)
    for number in signals:
        os.killpg(process.pid, number)
        time.sleep(0.3)
    out, err = process.communicate(timeout=60)  # until the ranks have ended, too
    assert process.returncode == code, err
    assert out.count("saved") == saved
    assert "Traceback" not in err and err.count(said) == 1
