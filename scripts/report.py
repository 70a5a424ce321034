#!/usr/bin/env python3
"""Compare finished runs: report.md (a table), report.json and report.png (a page to look at).

    python scripts/report.py --output output/report \
        --run "teacher=output/digits/teacher" --run "student alone=output/digits/student"

A run is an OUTPUT_DIR of train_net.py; all must have been tested on the same set.
"""

import argparse
import shlex
import sys

import sad_command  # noqa: F401
from sad.report.report import table, write_report
from sad.utils.arguments import between
from sad.utils.errors import UserError, exit_on_user_error


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", action="append", required=True, metavar="NAME=DIR", help="give it once per run"
    )
    parser.add_argument("--output", required=True, help="folder to write to")
    parser.add_argument("--title", default="Report")
    parser.add_argument(
        "--command",
        default=shlex.join(["python", *sys.argv]),
        help="what to state as the command that made it; this one if not given",
    )
    parser.add_argument(
        "--images",
        type=between(int, 1),
        default=50,
        help="test images, drawn by lot, to measure time on",
    )
    parser.add_argument(
        "--pictures", type=between(int, 1), default=4, help="how many of them the page shows"
    )
    parser.add_argument(
        "--score-threshold",
        type=between(float, 0, 1),
        default=0.4,
        help="of the detections that the page shows",
    )
    parser.add_argument("--seed", type=between(int, 0), default=0, help="of the lot")
    return parser.parse_args()


@exit_on_user_error
def main() -> None:
    args = parse_args()
    pairs = [tuple(run.split("=", 1)) for run in args.run]
    for pair in pairs:
        if len(pair) != 2 or not all(pair):
            raise UserError(f"--run {pair[0]!r} is not of the form NAME=DIR")
    report = write_report(
        pairs,
        args.output,
        title=args.title,
        command=args.command,
        num_images=args.images,
        num_pictures=args.pictures,
        score_threshold=args.score_threshold,
        seed=args.seed,
    )
    print(table(report["runs"], "simple"))
    print(f"\nwrote {args.output}/: report.md, report.json and report.png, look at the last")


if __name__ == "__main__":
    main()
