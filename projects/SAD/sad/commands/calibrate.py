"""Say what a teacher's boxes are worth, by labelled images that it was not trained on.

    sad calibrate --config-file my_detector/configs/teacher.yaml \\
        --weights my_detector/runs/teacher/model_final.pth \\
        --val-json my_detector/data/val.json --val-images photos --images more_photos \\
        --labeled-json my_detector/data/train.json --output calibration

The output folder then holds calibration.html (a page to look at: precision and recall by score and
class, and the advice that follows), thresholds.json (for --class-thresholds of `sad label`),
to_label.csv (the unlabelled images most worth labelling next) and calibration.json.
"""

from detectron2.utils.logger import setup_logger

from ..calibration.calibrate import calibrate
from ..config.load import config_path, get_sad_cfg
from ..exported.open import check_as_card
from ..preflight.values import check_config
from ..pseudo_labels.views import Views, add_view_arguments
from ..utils.arguments import between


def add_arguments(parser) -> None:
    parser.add_argument("--config-file", required=True, help="yaml the teacher was trained with")
    parser.add_argument("--weights", required=True, help="the teacher's checkpoint")
    parser.add_argument("--val-json", required=True, help="COCO json of held-out labelled images")
    parser.add_argument("--val-images", required=True, metavar="FOLDER", help="their folder")
    parser.add_argument("--images", required=True, metavar="FOLDER", help="unlabelled images")
    parser.add_argument("--json", help="image-info json that lists them; else all below the folder")
    parser.add_argument("--labeled-json", required=True, help="what the teacher was trained on")
    parser.add_argument(
        "--student-ap",
        type=between(float, 0, 100),
        help="AP of the student alone on the held-out images, for the advice",
    )
    parser.add_argument(
        "--to-label", type=between(int, 1), default=50, help="images to propose for labelling (50)"
    )
    parser.add_argument(
        "--max-unlabeled",
        type=between(int, 1),
        default=2000,
        help="unlabelled images to look at, drawn by a fixed seed (2000)",
    )
    add_view_arguments(parser)
    parser.add_argument("--class-names", nargs="+", default=(), help="see `sad label --help`")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs for the config")


def run(args) -> None:
    setup_logger(name="sad", abbrev_name="sad")
    cfg = get_sad_cfg(config_path(args.config_file), args.opts)
    check_config(cfg)
    check_as_card(cfg, args.weights)
    report = calibrate(
        args.config_file,
        args.weights,
        (args.val_json, args.val_images),
        (args.json, args.images) if args.json else args.images,
        args.labeled_json,
        args.output,
        args.student_ap,
        args.to_label,
        args.opts,
        class_names=args.class_names,
        max_unlabeled=args.max_unlabeled,
        views=Views.of(args.scales, args.flip),
    )
    for line in report["advice"]["lines"]:
        print(f"{line['level']}: {line['text']}")
    print(f"the page: {args.output}/calibration.html")
