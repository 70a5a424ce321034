"""Let a trained teacher write pseudo-labels for unlabelled images, as a COCO json.

    sad label --config-file configs/digits/teacher.yaml \\
        --weights output/teacher/model_final.pth \\
        --dataset digits_unlabeled --labeled-dataset digits_labeled \\
        --output output/pseudo_labels.json

The score threshold is the one at which the mean number of instances per image equals that of the
labelled set. Beside the json comes a folder with the report: numbers, a histogram and a preview.

Images that the config trains or tests on, those of its other registered sets with annotations and
those of the labelled json are left out, whatever their names; the log says how many.

A run that was interrupted goes on where it stopped when the same command is given again; another
number of processes, threshold or labelled set may be given. Less than a shard of each process is
lost: a batch of a short list, about 1,000 images of a million.

torchrun and SLURM's srun may start the processes instead of --num-gpus, see
`sad.engine.launch`. The pseudo-labels are the same for any number of processes (bit for bit on
CPUs, at one thread each).
"""

from datetime import timedelta

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from ..config.load import get_sad_cfg
from ..data.datasets import nearest_set, register_from_config
from ..engine import launch
from ..exported.open import check_as_card
from ..preflight.values import check_config
from ..pseudo_labels.job import LabelingJob, prepare
from ..pseudo_labels.runner import label_images
from ..pseudo_labels.views import Views, add_view_arguments
from ..utils.arguments import add_launch_arguments, between
from ..utils.errors import UserError


def add_arguments(parser) -> None:
    parser.add_argument("--config-file", required=True, help="yaml the teacher was trained with")
    parser.add_argument("--weights", required=True, help="the teacher's checkpoint")
    parser.add_argument(
        "--class-names",
        nargs="+",
        default=(),
        metavar="NAME",
        help="the classes of weights that do not name them, in the order of their logits, or one "
        "COCO json whose categories they are, by rising id",
    )
    unlabeled = parser.add_mutually_exclusive_group(required=True)
    unlabeled.add_argument("--images", help="folder of the images; all below it, or as in --json")
    unlabeled.add_argument("--dataset", help="registered data set instead of --images and --json")
    parser.add_argument("--json", help="image-info or COCO json that lists the images")
    labeled = parser.add_mutually_exclusive_group()
    labeled.add_argument("--labeled-json", help="labelled COCO json: classes, and calibration")
    labeled.add_argument("--labeled-dataset", help="registered data set instead of --labeled-json")
    threshold = parser.add_mutually_exclusive_group()
    threshold.add_argument(
        "--mean-instances",
        type=between(float, 1e-3),
        help="wanted instances per image instead of the labelled",
    )
    threshold.add_argument("--threshold", type=between(float, 0, 1), help="score threshold by hand")
    threshold.add_argument(
        "--class-thresholds",
        metavar="FILE",
        help="a json {class name: score threshold} that names every class, as calibrate writes it",
    )
    parser.add_argument("--output", required=True, help="the COCO json to write")
    parser.add_argument(
        "--batch-size", type=between(int, 1), default=8, help="images at once, per process"
    )
    parser.add_argument(
        "--max-unreadable",
        type=between(float, 0, 1),
        default=0.01,
        help="stop over this share of bad images (0.01); 5 are always allowed, except with 0",
    )
    parser.add_argument(
        "--keep-for",
        nargs="+",
        default=(),
        metavar=("CONFIG", "KEY VALUE"),
        help="keep what the teacher says for a training with SAD.TEACHER.CACHE.DIR that it teaches",
    )
    add_view_arguments(parser)
    add_launch_arguments(parser)


def run(args) -> None:
    if args.json and args.dataset:
        raise UserError("--json goes with --images, --dataset has a json of its own")
    launch.start(main, args, timedelta(minutes=args.timeout))


def json_and_images(name: str) -> tuple[str, str]:
    """Files of a registered data set in COCO's format."""
    if name not in DatasetCatalog:
        raise UserError(f"{name} is no registered data set: give its files, or {nearest_set(name)}")
    metadata = MetadataCatalog.get(name)
    if not metadata.get("json_file"):
        raise UserError(f"data set {name} was not registered from a COCO json: give its files")
    return metadata.json_file, metadata.image_root


def make_job(args) -> LabelingJob:
    cfg = get_sad_cfg(args.config_file, args.opts)
    check_config(cfg)
    check_as_card(cfg, args.weights)
    register_from_config(cfg)
    if args.keep_for:
        config, *opts = args.keep_for
        check_config(get_sad_cfg(config, opts))
    image_json, image_root, labeled_json = args.json, args.images, args.labeled_json
    share = cfg.DATASETS.LABELED_SHARE, cfg.DATASETS.LABELED_SHARE_SEED
    if args.dataset:
        image_json, image_root = json_and_images(args.dataset)
    if args.labeled_dataset:
        labeled_json, _ = json_and_images(args.labeled_dataset)
    return prepare(
        args.config_file,
        args.weights,
        image_root,
        args.output,
        image_json=image_json,
        labeled_json=labeled_json,
        labeled_share=share,
        target_mean=args.mean_instances,
        threshold=args.threshold,
        class_thresholds=args.class_thresholds,
        batch_size=args.batch_size,
        max_unreadable=args.max_unreadable,
        views=Views.of(args.scales, args.flip),
        keep_for=args.keep_for,
        class_names=args.class_names,
        opts=args.opts,
    )


def main(args) -> None:
    """What each process does."""
    setup_logger(distributed_rank=comm.get_rank(), name="sad")
    job = make_job(args) if comm.is_main_process() else None
    comm.synchronize()  # --timeout holds here, but not in the group that gathers beside NCCL
    job = comm.all_gather(job)[0]
    label_images(job)
