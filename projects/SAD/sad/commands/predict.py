"""Let trained detectors find objects in images and videos.

    sad predict --model digits/SAD --output found
    sad predict --weights my_detector/runs/SAD photos clip.mp4 --output found
    sad predict --compare my_detector/runs/teacher my_detector/runs/SAD photos --output compared

--weights takes the folder of a training, a file of weights (with --config-file where no config.yaml
lies beside it), or an exported file. Inputs are images, folders, patterns such as 'photos/*.jpg',
and videos; where none is given, a model of the digit scenes looks at a scene made for it. The
output folder, which must hold no earlier results, then has pictures with boxes and
predictions.json, a COCO json with scores.
"""

import os

from detectron2.utils.logger import setup_logger

from ..config.defaults import MAX_PIXELS
from ..digit_scenes.example import example_scene
from ..model_zoo.zoo import get_checkpoint
from ..predict.inputs import Inputs
from ..predict.output import OF_STUDENT, OF_TEACHER, PICTURES, PREDICTIONS, YOLO, check_free
from ..predict.predictor import Predictor
from ..predict.results import Shown
from ..predict.run import Done, Prediction
from ..utils.arguments import between
from ..utils.errors import UserError
from ..utils.files import make_folder

THRESHOLD = 0.5
SCENE = "predicted_scene.png"  # a name that nobody gives to a file of his own
WHY = "no card or evaluation names a better one"


def add_arguments(parser) -> None:
    detector = parser.add_mutually_exclusive_group(required=True)
    detector.add_argument(
        "--weights", help="the folder of a training, weights, or an exported file"
    )
    detector.add_argument("--model", metavar="NAME", help="one of MODEL_ZOO.md, such as digits/SAD")
    detector.add_argument(
        "--compare",
        nargs=2,
        metavar=("TEACHER", "STUDENT"),
        help="two detectors, each as of --weights: their pictures side by side",
    )
    parser.add_argument("--config-file", metavar="FILE", help="the yaml of --weights")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="images, folders, videos")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--threshold",
        type=between(float, 0, 1),
        help="leave out boxes of lower scores; else that of the best F1 on validation images",
    )
    parser.add_argument(
        "--batch", type=between(int, 1), default=8, help="images at once (%(default)s)"
    )
    parser.add_argument(
        "--tile",
        type=between(int, 32),
        metavar="SIZE",
        help="look at larger images in tiles of so many pixels, too",
    )
    parser.add_argument(
        "--max-pixels",
        type=between(int, 1),
        metavar="N",
        help=f"skip images of more pixels; else those of the training's config ({MAX_PIXELS})",
    )
    parser.add_argument("--yolo", action="store_true", help="write YOLO's txts, too")


def run(args) -> None:
    setup_logger(name="sad")
    if args.config_file and not args.weights:
        raise UserError("--config-file is the yaml of --weights: leave it out, or give those")
    if args.yolo and args.compare:
        raise UserError("--yolo is of one detector: give --weights instead of --compare")
    if not args.output:
        raise UserError("--output is empty: name a folder")
    check_free(args.output)
    inputs = Inputs(args.inputs or [_example(args)])
    shown = list(_detectors(args))
    prediction = Prediction(
        shown,
        args.output,
        batch=args.batch,
        tile=args.tile,
        max_pixels=args.max_pixels,
        yolo=args.yolo,
    )
    print(_said(prediction.run(inputs)))
    written = [PICTURES, *(one.file for one in shown), *([YOLO] if args.yolo else [])]
    print(f"wrote {', '.join(written)} in {args.output}")


def _example(args) -> str:
    """A digit scene in the output folder."""
    if not (args.model or "").startswith("digits/"):
        raise UserError("no INPUT is given: name images, folders or videos")
    get_checkpoint(args.model)  # a wrong name is told before anything is written
    make_folder(args.output, "--output")
    path = os.path.join(args.output, SCENE)
    example_scene(path)
    return path


def _detectors(args):
    """Each with its threshold, of which a line says where it comes from."""
    if args.compare:
        names = [os.path.basename(os.path.normpath(weights)) for weights in args.compare]
        given = args.compare if names[0] == names[1] else names
        files = OF_TEACHER, OF_STUDENT
        for name, file, weights in zip(given, files, args.compare, strict=True):
            yield _shown(name, file, Predictor(weights), args.threshold)
    else:
        weights = get_checkpoint(args.model) if args.model else args.weights
        predictor = Predictor(weights, args.config_file or "")
        yield _shown(args.model or weights, PREDICTIONS, predictor, args.threshold)


def _shown(name: str, file: str, predictor: Predictor, threshold: float | None) -> Shown:
    if threshold is not None:
        why = "--threshold"
        least = predictor.detector.score_threshold
        if threshold < least:
            why += f", but the detector itself reports nothing below {least:g}"
    elif predictor.threshold is not None:
        threshold, why = predictor.threshold, "the best F1 when it was evaluated"
    else:
        threshold, why = THRESHOLD, WHY
    print(f"{name}: boxes with a score from {threshold:g} ({why})")
    return Shown(name, file, predictor, threshold)


def _said(done: Done) -> str:
    parts = [f"images: {done.images}", f"boxes: {done.boxes}"]
    if done.videos:
        parts.insert(1, f"videos: {done.videos} ({done.frames} frames)")
    if done.cut_short:
        parts.append(f"videos that break off: {done.cut_short} (see above)")
    if done.unreadable:
        parts.append(f"skipped, as they cannot be read: {done.unreadable} (see above)")
    return ", ".join(parts)
