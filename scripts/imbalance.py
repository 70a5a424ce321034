#!/usr/bin/env python3
"""When does adaptive weighting pay? KL, FDL and ADL as anchors and classes grow.

    python scripts/imbalance.py [--benchmark digits digits80 digits320] [--no-run]

The arms, weights and benchmarks are in configs/tables.yaml. Every arm is trained with every weight;
its best AP is set against the number of easy terms (anchor and class pairs that the teacher gives
a probability below 0.01) for each foreground anchor. Finished runs are kept and used again.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

import sad_command  # noqa: F401

# First of all: where Detectron2 is missing, this says how to get it.
from sad.utils.errors import UserError, exit_on_user_error

# isort: split
from sad.data.datasets import data_path
from sad.study.experiments import add_lab_arguments, make_lab_folders
from sad.study.imbalance import Imbalance
from sad.study.tables import read_tables

ROOT = Path(__file__).resolve().parents[1]


def parse_args(spec: dict) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(spec["benchmarks"])
    parser.add_argument("--benchmark", nargs="+", default=names, choices=names, help="run these")
    add_lab_arguments(parser, ROOT)
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    spec = read_tables(str(ROOT / "configs/tables.yaml"))["imbalance"]
    args = parse_args(spec)
    os.chdir(ROOT)  # where configs and, by default, data sets lie
    for benchmark in () if args.no_run else args.benchmark:
        made = data_path(f"{benchmark}/digits.json")
        if not Path(made).exists():
            raise UserError(
                f"{made} does not exist: configs/{benchmark}/Base.yaml says how to make the images"
            )
    make_lab_folders(args)
    command = shlex.join(["python", "scripts/imbalance.py", *sys.argv[1:]])
    imbalance = Imbalance(args, spec, root=ROOT, command=command)
    for benchmark in () if args.no_run else args.benchmark:
        imbalance.run(benchmark)
    print(imbalance.write())


if __name__ == "__main__":
    main()
