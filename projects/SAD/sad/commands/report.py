"""Compare finished runs in a table and on a page to look at.

    sad report --output output/report \\
        --run "teacher=output/digits/teacher" --run "student alone=output/digits/student"

A run is an OUTPUT_DIR of a training; all must have been tested on the same set. The folder then
holds report.md (the table), report.json and report.png (the page).
"""

import os
import shlex
import sys

from ..report.report import table, write_report
from ..utils.arguments import between
from ..utils.errors import UserError


def add_arguments(parser) -> None:
    parser.add_argument(
        "--run", action="append", required=True, metavar="NAME=DIR", help="give it once per run"
    )
    parser.add_argument("--output", required=True, help="folder to write to")
    parser.add_argument("--title", default="Report")
    parser.add_argument(
        "--command",
        default=command_line(),
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


def command_line() -> str:
    """What was typed, for a script and for `sad`."""
    program, *arguments = sys.argv
    if program.endswith(".py"):
        return shlex.join(["python", program, *arguments])
    return shlex.join([os.path.basename(program), *arguments])


def run(args) -> None:
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
