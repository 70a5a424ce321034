"""One rank or many: started here (Detectron2's launch), by torchrun, or by SLURM's srun."""

import multiprocessing
import os
import re
import signal
import sys
import time
import traceback
from datetime import timedelta
from urllib.parse import urlsplit

import torch
import torch.distributed as dist
from detectron2.engine import launch
from detectron2.engine.launch import DEFAULT_TIMEOUT
from detectron2.utils import comm
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from ..utils.compat import end_with_parent
from ..utils.errors import (
    EXIT_CODE,
    INTERRUPT_EXIT_CODE,
    INTERRUPTED,
    RESUME_EXIT_CODE,
    UserError,
    announce_stop,
    heed_interrupt,
    reason,
    sentence_of,
)
from ..utils.preemption import preemption
from .placement import Placement, find_placement

# What a launcher takes at most to notice that a rank has failed, and to stop the others.
GRACE_SECONDS = 3


def start(main, args, timeout: timedelta = DEFAULT_TIMEOUT) -> None:
    """Run `main(args)` in every rank of the job.

    Under torchrun and srun this process is one of the ranks. Otherwise it is their parent
    (Detectron2's launch), or runs `main` itself where there is but one.

    A rank that fails ends the job. It names its rank and error on stderr, or its parent does
    where it was killed; its launcher stops the others, or they fail at the closed connection.

    Args:
        main: a function of a module's top level.
        args: num_gpus, num_machines, machine_rank and dist_url, as Detectron2 names them, and
            whatever else `main` reads.
        timeout: how long a rank waits for the others before it fails.
    Raises:
        UserError: the arguments contradict each other or the launcher; the ranks do not meet.
    """
    for flag, value in (("gpus", args.num_gpus), ("machines", args.num_machines)):
        if value < 1:
            raise UserError(f"--num-{flag} is {value}, it must be at least 1, also without GPUs")
    placement = find_placement(os.environ)
    if placement:
        if args.num_gpus > 1 or args.num_machines > 1:
            raise UserError(
                f"{placement.launcher} has started {placement.world_size} ranks, so leave out "
                f"--num-gpus {args.num_gpus} --num-machines {args.num_machines}; where they shall "
                f"start the ranks, run the command outside of {placement.launcher}, or as its "
                "only task"
            )
        _join(placement, timeout)
        _work(main, args)
    elif args.num_gpus * args.num_machines > 1:
        _launch(main, args, timeout)
    else:
        main(args)


def _join(placement: Placement, timeout: timedelta) -> None:
    """Enter the process group, as Detectron2's launch lets its ranks do."""
    launcher, rank, world_size, local_rank, local_size, address, port = placement
    if re.search(r"[\s/]", address) or not (port.isdecimal() and 0 < int(port) < 2**16):
        raise UserError(
            f"MASTER_ADDR and MASTER_PORT, where the ranks of {launcher} meet, are {address!r} "
            f"and {port!r}: they must be a host's name and a port"
        )
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=port)
    if gpus := torch.cuda.device_count():
        if 1 < gpus < local_size:
            raise UserError(f"{launcher} has started {local_size} ranks for {gpus} GPUs")
        torch.cuda.set_device(local_rank % gpus)  # srun may show each rank its own GPU alone
    if rank == 0:
        print(f"Waiting for {world_size} ranks of {launcher} at {address}:{port}", flush=True)
    try:
        dist.init_process_group(
            "nccl" if gpus else "gloo", rank=rank, world_size=world_size, timeout=timeout
        )
    except (RuntimeError, ValueError) as error:  # gloo's own are no DistErrors
        raise UserError(
            f"rank {rank} did not meet the other {world_size - 1} at {address}:{port}: has "
            f"{launcher} started all of them, and is the port free? ({reason(error)})"
        ) from error
    comm.create_local_process_group(local_size)
    comm.synchronize()


