#!/usr/bin/env python3
"""Run the papers' tables on a benchmark; write them beside the papers' numbers.

    python scripts/reproduce.py --table 1 2 3 4 5 --seeds 0,1,2
    python scripts/reproduce.py --table labels          # AP against the number of labels
    python scripts/reproduce.py --table TAR             # Faster R-CNN, the second paper
    python scripts/reproduce.py --sweep                 # loss weight and learning rate, on tune
    python scripts/reproduce.py --sweep TAR
    python scripts/reproduce.py --table 1 --no-run      # from the results that are there

configs/tables.yaml says which config is which row. Every row and seed is one run of train_net.py;
teachers and pseudo-labels are shared. Finished results are kept in docs/results/<benchmark>.json
and used again while their settings are the same, so an interrupted command goes on where it was.
The same command may be started twice at the same time: the two share the runs among them.
Claims are judged over every seed that is known.
"""

import argparse
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import sad_command  # noqa: F401

# First of all: where Detectron2 is missing, this says how to get it.
from sad.utils.errors import UserError, exit_on_user_error

# isort: split
from sad.data.datasets import BUILTIN, data_path
from sad.study.experiments import add_lab_arguments
from sad.study.reproduction import Reproduction
from sad.study.search import search_arms, search_families
from sad.study.tables import read_tables
from sad.utils.arguments import between

ROOT = Path(__file__).resolve().parents[1]


def parse_args(spec: dict) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*spec["tables"], "labels"]
    parser.add_argument("--table", nargs="+", default=[], choices=names)
    searches = sorted({name for of in spec["sweep"].values() for name in of})
    parser.add_argument(
        "--sweep", nargs="?", const="SAD", choices=searches, help="search weights and learning rate"
    )
    parser.add_argument("--benchmark", default="digits", choices=spec["benchmarks"])
    parser.add_argument("--seeds", default="0,1,2", help="to run and to show, comma-separated")
    parser.add_argument(
        "--rows",
        nargs="+",
        metavar="ROW",
        choices=spec["rows"],
        help="run these rows of configs/tables.yaml alone",
    )
    parser.add_argument("--num-gpus", type=between(int, 1), default=1, help="of each run")
    add_lab_arguments(parser, ROOT)
    args = parser.parse_args()
    if not args.table and not args.sweep:
        parser.error("give --table or --sweep")
    if args.sweep and args.no_run:
        parser.error("--sweep trains, it does not go with --no-run")
    try:
        args.seeds = [between(int, 0)(seed) for seed in args.seeds.split(",")]
    except (ValueError, argparse.ArgumentTypeError):
        parser.error(f"--seeds is {args.seeds!r}, it must be numbers such as 0,1,2")
    return args


@exit_on_user_error
def main() -> None:
    spec = read_tables(str(ROOT / "configs/tables.yaml"))
    args = parse_args(spec)
    os.chdir(ROOT)  # where configs and, by default, data sets lie
    if (
        args.benchmark == "digits"
        and not args.no_run
        and not Path(data_path(BUILTIN["digits_labeled"][0])).exists()
    ):
        raise UserError("the digit scenes are not there yet: python scripts/make_digits.py")
    search = spec["sweep"].get(args.benchmark, {}).get(args.sweep)
    if args.sweep and not search:
        raise UserError(f"configs/tables.yaml has no sweep {args.sweep} for {args.benchmark}")
    command = shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]])
    tables = Reproduction(args, spec, root=ROOT, command=command)
    if args.sweep:
        lab = replace(tables.lab, results=args.results / f"{args.benchmark}_tune.json")
        sweep = search_arms if "arms" in search else search_families
        for trial, result in sweep(lab, args.benchmark, search).items():
            print(f"{result['AP']:5.1f}  {trial.name}")
    for name in () if args.no_run else args.table:
        tables.run(name)
    for name in args.table:  # after all runs: how many claims are judged counts for every table
        if name == "labels":
            tables.write_labels()
        else:
            tables.write_table(name)


if __name__ == "__main__":
    main()
