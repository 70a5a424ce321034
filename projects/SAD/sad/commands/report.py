"""Compare finished runs in a table and on a page, and say what distillation has gained.

    sad report --output output/report \\
        --run "teacher=output/digits/teacher" --run "student alone=output/digits/student"

A run is an OUTPUT_DIR of a training; all must have been tested on the same set. To say what
distillation has gained, add which run is what: --distilled NAME --baseline NAME --teacher NAME.
The folder then holds report.html (a page to look at), report.md, report.json and report.png.
"""

import os
import shlex
import sys

from ..report.gain import Roles
from ..report.report import write_report
from ..report.runs import WEIGHTS
from ..report.sections import table
from ..utils.arguments import between
from ..utils.errors import UserError


def add_arguments(parser) -> None:
    parser.add_argument(
        "--run", action="append", required=True, metavar="NAME=DIR", help="give it once per run"
    )
    parser.add_argument("--distilled", metavar="NAME", help="the run of the distilled student")
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="NAME",
        help="a run of the student alone, which the gain is over: of several the best",
    )
    parser.add_argument("--teacher", default="", metavar="NAME", help="the teacher's run")
    parser.add_argument(
        "--note",
        action="append",
        default=[],
        metavar="SENTENCE",
        help="what a reader of the figures must know",
    )
    parser.add_argument(
        "--test-set",
        default="",
        metavar="NAME",
        help="take the figures from the detections that an evaluation has left on this set "
        " in the runs' folders",
    )
    parser.add_argument(
        "--weights",
        default=WEIGHTS,
        metavar="FILE",
        help="the file in the runs' folders that was evaluated so (%(default)s)",
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
        "--pictures",
        type=between(int, 1),
        default=4,
        help="how many test images the page shows of each kind",
    )
    parser.add_argument(
        "--score-threshold",
        type=between(float, 0, 1),
        help="of the detections that the page shows; that of each run's best F1 if not given",
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
    roles = None
    if args.distilled or args.baseline or args.teacher:
        roles = Roles(args.distilled or "", tuple(args.baseline), args.teacher)
    report = write_report(
        pairs,
        args.output,
        title=args.title,
        command=args.command,
        roles=roles,
        notes=args.note,
        test_set=args.test_set,
        weights=args.weights,
        num_images=args.images,
        num_pictures=args.pictures,
        score_threshold=args.score_threshold,
        seed=args.seed,
    )
    print(table(report["runs"], "simple"))
    files = "report.html, report.md, report.json and report.png"
    print(f"\nwrote {args.output}/: {files}; look at the first")