def _launch(main, args, timeout: timedelta) -> None:
    """Detectron2's launch, after checks of what would end in a hang or an assertion there."""
    if torch.cuda.is_available() and args.num_gpus > torch.cuda.device_count():
        raise UserError(f"--num-gpus is {args.num_gpus}, there are {torch.cuda.device_count()}")
    if not 0 <= args.machine_rank < args.num_machines:
        raise UserError(
            f"--machine-rank is {args.machine_rank}, it must be below --num-machines "
            f"{args.num_machines}"
        )
    if args.num_machines > 1 and args.dist_url == "auto":
        raise UserError(
            f"--num-machines {args.num_machines} needs --dist-url tcp://HOST:PORT, a free port of "
            "the machine of --machine-rank 0"
        )
    if args.dist_url != "auto" and not _can_meet_at(args.dist_url):
        raise UserError(f"--dist-url is {args.dist_url}, it must be tcp://HOST:PORT or auto")
    signal.signal(signal.SIGTERM, _pass_on)
    heed_interrupt(_pass_on)
    try:
        launch(
            _launched,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(main, args),
            timeout=timeout,
        )
    except (ProcessExitedException, ProcessRaisedException) as error:
        exit_code = getattr(error, "exit_code", None)
        if exit_code in (EXIT_CODE, RESUME_EXIT_CODE):
            sys.exit(exit_code)  # the rank has said its sentence
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            raise KeyboardInterrupt from error  # which was passed on
        if exit_code is None:  # nothing is raised in `_launched`, but before, where they meet
            cause = str(error).strip().splitlines()[-1]
            raise UserError(
                f"the ranks did not meet at {args.dist_url}: is the port free, and the host the "
                f"machine of --machine-rank 0? ({cause[:200]})"
            ) from error
        rank = args.machine_rank * args.num_gpus + error.error_index
        sys.exit(f"error: rank {rank} of {args.num_gpus * args.num_machines}: {error}")


def _can_meet_at(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("file", "env") or bool(
            parts.scheme == "tcp" and parts.hostname and parts.port
        )
    except ValueError:  # a port that is no number, or too high
        return False


def _pass_on(number, _) -> None:
    """To the ranks, which may write a checkpoint before they end."""
    processes = multiprocessing.active_children()
    if not processes:
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(RESUME_EXIT_CODE)
    if number == signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)  # the next one ends this process, and so the ranks
        announce_stop()
    for process in processes:
        process.terminate()


def _launched(main, args) -> None:
    """`_work` in a process that `_launch` has started, and which lives no longer than that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, which the parent passes on
    end_with_parent(signal.SIGKILL)
    if multiprocessing.parent_process().is_alive():
        _work(main, args)


def _work(main, args) -> None:
    """The life of one rank of many; it does not return.

    It leaves past the interpreter's clean-up, which now and then aborts in gloo's threads (SIGABRT)
    after the work is done.
    """
    rank, exit_code = comm.get_rank(), 1
    try:
        main(args)
        dist.destroy_process_group()
        exit_code = 0
    except BaseException as error:
        # Rank 0 finds most mistakes too, and a lost connection is the end of another rank: the
        # launcher stops this one while it waits, so that what it reports is said once.
        if _lost_a_rank(error) or (isinstance(error, UserError) and rank > 0):
            time.sleep(GRACE_SECONDS)
        if _lost_a_rank(error) and preemption.asked:
            exit_code = RESUME_EXIT_CODE  # all were asked to end, and another one has
        else:
            exit_code = _report(error, rank)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def _lost_a_rank(error: BaseException) -> bool:
    # gloo's errors are RuntimeErrors that begin with the path of a source file.
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _report(error: BaseException, rank: int) -> int:
    """Say on stderr what ended this rank; returns its exit code."""
    if sentence := sentence_of(error):
        print(f"error: {sentence}", file=sys.stderr)
        return EXIT_CODE
    if isinstance(error, KeyboardInterrupt):
        if rank == 0:
            print(INTERRUPTED, file=sys.stderr)
        return INTERRUPT_EXIT_CODE
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        return error.code or 0
    traceback.print_exception(error)
    description = f"{type(error).__name__}: {error}"
    print(f"error: rank {rank} of {comm.get_world_size()}: {description}", file=sys.stderr)
    return 1
