#!/usr/bin/env python3
"""Run the paper's tables on a benchmark; write them beside the paper's numbers.

    python scripts/reproduce.py --table 1 2 3 4 5 --seeds 0,1,2
    python scripts/reproduce.py --table labels          # AP against the number of labels
    python scripts/reproduce.py --sweep                 # loss weight and learning rate, on tune
    python scripts/reproduce.py --table 1 --no-run      # from the results that are there

configs/tables.yaml says which config is which row. Every row and seed is one run of train_net.py;
teachers and pseudo-labels are shared. Finished results are kept in docs/results/<benchmark>.json
and used again while their settings are the same, so an interrupted command goes on where it was.
Claims are judged over every seed that is known.
"""

import argparse
import json
import os
import shlex
import sys
from functools import cached_property
from pathlib import Path

import sad_command  # noqa: F401

# First of all: where Detectron2 is missing, this says how to get it.
from sad.utils.errors import UserError, exit_on_user_error

# isort: split
import numpy as np
import torch
from detectron2.data import DatasetCatalog

from sad.data.datasets import BUILTIN, data_path, register_from_config
from sad.modeling.build import load_detector
from sad.report.cost import machine, measure
from sad.report.runs import Run
from sad.study import table_pictures, tables
from sad.study.experiments import Experiment, Lab, add_lab_arguments, make_lab_folders
from sad.utils.arguments import between
from sad.utils.files import atomic_write, write_json

ROOT = Path(__file__).resolve().parents[1]


def parse_args(spec: dict) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*map(str, spec["tables"]), "labels"]
    parser.add_argument("--table", nargs="+", default=[], choices=names)
    parser.add_argument("--sweep", action="store_true", help="search weight and learning rate")
    parser.add_argument("--benchmark", default="digits", choices=spec["benchmarks"])
    parser.add_argument("--seeds", default="0,1,2", help="to run and to show, comma-separated")
    parser.add_argument("--rows", nargs="+", choices=spec["rows"], help="run these rows alone")
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


class Reproduction:
    """The rows of configs/tables.yaml on one benchmark."""

    def __init__(self, args, spec: dict, results: str):
        self.args = args
        self.spec = spec
        benchmark = spec["benchmarks"][args.benchmark]
        make_lab_folders(args)
        self.lab = Lab(
            ROOT,
            args.output,
            args.results / results,
            benchmark["unlabeled"],
            args.jobs,
            args.num_gpus,
        )

    def experiment(self, row: str, seed: int, share: float = 1.0) -> Experiment | None:
        """A row's run; of a share of the labels, every seed draws its own."""
        config = self.spec["rows"][row].get(self.args.benchmark)
        opts = ("DATASETS.LABELED_SHARE", share, "DATASETS.LABELED_SHARE_SEED", seed)
        shared_opts = opts if share < 1 else ()
        return config and Experiment(self.args.benchmark, config, seed, shared_opts=shared_opts)

    def claims(self, names: list[str]) -> dict[str, dict]:
        """Those of the claims whose rows all have a config of the benchmark."""
        claims = {name: self.spec["claims"][name] for name in names}
        return {
            name: claim
            for name, claim in claims.items()
            if all(self.experiment(row, 0) for row in tables.rows_of(claim))
        }

    def run(self, table: str) -> None:
        """What is not known yet of a table's rows, and of those of its claims, seed by seed."""
        spec = self.spec["labels"] if table == "labels" else self.spec["tables"][int(table)]
        claimed = [row for c in self.claims(spec["claims"]).values() for row in tables.rows_of(c)]
        rows = [
            row
            for row in dict.fromkeys([*spec["rows"], *claimed])
            if row in (self.args.rows or self.spec["rows"])
        ]
        for share in spec.get("shares", [1.0]):
            wanted = [self.experiment(row, seed, share) for seed in self.args.seeds for row in rows]
            self.lab.run_all([experiment for experiment in wanted if experiment])

    def results(
        self, rows: list[str], seeds: list[int], share: float = 1.0
    ) -> dict[str, dict[int, dict]]:
        """Row -> seed -> result, of what is known."""
        found = {row: {} for row in rows}
        for row in rows:
            for seed in seeds:
                experiment = self.experiment(row, seed, share)
                if experiment and (result := self.lab.find(experiment)):
                    found[row][seed] = result
        return found

    @cached_property
    def judged(self) -> dict[tuple[str, float], dict | None]:
        """(claim, share of the labels) -> judgement, over every seed that is known.

        One claim has one verdict, whichever table and seeds are written, and is one of all that are
        judged on the benchmark.
        """
        seeds = sorted({int(seed) for by_seed in self.lab.known().values() for seed in by_seed})
        labels, judged = self.spec["labels"], {}
        for share in dict.fromkeys([1.0, *labels["shares"]]):
            claims = self.claims(self.spec["claims"] if share == 1 else labels["claims"])
            rows = dict.fromkeys(row for c in claims.values() for row in tables.rows_of(c))
            found = self.results(list(rows), seeds, share)
            judged |= {(name, share): tables.judge(c, found) for name, c in claims.items()}
        return tables.judge_family(judged)

    def write_table(self, number: int) -> None:
        table = self.spec["tables"][number]
        shown = [row for row in table["rows"] if self.experiment(row, 0)]
        if not shown:
            raise UserError(f"table {number} has no row with a config of {self.args.benchmark}")
        found = self.results(shown, self.args.seeds)
        rows = [
            {
                "name": self.spec["rows"][row]["name"],
                "config": f"{self.args.benchmark}/{self.experiment(row, 0).config}",
                "coco": self.spec["rows"][row].get("COCO"),
                "paper": table["rows"][row],
                "results": found[row],
            }
            for row in shown
        ]
        claims = [
            {"text": claim["text"], "judged": self.judged[name, 1.0]}
            for name, claim in self.claims(table["claims"]).items()
        ]
        path = self.args.tables / f"{self.args.benchmark}_table{number}"
        content = {"title": table["title"], "command": command(), "rows": rows, "claims": claims}
        if table.get("cost"):
            content["cost"] = self.costs(path.with_suffix(".json"), list(table["rows"]))
            text = tables.cost_markdown(content)
            figure = table_pictures.cost_picture(content)
        else:
            text = tables.markdown(table["title"], rows, claims, command())
            figure = table_pictures.table_picture(content, self.args.benchmark)
        self.write(path, content, text, figure)

    def costs(self, path: Path, rows: list[str]) -> dict:
        """GFLOPs and ms per image of each row's first seed, measured side by side: all or none.

        What was measured before is used again while it is of the same models.
        """
        wanted = {row: e for row in rows if (e := self.experiment(row, self.args.seeds[0]))}
        digests = [experiment.digest for experiment in wanted.values()]
        before = json.loads(path.read_text())["cost"] if path.exists() else {"rows": {}}
        if before.get("digests") == digests:
            return before
        if self.args.no_run or not wanted.keys() <= set(self.args.rows or rows):
            return {"rows": {}}
        device = "cuda" if torch.cuda.is_available() else "cpu"
        runs = {}
        for row, experiment in wanted.items():
            directory = self.lab.train(experiment)
            register_from_config(experiment.cfg)
            runs[self.spec["rows"][row]["name"]] = Run(row, str(directory))
        models = [
            load_detector(run.path("config.yaml"), run.path("model_final.pth"), device)
            for run in runs.values()
        ]
        everything = DatasetCatalog.get(next(iter(runs.values())).test_set)
        lot = np.random.default_rng(0).permutation(len(everything))[:100]
        costs = measure(models, [everything[position] for position in lot])
        for cost in costs:
            del cost["detections"]
        measured = dict(zip(runs, costs, strict=True))
        return {"machine": machine(device), "digests": digests, "rows": measured}

    def write_labels(self) -> None:
        spec = self.spec["labels"]
        curves = {self.spec["rows"][row]["name"]: {} for row in spec["rows"]}
        claims = []
        for share in spec["shares"]:
            for row, found in self.results(spec["rows"], self.args.seeds, share).items():
                curves[self.spec["rows"][row]["name"]][share] = found
            for name, claim in self.claims(spec["claims"]).items():
                text = f"{claim['text']}, {share:.0%} of the labels"
                claims.append({"text": text, "judged": self.judged[name, share]})
        content = {"title": "AP against the share of the labels", "command": command(),
                   "curves": curves, "claims": claims}  # fmt: skip
        path = self.args.tables / f"{self.args.benchmark}_labels"
        self.write(
            path, content, tables.curve_markdown(content), table_pictures.curve_picture(content)
        )

    def write(self, path: Path, content: dict, text: str, figure) -> None:
        write_json(path.with_suffix(".json"), content, indent=1)
        with atomic_write(path.with_suffix(".md")) as file:
            file.write(text + f"\n![{content['title']}]({path.name}.png)\n")
        with atomic_write(path.with_suffix(".png"), "wb") as file:
            figure.savefig(file, format="png", pil_kwargs={"optimize": True})
        print(text)


