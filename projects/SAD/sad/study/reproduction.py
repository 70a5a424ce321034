"""The paper's tables on a benchmark: what is to run, what is known, and what is written of it."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from detectron2.data import DatasetCatalog

from ..data.datasets import register_from_config
from ..modeling.build import load_detector
from ..report.cost import machine, measure
from ..report.runs import Run
from ..utils.errors import UserError
from . import table_pictures, tables
from .experiments import Experiment, Lab, make_lab_folders
from .table_files import write_files


def _differ(result: dict, other: dict) -> bool:
    """Whether two runs of the teacher stand behind two results, as far as it is known."""
    aps = [of.get("teacher_AP") for of in (result, other)]
    return None not in aps and aps[0] != aps[1]


class Reproduction:
    """The rows of configs/tables.yaml on one benchmark."""

    def __init__(self, args, spec: dict, *, root: Path, command: str):
        """
        Args:
            args: of scripts/reproduce.py.
            spec: see `sad.study.tables.read_tables`.
            root: the repository.
            command: what the tables say that they are made by.
        """
        self.args = args
        self.command = command
        self.spec = spec
        benchmark = spec["benchmarks"][args.benchmark]
        make_lab_folders(args)
        self.lab = Lab(
            root,
            args.output,
            args.results / f"{args.benchmark}.json",
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
        spec = self.spec["labels"] if table == "labels" else self.spec["tables"][table]
        claimed = [row for c in self.claims(spec["claims"]).values() for row in tables.rows_of(c)]
        rows = [
            row
            for row in dict.fromkeys([*spec["rows"], *claimed])
            if row in (self.args.rows or self.spec["rows"])
        ]
        wanted = [
            self.experiment(row, seed, share)
            for share in spec.get("shares", [1.0])
            for seed in self.args.seeds
            for row in rows
        ]
        if self.args.rows and not any(wanted):
            raise UserError(
                f"table {table} has none of --rows {' '.join(self.args.rows)} on "
                f"{self.args.benchmark}: see configs/tables.yaml"
            )
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

        One claim has one verdict, whichever table and seeds are written, and is one of all of its
        paper's that are judged on the benchmark.
        """
        seeds = sorted({int(seed) for by_seed in self.lab.known().values() for seed in by_seed})
        labels, judged = self.spec["labels"], {}
        for share in dict.fromkeys([1.0, *labels["shares"]]):
            claims = self.claims(self.spec["claims"] if share == 1 else labels["claims"])
            rows = dict.fromkeys(row for c in claims.values() for row in tables.rows_of(c))
            found = self.results(list(rows), seeds, share)
            for name, claim in claims.items():
                judged[name, share] = tables.judge(claim, self._of_one_teacher(claim, found))
        families = {}
        for (name, share), entry in judged.items():
            paper = self.spec["claims"][name].get("paper")
            families.setdefault(paper, {})[name, share] = entry
        return {
            key: entry
            for family in families.values()
            for key, entry in tables.judge_family(family).items()
        }

    def _of_one_teacher(
        self, claim: dict, found: dict[str, dict[int, dict]]
    ) -> dict[str, dict[int, dict]]:
        """The results of a claim's rows, without the seeds in which one teacher taught the one row
        and another run of it the other: their difference would be the teachers', too.
        """
        rows = tables.rows_of(claim)
        teachers = {self.experiment(row, 0).teacher for row in rows}
        if "less" not in claim or len(teachers) > 1 or teachers == {None}:
            return found
        more, less = (found[row] for row in rows)
        other = {seed for seed in more.keys() & less.keys() if _differ(more[seed], less[seed])}
        return {
            row: {seed: result for seed, result in found[row].items() if seed not in other}
            for row in rows
        }

    def write_table(self, name: str) -> None:
        table = self.spec["tables"][name]
        shown = [row for row in table["rows"] if self.experiment(row, 0)]
        if not shown:
            raise UserError(f"table {name} has no row with a config of {self.args.benchmark}")
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
            {"text": claim["text"], "judged": self.judged[key, 1.0]}
            for key, claim in self.claims(table["claims"]).items()
        ]
        path = self.args.tables / f"{self.args.benchmark}_table{name}"
        content = {"title": table["title"], "command": self.command, "rows": rows, "claims": claims}
        if table.get("cost"):
            content["cost"] = self.costs(path.with_suffix(".json"), list(table["rows"]))
            text = tables.cost_markdown(content)
            figure = table_pictures.cost_picture(content)
        else:
            text = tables.markdown(table["title"], rows, claims, self.command)
            figure = table_pictures.table_picture(content, self.args.benchmark)
        print(write_files(path, content, text, figure))

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
        content = {"title": "AP against the share of the labels", "command": self.command,
                   "curves": curves, "claims": claims}  # fmt: skip
        path = self.args.tables / f"{self.args.benchmark}_labels"
        figure = table_pictures.curve_picture(content)
        print(write_files(path, content, tables.curve_markdown(content), figure))
