"""Train a teacher and a distilled student from your labels and images, in one command.

    sad distill --labeled labels.json --images photos --unlabeled more_photos --output my_detector

Labels are COCO's json, YOLO's data.yaml or folder, or a folder of Pascal VOC's xml; --data takes a
folder that holds train, valid, test and unlabeled. The command checks the data, chooses settings
that fit it, trains a teacher, lets it label the other images, trains the student with it and
without it, and writes a page that says what was gained.

Everything goes to the folder of --output. The same command goes on where it was stopped. The
configs that it writes there are the only truth for what follows: whoever edits one has trained
anew what depends on it, with --redo.
"""

import argparse
import shlex
import sys

from detectron2.utils.logger import setup_logger

from ..pipeline.detectors import DETECTORS
from ..pipeline.distill import describe_plan, distill
from ..pipeline.networks import names
from ..pipeline.request import Request
from ..pipeline.settings import LONGER, ROUNDS
from ..utils.arguments import between
from .inspect import add_data_arguments


def add_arguments(parser) -> None:
    add_data_arguments(parser.add_argument_group("data"))
    networks = parser.add_argument_group("networks and settings")
    known = f"{', '.join(names())}, timm:NAME, or a yaml"
    networks.add_argument(
        "--teacher", metavar="NAME", help=f"{known} (lite0 where it is installed)"
    )
    networks.add_argument(
        "--teacher-weights", metavar="FILE", help="of a teacher that is trained already"
    )
    networks.add_argument("--student", metavar="NAME", default="tiny", help=f"{known} (tiny)")
    networks.add_argument(
        "--detector",
        metavar="NAME",
        help=f"of both networks: {' or '.join(DETECTORS)} (RetinaNet, or as a given teacher)",
    )
    networks.add_argument(
        "--configs",
        metavar="DIR",
        help="teacher.yaml, student.yaml and SAD.yaml or TAR.yaml instead of choices",
    )
    networks.add_argument(
        "--flips",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="mirror images in training (by the names of the classes)",
    )
    networks.add_argument(
        "--size",
        type=between(int, 32),
        metavar="PIXELS",
        help="longer side of the images, in training and in use (by the images and the machine)",
    )
    time = networks.add_mutually_exclusive_group()
    time.add_argument(
        "--iterations",
        type=between(int, 1),
        help=f"of the students; a pre-trained teacher's are 1 / {LONGER} of it",
    )
    time.add_argument("--minutes", type=between(float, 0.1), help="for everything, about")
    networks.add_argument(
        "--rounds",
        type=between(int, 0),
        metavar="N",
        help=f"train the teacher anew on its own pseudo-labels, N times ({ROUNDS})",
    )
    networks.add_argument("--seed", type=between(int, 0), default=0)
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--no-baseline", action="store_true", help="do not train the student alone, to compare"
    )
    parser.add_argument("--num-gpus", type=int, default=1, help="processes; also without any GPU")
    parser.add_argument(
        "--redo", action="store_true", help="do again what changed; the old is kept aside"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print plan and settings, time ten steps, and end"
    )


def run(args) -> None:
    setup_logger(name="sad", abbrev_name="sad")
    arguments = vars(args)
    dry_run = arguments.pop("dry_run")
    arguments["baseline"] = not arguments.pop("no_baseline")
    if dry_run:
        print(describe_plan(Request(**arguments)))
        return
    given = sys.argv[2:] if sys.argv[1:2] == ["distill"] else sys.argv[1:]  # of `sad`, of a script
    result = distill(**arguments, command=shlex.join(["sad", "distill", *given]))
    for name, ap in result.ap.items():
        print(f"{name:24} AP {ap:.1f}")
    print(f"\nLook at {result.report}")
