"""A command of many ranks, for `sad.engine.launch`'s tests: adds up ranks, or comes to grief."""

import argparse
import json
import os
import signal
import sys
import time
from contextlib import nullcontext
from datetime import timedelta

import torch
from detectron2.utils import comm

from sad.engine import launch
from sad.utils.errors import RESUME_EXIT_CODE, UserError, exit_on_user_error
from sad.utils.preemption import preemption


def main(args):
    add_up_ranks()
    if comm.get_rank() == args.rank or args.everywhere:
        come_to_grief(args.fate)
    add_up_ranks()


def add_up_ranks():
    total = torch.tensor(comm.get_rank() + 1)
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(total)
    place = [comm.get_rank(), comm.get_world_size(), comm.get_local_rank(), comm.get_local_size()]
    # One write: lines of several ranks must not mix.
    os.write(1, f"{json.dumps([*place, total.item()])}\n".encode())


def come_to_grief(fate: str):
    if fate == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "exception":
        raise ValueError("a bug of mine")
    if fate == "mistake":
        raise UserError("SOME.KEY is 3, it must be 4")
    if fate == "exit":
        sys.exit(5)
    if fate == "asleep":
        time.sleep(9)
    if fate == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(9)
    if fate == "begins":  # rank 0 does not heed signals yet, and 1 waits for it
        with preemption.heeded() if comm.get_rank() else nullcontext():
            time.sleep(9 * (comm.get_rank() == 0))
            add_up_ranks()
    if fate == "saves":
        with preemption.heeded():
            while not preemption.asked:
                time.sleep(0.01)
            time.sleep(2)
            os.write(1, b"saved\n")
            sys.exit(RESUME_EXIT_CODE)


@exit_on_user_error
def command():
    parser = argparse.ArgumentParser()
    parser.add_argument("--num-gpus", type=int, default=1)
    parser.add_argument("--num-machines", type=int, default=1)
    parser.add_argument("--machine-rank", type=int, default=0)
    parser.add_argument("--dist-url", default="auto")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--fate", default="well")
    parser.add_argument("--rank", type=int, default=1)
    parser.add_argument("--everywhere", action="store_true")
    args = parser.parse_args()
    launch.start(main, args, timedelta(seconds=args.seconds))


if __name__ == "__main__":
    command()
