"""Where torchrun, or SLURM's srun, has put this process."""

import re
import subprocess
from typing import NamedTuple

from ..utils.errors import UserError


class Placement(NamedTuple):
    """Where a launcher has put this process."""

    launcher: str
    rank: int
    world_size: int
    local_rank: int  # among the ranks of this machine
    local_size: int  # ranks of each machine
    address: str  # of rank 0's machine
    port: str


def find_placement(env) -> Placement | None:
    """What torchrun or srun says in the environment; None where this process is the only one.

    Raises:
        UserError: a variable is missing, or the machines have unequal numbers of ranks.
    """
    if all(name in env for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")):  # of every torch launcher
        placement = Placement(
            "torchrun",
            *(_number(env, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")),
            _number(env, "LOCAL_WORLD_SIZE"),
            *(_first(env, name) for name in ("MASTER_ADDR", "MASTER_PORT")),
        )
    elif "SLURM_PROCID" in env and _slurm_tasks(env) > 1:
        placement = _slurm_placement(env)
    else:
        return None
    _, rank, world_size, local_rank, local_size, *_ = placement
    if world_size % local_size or rank % local_size != local_rank:
        raise UserError(
            f"{placement.launcher} has made rank {rank} of {world_size} the {local_rank}. of "
            f"{local_size} on its machine, counted from 0: every machine needs as many ranks, "
            "with ranks in a row"
        )
    return placement


def _slurm_tasks(env) -> int:
    # Only srun names a step. SLURM_NTASKS alone is the job's number, which also stands in the one
    # shell of an sbatch script or salloc.
    return _number(env, "SLURM_STEP_NUM_TASKS") if env.get("SLURM_STEP_NUM_TASKS") else 1


def _slurm_placement(env) -> Placement:
    world_size = _slurm_tasks(env)
    per_machine = _first(
        env,
        *("SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"),
        default=str(world_size),
    )
    equal = re.fullmatch(r"(\d+)(\(x\d+\))?", per_machine)  # "2(x3)": 2 on each of 3
    if not equal:
        raise UserError(
            f"SLURM spreads its tasks as {per_machine}: every machine needs as many "
            "(--ntasks-per-node)"
        )
    local_size = int(equal[1])
    if "MASTER_ADDR" in env:
        address = env["MASTER_ADDR"]
    elif local_size == world_size:
        address = "127.0.0.1"
    else:
        address = _first_host(
            _first(env, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
        )
    # Steps that run side by side need ports of their own, below those that systems hand out.
    step = sum(int(env.get(name, 0)) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return Placement(
        "SLURM",
        _number(env, "SLURM_PROCID"),
        world_size,
        _number(env, "SLURM_LOCALID"),
        local_size,
        address,
        _first(env, "MASTER_PORT", default=str(10000 + step % 20000)),
    )


def _first_host(nodes: str) -> str:
    """The first of SLURM's list of machines, which may be short: `node[01-04]`."""
    if not re.search(r"[\[,]", nodes):
        return nodes
    try:
        command = ["scontrol", "show", "hostnames", nodes]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise UserError(
            f"`{' '.join(command)}` gives no machine ({error}): set MASTER_ADDR to the first one's "
            "name"
        ) from error


def _first(env, *names: str, default: str | None = None) -> str:
    value = next((env[name] for name in names if env.get(name)), default)
    if value is None:
        raise UserError(f"the environment variable {names[0]} is not set, which the launcher needs")
    return value


def _number(env, name: str) -> int:
    value = _first(env, name)
    if not value.isdecimal():
        raise UserError(f"the environment variable {name} is {value!r}, it must be a number")
    return int(value)
