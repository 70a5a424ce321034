#!/usr/bin/env python3
"""Where the time goes: every figure a ratio of arms that take turns in one process.

    python scripts/benchmark.py                       # small sizes, minutes on two cores
    python scripts/benchmark.py --size coco           # COCO's sizes, for a GPU
    python scripts/benchmark.py --section losses      # one of the sections
    python scripts/benchmark.py --section export --run SAD=output/digits/SAD  # exported files
    python scripts/benchmark.py --section parts --run SAD=output/digits/SAD   # of an iteration

The tables and a json go to --output; docs/performance.md says what they mean.
"""

import argparse
import os
import shlex
import sys
from importlib import import_module
from pathlib import Path

import sad_command  # noqa: F401

# First of all: where Detectron2 is missing, this says how to get it.
from sad.utils.errors import UserError, exit_on_user_error

# isort: split
import torch

from sad.report.cost import machine
from sad.study.benchmarks.timing import Options
from sad.utils.allocator import keep_freed_memory
from sad.utils.arguments import between
from sad.utils.files import atomic_write, make_folder, write_json

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("losses", "step", "data", "labeling", "evaluation", "models")
OF_RUNS = ("export", "parts")  # sections that need trained detectors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--section", nargs="+", choices=SECTIONS + OF_RUNS, default=SECTIONS)
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="folder of a training, for --section export or parts; give it once per run",
    )
    parser.add_argument("--size", choices=("small", "coco"), default="small")
    parser.add_argument("--rounds", type=between(int, 3), default=20, help="timed runs of each arm")
    parser.add_argument("--threads", type=between(int, 1), help="of torch on the CPU")
    parser.add_argument("--output", default=str(ROOT / "output/benchmark"), help="folder")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    args = parse_args()
    keep_freed_memory()  # as `sad train` does
    if args.threads:
        torch.set_num_threads(args.threads)
    args.output = os.path.abspath(args.output)
    runs = [tuple(run.split("=", 1)) for run in args.run]
    for pair in runs:
        if len(pair) != 2 or not all(pair):
            raise UserError(f"--run {pair[0]!r} is not of the form NAME=DIR")
    if bool(args.run) != bool(set(OF_RUNS) & set(args.section)):
        raise UserError(f"--section {' or '.join(OF_RUNS)} and --run go together: give both")
    runs = tuple((name, os.path.abspath(folder)) for name, folder in runs)
    if runs:
        import_module("sad.study.benchmarks.export").check(runs)
    make_folder(args.output, "--output")
    os.chdir(ROOT)  # where configs lie
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = Options(device, args.size, args.rounds, runs)
    on = machine(device)
    for section in args.section:
        table = import_module(f"sad.study.benchmarks.{section}").run(options)
        content = {
            "command": shlex.join(["python", "scripts/benchmark.py", *sys.argv[1:]]),
            "machine": on,
            "size": args.size,
            "rounds": table.rounds,
            "rows": table.rows,
        }
        where = ", ".join(f"{key} {value}" for key, value in on.items())
        text = (
            f"{table.markdown()}\n{table.rounds} rounds; {where}. Made by `{content['command']}`.\n"
        )
        path = Path(args.output) / f"{section}_{args.size}_{device}"
        write_json(path.with_suffix(".json"), content, indent=1)
        with atomic_write(path.with_suffix(".md")) as file:
            file.write(text)
        print(text)


if __name__ == "__main__":
    main()