def sweep(args, spec: dict) -> None:
    """Each family: every weight at the first rate, then the other rates at the best weight."""
    if args.benchmark not in spec["sweep"]:
        raise UserError(f"configs/tables.yaml has no sweep for {args.benchmark}")
    search = spec["sweep"][args.benchmark]
    lab = Reproduction(args, spec, f"{args.benchmark}_tune.json").lab

    def experiment(config, rate, weight=None):
        opts = ("DATASETS.TEST", f"('{search['test']}',)", "SOLVER.BASE_LR", rate)
        if weight is not None:
            (term,) = Experiment(args.benchmark, config).cfg.SAD.DISTILL.TERMS
            opts += (f"SAD.DISTILL.{term.upper()}.WEIGHT", weight)
        return Experiment(args.benchmark, config, search["seed"], opts)

    first, *others = search["rates"]
    weights = {family: search["weights"] for family in search["families"]}
    weights[search["plain"]] = [None]
    trials = [experiment(family, first, w) for family, tried in weights.items() for w in tried]
    found = lab.run_all(trials)
    best = {
        family: max(tried, key=lambda w: found[experiment(family, first, w)]["AP"])
        for family, tried in weights.items()
    }
    found |= lab.run_all(
        [experiment(family, rate, weight) for family, weight in best.items() for rate in others]
    )
    for trial, result in found.items():
        print(f"{result['AP']:5.1f}  {trial.name}")


def command() -> str:
    return shlex.join(["python", "scripts/reproduce.py", *sys.argv[1:]])


@exit_on_user_error
def main() -> None:
    spec = tables.read_tables(str(ROOT / "configs/tables.yaml"))
    args = parse_args(spec)
    os.chdir(ROOT)  # where configs and, by default, data sets lie
    if (
        args.benchmark == "digits"
        and not args.no_run
        and not Path(data_path(BUILTIN["digits_labeled"][0])).exists()
    ):
        raise UserError("the digit scenes are not there yet: python scripts/make_digits.py")
    if args.sweep:
        sweep(args, spec)
    reproduction = Reproduction(args, spec, f"{args.benchmark}.json")
    for name in () if args.no_run else args.table:
        reproduction.run(name)
    for name in args.table:  # after all runs: how many claims are judged counts for every table
        if name == "labels":
            reproduction.write_labels()
        else:
            reproduction.write_table(int(name))


if __name__ == "__main__":
    main()
