"""The ranks of one job, forked from the test: they need not import Detectron2 again."""

import multiprocessing
import os
import socket
import time
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

from sad.engine import launch
from sad.utils.errors import exit_on_user_error
from sad.utils.files import lock_folder

# What torchrun sets in one of 8 ranks.
TORCHRUN = {
    **{"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"},
    **{"MASTER_ADDR": "Node1", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "none"},
}
# What SLURM sets in a job of 2 machines with 8 tasks, of which a step of 4 runs.
SLURM = {
    **{"SLURM_JOB_ID": "20007", "SLURM_NTASKS": "8", "SLURM_NODELIST": "node[07-08]"},
    **{"SLURM_NTASKS_PER_NODE": "4", "SLURM_TASKS_PER_NODE": "4(x2)"},
    **{"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "2"},
    **{"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"},
    **{"SLURM_STEP_NODELIST": "node07,node08", "MASTER_ADDR": "node07"},
}


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@contextmanager
def locked(folder):
    """Another process has locked the folder, until the end of the block."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()

    def keep():
        lock_folder(str(folder), "OUTPUT_DIR")
        ready.set()
        time.sleep(600)

    process = context.Process(target=keep)
    process.start()
    assert ready.wait(60)
    try:
        yield process
    finally:
        process.kill()
        process.join()


def slurm_tasks(count: int = 2) -> list[dict[str, str]]:
    """What srun says in the environment of each task of a step on this machine."""
    common = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(count)}
    common["MASTER_PORT"] = free_port()
    return [
        {**common, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(count)
    ]


def run_job(main, arguments: list, environments: list[dict], seconds: float = 60) -> list[int]:
    """`start(main, ...)` of `sad.engine.launch` for each of the arguments; their exit codes."""

    @exit_on_user_error
    def process(args, environment):
        os.environ.update(environment)
        launch.start(main, args, timedelta(seconds=seconds))

    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=process, args=each)
        for each in zip(arguments, environments, strict=True)
    ]
    for each in processes:
        each.start()
    for each in processes:
        each.join(240)
    codes = [each.exitcode for each in processes]  # None: it hangs
    for each in processes:
        each.kill()
    return codes


def run_ranks(main, *args, count: int = 2) -> None:
    """`main(*args)` in ranks of one job that must all end well."""
    namespace = SimpleNamespace(num_gpus=1, num_machines=1)
    codes = run_job(lambda _: main(*args), [namespace] * count, slurm_tasks(count))
    assert codes == [0] * count
