"""Where torchrun and SLURM say that they have put a process."""

import os

import pytest

from processes import SLURM, TORCHRUN
from sad.engine.placement import Placement, find_placement
from sad.utils.errors import UserError


def test_torchrun():
    assert find_placement(TORCHRUN) == Placement("torchrun", 5, 8, 1, 4, "Node1", "29500")


def test_slurm_step():
    assert find_placement(SLURM) == Placement("SLURM", 3, 4, 1, 2, "node07", "10009")
    assert find_placement({**SLURM, "MASTER_PORT": "1234"}).port == "1234"


def test_slurm_with_few_variables():
    few = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "1"}
    assert find_placement(few) == Placement("SLURM", 1, 2, 1, 2, "127.0.0.1", "10000")
    few |= {"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODELIST": "gpu3"}
    assert find_placement(few) == Placement("SLURM", 1, 4, 1, 2, "gpu3", "10000")


def test_torchrun_under_slurm():
    """`srun torchrun ...`: one task on each machine, whose children are the ranks."""
    assert find_placement(SLURM | TORCHRUN) == find_placement(TORCHRUN)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        # Kubernetes' operators count machines, on which --num-gpus starts the ranks.
        {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "host", "MASTER_PORT": "1"},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8"},  # salloc's shell
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
        {**SLURM, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"},  # srun --pty bash
    ],
    ids=["nothing", "kubernetes", "salloc", "sbatch", "shell"],
)
def test_alone(environment):
    assert find_placement(environment) is None


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({**TORCHRUN, "MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        ({**TORCHRUN, "RANK": "one"}, "RANK is 'one'"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "3"}, "rank 5 of 8"),
        ({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "3,1"}, "spreads its tasks as 3,1"),
        ({**SLURM, "SLURM_PROCID": "2"}, "rank 2 of 4"),  # --distribution=cyclic
        ({**SLURM, "SLURM_LOCALID": ""}, "SLURM_LOCALID is not set"),
    ],
)
def test_broken_environment(environment, named):
    with pytest.raises(UserError, match=named):
        find_placement(environment)


def test_first_machine_of_slurms_list(tmp_path, monkeypatch):
    environment = {key: value for key, value in SLURM.items() if key != "MASTER_ADDR"}
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    scontrol = tmp_path / "scontrol"
    with pytest.raises(UserError, match="scontrol show hostnames node07,node08.*MASTER_ADDR"):
        find_placement(environment)
    scontrol.write_text(
        '#!/bin/sh\n[ "$*" = "show hostnames node07,node08" ] && echo node07 && echo node08\n'
    )
    scontrol.chmod(0o755)
    assert find_placement(environment).address == "node07"
    with pytest.raises(UserError, match="scontrol"):
        find_placement({**environment, "SLURM_STEP_NODELIST": "node[1-2]"})
