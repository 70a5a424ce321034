"""Mistakes of labelling and calibration; see tests/field/test_mistakes.py."""

LABEL = (
    "label_unlabeled --config-file {toy}/teacher.yaml --images {toy}/unlabeled "
    "--json {toy}/annotations/image_info.json --output {out}/targets.json "
)
LABEL_ALL = LABEL + "--weights {toy}/teacher.pth --labeled-json {toy}/annotations/labeled.json "
LABEL_FOLDER = (
    "label_unlabeled --config-file {toy}/teacher.yaml --weights {toy}/teacher.pth --labeled-json "
    "{toy}/annotations/labeled.json --output {wrong}/targets.json "
)
CALIBRATE = (
    "calibrate --config-file {toy}/teacher.yaml --weights {toy}/teacher.pth --val-json "
    "{toy}/annotations/pseudo_labels.json --val-images {toy}/unlabeled --images {wrong}/images "
    "--labeled-json {toy}/annotations/labeled.json --output {out} "
)

# fmt: off
MISTAKES = {
    # label_unlabeled.py
    "labelling with a LazyConfig": (
        LABEL.replace("{toy}/teacher.yaml", "{wrong}/lazy.py")
        + "--weights {toy}/teacher.pth --threshold 0.5", "lazy.py", "a yaml is wanted"),
    "labelling that is under way": (
        LABEL_ALL.replace("{out}/targets.json", "{wrong}/busy.json"), "--output",
        "busy_labelling is in use by process"),
    "labelling at an address without a port": (
        LABEL_ALL + "--num-gpus 2 --dist-url tcp://node1", "--dist-url is tcp://node1",
        "tcp://HOST:PORT"),
    "labelling with weights that do not exist": (
        LABEL + "--weights absent.pth --threshold 0.5", "absent.pth", "do not exist"),
    "labelling with another network's weights": (
        LABEL + "--weights {wrong}/student.pth --threshold 0.5", "student.pth", "do not fit"),
    "labelling with a C4": (
        LABEL.replace("{toy}/teacher.yaml", "{wrong}/faster_rcnn.yaml")
        + "--weights {toy}/teacher.pth --threshold 0.5", "MODEL.ROI_HEADS.NAME is 'Res5ROIHeads'"),
    "labelling with a Faster R-CNN and a RetinaNet's weights": (
        LABEL.replace("{toy}/teacher.yaml", "{toy}/rcnn_teacher.yaml")
        + "--weights {toy}/teacher.pth --threshold 0.5", "rcnn_teacher.yaml with", "do not fit"),
    "nothing to calibrate the threshold with": (
        LABEL + "--weights {toy}/teacher.pth", "give --labeled-json"),
    "threshold in percent": (
        LABEL + "--weights {toy}/teacher.pth --threshold 50", "--threshold", "from 0 to 1"),
    "threshold for all classes and for each": (
        LABEL_ALL + "--threshold 0.5 --class-thresholds {wrong}/half.json",
        "--class-thresholds", "not allowed with argument --threshold"),
    "thresholds by class that do not exist": (
        LABEL_ALL + "--class-thresholds absent.json", "--class-thresholds absent.json",
        "cannot be opened"),
    "thresholds by class that are no json": (
        LABEL_ALL + "--class-thresholds {toy}/teacher.yaml", "teacher.yaml is no json"),
    "thresholds by class that are a list": (
        LABEL_ALL + "--class-thresholds {wrong}/list.json", "list.json is [0.5, 0.5]",
        "{class name: score}"),
    "thresholds for some of the classes": (
        LABEL_ALL + "--class-thresholds {wrong}/half.json", "half.json has no score",
        "class 'dark'", "add it"),
    "threshold for a class that the teacher has not": (
        LABEL_ALL + "--class-thresholds {wrong}/more.json", "names 'lights'",
        "did you mean light?"),
    "threshold of a class in percent": (
        LABEL_ALL + "--class-thresholds {wrong}/percent.json", "percent.json gives 'dark' 50",
        "from 0 to 1"),
    "scales without the image's own size": (
        LABEL_ALL + "--scales 0.5 2", "--scales are 0.5, 2", "1 must be among them"),
    "scale in percent": (LABEL_ALL + "--scales 100", "--scales", "from 0.25 to 4"),
    "mirrored images for a teacher that has seen none": (
        LABEL_ALL + "--flip INPUT.RANDOM_FLIP none", "--flip", "INPUT.RANDOM_FLIP none"),
    "calibration on mirrored images": (
        CALIBRATE + "--flip INPUT.RANDOM_FLIP none", "--flip", "INPUT.RANDOM_FLIP none"),
    "labels of other classes than the teacher's": (
        LABEL + "--weights {toy}/teacher.pth --labeled-json {wrong}/three_classes.json",
        "the teacher and", "three_classes.json have other classes", "'gray'"),
    "typo in the set to label": (
        "label_unlabeled --config-file {toy}/SAD.yaml --weights {wrong}/student.pth "
        "--threshold 0.5 --dataset toy_unlabelled --output {out}/targets.json",
        "toy_unlabelled is no registered", "did you mean toy_unlabeled?"),
    "image folder that does not exist": (
        LABEL_ALL.replace("{toy}/unlabeled", "{toy}/absent"), "image folder",
        "absent does not exist"),
    "image folder of labelled images alone": (
        LABEL_FOLDER + "--images {toy}/labeled", "6 of 6 images of", "are labelled or tested on",
        "no unlabelled image is left"),
    "image folder of floats": (
        LABEL_FOLDER + "--images {wrong}/floats", "6 of 6 images cannot be read", "mode F",
        "8 or 16 bits"),
    "image folder of other files": (
        LABEL_FOLDER + "--images {toy}/annotations", "there are no images in", "other endings"),
    "empty batches": (
        LABEL_ALL + "--batch-size 0", "--batch-size", "at least 1"),
    "pseudo-labels written to a folder": (
        LABEL_ALL.replace("{out}/targets.json", "{wrong}"), "--output", "is a folder",
        "name the json"),
    "pseudo-labels below a file": (
        LABEL_ALL.replace("{out}", "{wrong}/cut.json"), "--output", "cannot be written to"),

    "labelling with weights that do not name their classes": (
        LABEL_ALL.replace("{toy}/teacher.pth", "{wrong}/nameless.pth"), "nameless.pth do not name",
        "--class-names"),
    "labelling by labels of other names": (
        LABEL_ALL.replace("{toy}/annotations/labeled.json", "{wrong}/gray.json"), "the teacher",
        "gray.json have other classes", "'dark' and 'gray'"),
    "labelling by labels that are all crowds": (
        LABEL_ALL.replace("{toy}/annotations/labeled.json", "{wrong}/crowds.json"),
        "no boxes to calibrate", "12 crowds"),
    "labelling by boxes given by their corners": (
        LABEL_ALL.replace("{toy}/annotations/labeled.json", "{wrong}/corners.json"),
        "look like corners x0, y0, x1, y1"),
    "labelling for a training that keeps nothing": (
        LABEL_ALL + "--keep-for {toy}/SAD.yaml", "--keep-for", "SAD.yaml keeps no answers",
        "set its SAD.TEACHER.CACHE.DIR"),
    "labelling for a training that cannot keep": (
        LABEL_ALL + "--keep-for {toy}/TAR.yaml SAD.TEACHER.CACHE.DIR {out} "
        "SAD.DISTILL.PROPOSALS union", "SAD.TEACHER.CACHE.DIR is", "but SAD.DISTILL.PROPOSALS is"),
    "labelling for the student of another teacher": (
        LABEL_ALL + "--keep-for {toy}/SAD.yaml SAD.TEACHER.CACHE.DIR {out} SAD.TEACHER.WEIGHTS "
        "{wrong}/student.pth", "SAD.TEACHER.WEIGHTS", "student.pth, which are not those of",
        "leave --keep-for out"),

    # calibrate.py
    "teacher judged by its training images": (
        CALIBRATE.replace("pseudo_labels.json --val-images {toy}/un",
                          "labeled.json --val-images {toy}/"),
        "the teacher was trained on", "labeled.json", "give a json of held-out images"),
    "teacher judged by images without boxes": (
        CALIBRATE.replace("{toy}/annotations/pseudo_labels.json", "{wrong}/no_labels.json"),
        "no_labels.json has no boxes to measure the teacher by", "no annotations"),
    "held-out images of other classes": (
        CALIBRATE.replace("{toy}/annotations/pseudo_labels.json", "{wrong}/gray.json"),
        "the teacher and", "gray.json have other classes"),
    "held-out images in no folder": (
        CALIBRATE.replace("--val-images {toy}/unlabeled", "--val-images {toy}/absent"),
        "image folder", "absent of", "does not exist"),
    "calibration without unlabelled images": (
        CALIBRATE, "5 of 5 images of", "no unlabelled image is left"),
    "calibration on images that cannot be read": (
        CALIBRATE.replace("{wrong}/images", "{wrong}/floats"), "none of 6 images of", "mode F"),
    "calibration of weights that do not name their classes": (
        CALIBRATE.replace("{toy}/teacher.pth", "{wrong}/nameless.pth"),
        "nameless.pth do not name", "--class-names"),
    "calibration of a teacher that is not there": (
        CALIBRATE.replace("{toy}/teacher.pth", "absent.pth"), "absent.pth", "do not exist"),
    "student's AP beyond all": (
        CALIBRATE + "--student-ap 101", "--student-ap", "from 0 to 100"),
    "no images to label": (CALIBRATE + "--to-label 0", "--to-label", "at least 1"),
}
# fmt: on
