"""Write a trained detector as a file that other programs run, and prove that it is the same.

    sad export --config-file output/SAD/config.yaml --weights output/SAD/model_final.pth \\
        --format onnx --output student.onnx

The file is compared with Detectron2's detector, number by number and by its AP on the validation
set, and is only written where they agree. docs/deploy.md says what is in it and how to run it.
"""

from ..export.request import SUFFIXES, Request
from ..export.run import export
from ..export.validation import quiet
from ..utils.arguments import between


def add_arguments(parser) -> None:
    parser.add_argument("--config-file", required=True, metavar="FILE", help="yaml of the detector")
    parser.add_argument("--weights", required=True, metavar="FILE", help="its trained weights")
    parser.add_argument("--format", required=True, choices=list(SUFFIXES))
    parser.add_argument("--output", required=True, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--nms",
        choices=("graph", "none"),
        default="graph",
        help="none: the file ends in all boxes and scores, for programs that select by themselves",
    )
    parser.add_argument(
        "--input",
        choices=("uint8", "float32"),
        default="uint8",
        help="kind of numbers of the images, whose values are from 0 to 255 (%(default)s)",
    )
    parser.add_argument(
        "--dataset",
        default="",
        metavar="NAME",
        help="labelled set to prove it on; else the config's first one to validate on",
    )
    parser.add_argument("--licence", default="", help="what the card says of it")
    parser.add_argument(
        "--int8", action="store_true", help="let the convolutions compute in 8 bits (ONNX)"
    )
    parser.add_argument(
        "--calibration-images",
        default="",
        metavar="FOLDER",
        help="images for --int8; else those of DATASETS.UNLABELED",
    )
    parser.add_argument(
        "--max-loss",
        type=between(float, 0, 100),
        default=1.0,
        metavar="AP",
        help="an int8 file that loses more is not written (%(default)s)",
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="write an int8 file even if it is hardly faster, or worse",
    )
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs for the config")


def run(args) -> None:
    quiet()
    export(
        Request(
            config_file=args.config_file,
            weights=args.weights,
            format=args.format,
            output=args.output,
            nms=args.nms == "graph",
            dtype=args.input,
            dataset=args.dataset,
            licence=args.licence,
            int8=args.int8,
            calibration_images=args.calibration_images,
            max_loss=args.max_loss,
            anyway=args.anyway,
            opts=args.opts,
        )
    )
    print(f"wrote {args.output}")
