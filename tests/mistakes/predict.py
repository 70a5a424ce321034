"""Mistakes of predicting; see tests/field/test_mistakes.py."""

TEACHER = "--weights {toy}/teacher.pth --config-file {toy}/teacher.yaml "
PREDICT = "predict --output {out} " + TEACHER
PHOTO = "{toy}/labeled/000001.png "

# fmt: off
MISTAKES = {
    "nothing to predict with": ("predict --output {out} " + PHOTO, "--weights", "--compare"),
    "two ways to name the detector": (
        PREDICT + "--compare {wrong}/run {wrong}/run " + PHOTO, "--compare", "not allowed with",
        "--weights"),
    "a yaml for a file that brings its own": (
        "predict --output {out} --weights student.onnx --config-file {toy}/student.yaml " + PHOTO,
        "student.onnx brings its own config", "--config-file"),
    "an exported file that does not exist": (
        "predict --output {out} --weights absent.onnx " + PHOTO, "absent.onnx does not exist"),
    "an ONNX file that is none": (
        "predict --output {out} --weights {wrong}/broken.onnx " + PHOTO, "broken.onnx"),
    "a program of torch that is none": (
        "predict --output {out} --weights {wrong}/broken.pt2 " + PHOTO, "broken.pt2"),
    "a model that the zoo has not": (
        "predict --output {out} --model digits/SAT " + PHOTO, "digits/SAT",
        "did you mean digits/SAD?"),
    "a yaml for a model of the zoo": (
        "predict --output {out} --model digits/SAD --config-file {toy}/teacher.yaml " + PHOTO,
        "--config-file is the yaml of --weights"),
    "nothing to predict on": (PREDICT, "INPUT"),
    "a model that there is not, and nothing to predict on": (
        "predict --output {out} --model digits/SAT", "digits/SAT", "digits/SAD"),
    "no folder for predictions": ("predict " + TEACHER + PHOTO, "--output"),
    "an empty name of the folder for predictions": (
        "predict --output '' " + TEACHER + PHOTO, "--output is empty", "name a folder"),
    "predictions below a file": (
        "predict --output {wrong}/cut.json/out " + TEACHER + PHOTO, "cut.json/out",
        "name another folder"),
    "predictions written to what is predicted on": (
        "predict --output {wrong}/shown " + TEACHER + "{wrong}/shown/predicted_pictures",
        "shown holds predicted_pictures already", "another folder"),
    "predictions beside earlier ones": (
        "predict --output {wrong}/shown " + TEACHER + PHOTO,
        "--output", "shown holds predicted_pictures already", "another folder", "delete"),
    "a model's own scene beside earlier predictions": (
        "predict --output {wrong}/shown --model digits/SAD", "shown holds predicted_pictures"),
    "weights of a detector that do not exist": (
        "predict --output {out} --weights {toy}/absent.pth " + PHOTO, "absent.pth do not exist"),
    "weights without a yaml": (
        "predict --output {out} --weights {toy}/teacher.pth " + PHOTO,
        "no config.yaml lies beside", "--config-file"),
    "weights of another yaml": (
        "predict --output {out} --weights {toy}/teacher.pth --config-file {toy}/student.yaml "
        + PHOTO, "teacher.pth", "another shape"),
    "weights to predict with that were cut short": (
        "predict --output {out} --weights {wrong}/cut.pth --config-file {toy}/student.yaml "
        + PHOTO, "cut.pth cannot be read"),
    "a run to predict with that is not finished": (
        "predict --output {out} --weights {wrong}/run " + PHOTO, "run holds no model_final.pth",
        "finished training"),
    "a run to predict with without its config": (
        "predict --output {out} --weights {wrong}/done " + PHOTO, "no config.yaml lies beside"),
    "a yaml for two detectors": (
        "predict --output {out} --compare {wrong}/run {wrong}/run --config-file {toy}/teacher.yaml "
        + PHOTO, "--config-file is the yaml of --weights"),
    "one detector to compare": ("predict --output {out} --compare {toy}", "--compare"),
    "YOLO's txts of two detectors": (
        "predict --output {out} --compare {wrong}/run {wrong}/run --yolo " + PHOTO,
        "--yolo is of one detector"),
    "an image that does not exist": (PREDICT + "absent.jpg", "absent.jpg does not exist"),
    "a pattern that nothing fits": (
        PREDICT + "'{toy}/labeled/*.jpg'", "no file fits the pattern", "*.jpg"),
    "a folder without images to predict on": (
        PREDICT + "{toy}/annotations", "no images and videos in", ".mp4", "files of other endings"),
    "images none of which can be read": (
        PREDICT + "{wrong}/floats/000001.png {wrong}/empty/000004.png {wrong}/cut.json",
        "none of 3 images and videos could be read"),
    "a threshold in percent": (PREDICT + "--threshold 50 " + PHOTO, "--threshold", "from 0 to 1"),
    "batches of nothing": (PREDICT + "--batch 0 " + PHOTO, "--batch", "at least 1"),
    "images of no pixels": (PREDICT + "--max-pixels 0 " + PHOTO, "--max-pixels", "at least 1"),
    "an image of more pixels than are allowed": (
        PREDICT + "--max-pixels 99 " + PHOTO, "none of 1 images and videos could be read"),
    "tiles of a few pixels": (PREDICT + "--tile 8 " + PHOTO, "--tile", "at least 32"),
}
# fmt: on
