#!/usr/bin/env python3
"""Train a benchmark's teacher, student and distilled students over several seeds; write the table.

    python scripts/study.py --benchmark digits --seeds 0,1,2 --output output/study

Each seed has its own teacher and hard targets. Every arm of a seed is one run of train_net.py with
the iterations and batch of its yaml; `student, SAD's time` trains the plain student as long as SAD
took by the clock. Finished runs are kept, so an interrupted study goes on where it was.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sad.datasets import BUILTIN, data_path
from sad.errors import UserError, exit_on_user_error
from sad.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
LONG_STUDENT = "student, SAD's time"
ARMS = {  # row of the table -> yaml of the benchmark
    "teacher": "teacher",
    "student": "student",
    "student + ST on labelled": "student_ADL",
    "student + ST on all": "student_ST",
    "student + HT": "student_HT",
    "SAD: student + ST + HT": "SAD",
    LONG_STUDENT: "student",
}
METRICS = ("AP", "AP50", "AP75")


def records(run: Path) -> list[dict]:
    path = run / "metrics.json"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def finished(run: Path) -> dict | None:
    """The final evaluation of a run, or None while it has not ended."""
    last = records(run)[-1:]
    return last[0] if last and "bbox/AP" in last[0] and (run / "model_final.pth").exists() else None


def seconds_per_iteration(run: Path) -> float:
    return statistics.median(line["time"] for line in records(run) if "time" in line)


def call(command: list, log: Path, threads: int) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    with open(log, "w") as file:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=file,
        )
    if done.returncode:
        raise UserError(f"{command[0]} failed, see {log}")


def run_seed(args, seed: int) -> dict[str, dict]:
    """All arms of one seed, one after the other: row -> its final metrics."""
    home = Path(args.output).resolve() / f"seed{seed}"
    configs = Path("configs") / args.benchmark
    hard_targets = home / "hard_targets.json"
    results = {}
    for row, yaml in ARMS.items():
        if row not in args.arms or not (ROOT / configs / f"{yaml}.yaml").exists():
            continue
        run = home / "".join(c if c.isalnum() else "_" for c in row)
        if not finished(run):
            print(f"seed {seed}: {row}", flush=True)
            options = ["SEED", seed, "OUTPUT_DIR", run, *args.opts]
            if args.test:
                options += ["DATASETS.TEST", f"('{args.test}',)"]
            if yaml not in ("teacher", "student"):
                options += ["SAD.TEACHER.WEIGHTS", home / "teacher" / "model_final.pth"]
            if yaml in ("student_HT", "SAD"):
                write_hard_targets(args, home, configs, hard_targets)
                options += [f"DATASETS.REGISTER.{args.benchmark}_hard_targets.JSON", hard_targets]
            if row == LONG_STUDENT:
                names = ("SAD__student___ST___HT", "student")
                slow, plain = (seconds_per_iteration(home / name) for name in names)
                iterations = max(line["iteration"] for line in records(home / names[1])) + 1
                options += ["SOLVER.MAX_ITER", round(iterations * slow / plain)]
            config = configs / f"{yaml}.yaml"
            call(
                ["projects/SAD/train_net.py", "--resume", "--config-file", config, *options],
                home / "logs" / f"{run.name}.txt",
                args.threads,
            )
        results[row] = {metric: finished(run)[f"bbox/{metric}"] for metric in METRICS}
        results[row]["seconds_per_iteration"] = seconds_per_iteration(run)
    return results


def write_hard_targets(args, home: Path, configs: Path, output: Path) -> None:
    if output.exists():
        return
    call(
        [
            "scripts/label_unlabeled.py",
            *("--config-file", configs / "teacher.yaml"),
            *("--weights", home / "teacher" / "model_final.pth"),
            *("--dataset", f"{args.benchmark}_unlabeled"),
            *("--labeled-dataset", f"{args.benchmark}_labeled"),
            *("--output", output),
        ],
        home / "logs" / "label.txt",
        args.threads,
    )


def table(results: dict[int, dict]) -> str:
    """Markdown: a row per arm with mean +- standard deviation, and the AP of each seed."""
    lines = [
        f"| seeds {', '.join(map(str, results))} | AP | AP50 | AP75 | AP of each seed |",
        "|---|---|---|---|---|",
    ]
    for row in next(iter(results.values())):
        cells = []
        for metric in METRICS:
            values = [seed[row][metric] for seed in results.values()]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        each = ", ".join(f"{seed[row]['AP']:.1f}" for seed in results.values())
        lines.append(f"| {row} | {' | '.join(cells)} | {each} |")
    return "\n".join(lines) + "\n"


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--benchmark", default="digits", help="a folder of configs/")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="ROW")
    parser.add_argument("--test", default="", help="data set to evaluate on, instead of the yaml's")
    parser.add_argument("--output", default="output/study")
    parser.add_argument("--jobs", type=int, default=2, help="seeds run at the same time")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for every run")
    args = parser.parse_args()
    args.threads = max(1, (os.cpu_count() or 1) // args.jobs)
    if args.benchmark == "digits" and not Path(data_path(BUILTIN["digits_labeled"][0])).exists():
        raise UserError("the digit scenes are not there yet: python scripts/make_digits.py")
    seeds = [int(seed) for seed in args.seeds.split(",")]
    with ThreadPoolExecutor(args.jobs) as pool:
        results = dict(zip(seeds, pool.map(lambda seed: run_seed(args, seed), seeds), strict=True))
    command = "python scripts/study.py " + " ".join(sys.argv[1:])
    with atomic_write(Path(args.output) / "study.json") as file:
        json.dump({"command": command, "results": results}, file, indent=1)
    with atomic_write(Path(args.output) / "study.md") as file:
        file.write(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
