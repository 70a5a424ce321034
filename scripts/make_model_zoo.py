#!/usr/bin/env python3
"""Write the digit scenes' part of the model zoo from the runs of the quickstart.

    python scripts/make_model_zoo.py

Each model is evaluated in half precision, and refused if that changes its AP by more than 0.05.
The same runs make the same files. What it prints are the rows of MODEL_ZOO.md.
"""

import argparse
import os
from pathlib import Path

import sad_command  # noqa: F401
from sad.report.runs import Run
from sad.study.zoo_files import write_model
from sad.utils.errors import exit_on_user_error

MODELS = ("teacher", "student", "SAD")
OUTPUT = Path(__file__).resolve().parents[1] / "model_zoo" / "digits"
LICENCE = (
    "Weights: Apache-2.0. They were trained on digit scenes, which are made of Optical Recognition "
    "of Handwritten Digits by E. Alpaydin and C. Kaynak (UCI, CC BY 4.0) and of photographs that "
    "are CC0, in the public domain or without known restrictions. CREDITS.md of SAD for Detectron2 "
    "names all sources."
)


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", default="output/quickstart/runs", metavar="DIR", help=f"of {', '.join(MODELS)}"
    )
    parser.add_argument("--output", default=str(OUTPUT), metavar="DIR")
    args = parser.parse_args()
    runs = [Run(name, os.path.join(args.runs, name)) for name in MODELS]
    for run in runs:
        config = f"configs/digits/{run.name}.yaml"
        output = os.path.join(args.output, run.name)
        facts = write_model(run, config, "digits_tune", output, LICENCE)
        print(row(f"digits/{run.name}", facts))


def row(name: str, facts: dict) -> str:
    """Of the table in MODEL_ZOO.md."""
    folder = f"model_zoo/{os.path.dirname(name)}"
    cells = (
        f"`{name}`",
        f"[yaml]({facts['config']})",
        f"[safetensors]({folder}/{facts['weights']})",
        f"[json](model_zoo/{name}.json)",
        *(f"{value:.1f}" for value in facts["metrics"].values()),
        f"{facts['parameters'] / 1e6:.2f}",
        f"`{facts['sha256']}`",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
