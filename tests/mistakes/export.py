"""Mistakes of export, and of exported files in other commands; see tests/field/test_mistakes.py."""

TEACHER = "export --config-file {toy}/teacher.yaml --weights {toy}/teacher.pth "
ONNX = TEACHER + "--format onnx --output {out}/x.onnx "
EVAL = "train_net --config-file {toy}/teacher.yaml --eval-only OUTPUT_DIR {out} MODEL.WEIGHTS "

# fmt: off
MISTAKES = {
    # export.py
    "export to a format that is none": (
        TEACHER + "--format tflite --output {out}/x", "--format", "onnx"),
    "an exported file of another ending": (
        TEACHER + "--format onnx --output {out}/x.pb", "x.pb", "ends in .onnx"),
    "a folder as the exported file": (
        TEACHER + "--format onnx --output {wrong}/folder.onnx", "folder.onnx is a folder"),
    "export of weights that do not exist": (
        ONNX.replace("{toy}/teacher.pth", "absent.pth"), "absent.pth is no file"),
    "export of another network's weights": (
        ONNX.replace("teacher.yaml", "student.yaml"), "student.yaml", "do not fit the model"),
    "export of a Faster R-CNN without its suppression": (
        ONNX.replace("teacher", "rcnn_teacher") + "--nms none", "a Faster R-CNN cannot end",
        "--nms graph"),
    "export proved on a set that is none": (
        ONNX + "--dataset toy_labelled", "'toy_labelled'", "did you mean toy_labeled"),
    "export proved on nothing": (
        ONNX + "DATASETS.TEST ()", "DATASETS.TEST is empty", "--dataset"),
    "export of a detector that reads grey images": (
        ONNX + "INPUT.FORMAT L", "INPUT.FORMAT is L"),
    "int8 for torch": (
        TEACHER + "--format torch --int8 --output {out}/x.pt2",
        "--int8 has no say beside --format torch"),
    "weights without suppression": (
        TEACHER + "--format safetensors --nms none --output {out}/x.safetensors",
        "--nms none has no say beside --format safetensors"),
    "weights that take floats": (
        TEACHER + "--format safetensors --input float32 --output {out}/x.safetensors",
        "--input has no say"),
    "int8 without suppression": (ONNX + "--int8 --nms none", "--int8 has no say beside --nms none"),
    "int8 without images": (
        ONNX + "--int8", "DATASETS.UNLABELED names none", "--calibration-images"),
    "int8 with a folder without images": (
        ONNX + "--int8 --calibration-images {wrong}/folder.pth", "no images in"),
    "images for int8 without int8": (
        ONNX + "--calibration-images {toy}/unlabeled", "no say without --int8"),
    "int8 that may lose less than nothing": (
        ONNX + "--int8 --max-loss -1", "--max-loss", "from 0 to 100"),
    "an exported file below a file": (
        ONNX.replace("{out}", "{wrong}/cut.json"), "--output in", "cannot be written to"),

    # exported files given to others
    "evaluation of an exported file that does not exist": (EVAL + "absent.onnx", "absent.onnx"),
    "evaluation of what is no ONNX file": (EVAL + "{wrong}/broken.onnx", "broken.onnx"),
    "evaluation of what is no program of torch": (
        EVAL + "{wrong}/broken.pt2", "broken.pt2 is no program of torch.export"),
    "training that starts from an ONNX file": (
        "train_net --config-file {toy}/teacher.yaml OUTPUT_DIR {out} MODEL.WEIGHTS "
        "{wrong}/broken.onnx", "broken.onnx is an exported file"),
}
# fmt: on
