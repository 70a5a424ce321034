"""Look into one's own data: what is in it, what is suspicious, and what to do about it.

    sad inspect --labeled labels.json --images photos --unlabeled more_photos --output inspection
    sad inspect --data folder --output inspection

Labels may be a COCO json, a data.yaml or folder of YOLO's, or a folder of Pascal VOC's xmls. The
output folder then holds inspection.html (a page to look at) and inspection.json (the same for
programs). Training size and anchors are those that `sad distill` would choose, or a config's.
"""

import os
import tempfile

from ..config.load import config_path, get_sad_cfg
from ..data.datasets import register_coco_set
from ..inspection.labeled_set import DataSet
from ..inspection.run import PAGE, inspect_data
from ..layouts.recognise import LAYOUTS
from ..pipeline.data import read_data
from ..pipeline.facts import Facts, Machine
from ..pipeline.networks import find_network
from ..pipeline.settings import as_cfg, base_settings
from ..pipeline.yaml_text import as_settings
from ..utils.errors import UserError
from ..utils.files import make_folder
from .report import command_line


def add_arguments(parser) -> None:
    add_data_arguments(parser)
    parser.add_argument(
        "--config-file", metavar="FILE", help="yaml of a detector: its training size and anchors"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write to")


def add_data_arguments(parser) -> None:
    """Where labels and images lie, as this command and `sad distill` are told."""
    parser.add_argument(
        "--labeled", metavar="LABELS", help="labels: a json, a data.yaml or a folder"
    )
    parser.add_argument(
        "--images", metavar="FOLDER", help="their images, if LABELS do not say where"
    )
    parser.add_argument("--unlabeled", metavar="FOLDER", help="images without labels")
    parser.add_argument("--val", metavar="LABELS", help="to choose by; else a part of --labeled")
    parser.add_argument("--test", metavar="LABELS", help="to report on; else a part of --labeled")
    parser.add_argument("--data", metavar="FOLDER", help="holds train, valid, test and unlabeled")
    parser.add_argument("--layout", choices=LAYOUTS, help="where it is not recognised")
    parser.add_argument(
        "--fixed-camera",
        action="store_true",
        help="the camera stands still: only identical files are the same image",
    )


def run(args) -> None:
    if bool(args.labeled) == bool(args.data):
        raise UserError("give either --labeled LABELS, or --data FOLDER where one folder holds all")
    for flag in ("images", "val", "test"):
        if args.data and getattr(args, flag):
            raise UserError(f"--{flag} has no say beside --data: leave one of them out")
    cfg = get_sad_cfg(config_path(args.config_file)) if args.config_file else None
    sources = ("data", "labeled", "images", "unlabeled", "val", "test", "layout")
    data = read_data(**{name: getattr(args, name) for name in sources})
    make_folder(args.output, "--output")
    with tempfile.TemporaryDirectory() as folder:
        sets = {}
        for name, labels in data.sets.items():
            path = os.path.join(folder, f"{name}.json")
            labels.write(path)
            where = labels.source, labels.mended, labels.left_out
            sets[name] = DataSet(path, labels.image_root, *where)
            print(f"{name}: {labels.describe()}")
        if not cfg and data.sets["train"].annotations:
            cfg = _chosen(sets["train"])
        summary = inspect_data(
            sets,
            args.output,
            unlabeled=data.unlabeled,
            cfg=cfg,
            fixed_camera=args.fixed_camera,
            command=command_line(),
        )
    for finding in summary["findings"]:
        print(f"{finding['level']}: {finding['text']}")
    print(f"the page: {os.path.join(args.output, PAGE)}")


def _chosen(train: DataSet):
    """The config of the size and the anchors that `sad distill` would choose by default."""
    register_coco_set("train", train.json_file, train.image_root)
    network, facts = find_network("tiny"), Facts.of("train", 0)
    settings = base_settings(facts, Machine.this(1), [network], flips=(False, ""))
    return as_cfg([*as_settings(network.keys), *settings])
