"""Mistakes of the one command, and of looking into data; see tests/field/test_mistakes.py."""

TAR = "train_net --config-file {toy}/TAR.yaml OUTPUT_DIR {out} "
LABELS = "--labeled {toy}/annotations/labeled.json --images {toy}/labeled "
DISTILL = "distill --output {out} " + LABELS
TESTED = DISTILL + "--test {toy}/annotations/labeled.json "
ONCE = "--teacher tiny "  # what {wrong}/planned was planned with

# fmt: off
MISTAKES = {
    # distill.py
    "nothing to learn from": (
        "distill --output {out}", "nothing to learn from", "--labeled LABELS", "--data FOLDER"),
    "no folder to write to": ("distill " + LABELS, "--output"),
    "an empty name of the folder to write to": (
        "distill --output '' " + LABELS, "--output is empty", "name a folder"),
    "a file as the folder to write to": (
        "distill --output {toy}/SAD.yaml " + LABELS, "SAD.yaml is a file", "name a folder"),
    "a folder that another process writes to": (
        TESTED.replace("{out}", "{wrong}/busy"), "--output", "busy is in use by"),
    "labels that do not exist": (
        "distill --output {out} --labeled absent.json", "absent.json do not exist", "name a json"),
    "labels that are an image": (
        "distill --output {out} --labeled {toy}/labeled/000004.png",
        "000004.png are no json, yaml, xml or folder"),
    "a folder without labels": (
        "distill --output {out} --labeled {toy}/unlabeled", "no labels in", "COCO json"),
    "an empty folder of labels": (
        "distill --output {out} --labeled {wrong}/folder.pth", "no labels in"),
    "a json that was cut short": (
        DISTILL.replace("{toy}/annotations/labeled.json", "{wrong}/cut.json"), "cut.json",
        "no whole json"),
    "another tool's json": (
        DISTILL.replace("{toy}/annotations/labeled.json", "{wrong}/via.json"), "via.json",
        "looks like VIA's"),
    "a json without annotations": (
        DISTILL.replace("labeled.json", "image_info.json"), "image_info.json",
        "has no annotations"),
    "boxes as corners": (
        TESTED.replace("{toy}/annotations/labeled.json", "{wrong}/corners.json", 1),
        "corners.json", "look like corners"),
    "images that are elsewhere": (
        DISTILL.replace("{toy}/labeled ", "{wrong}/folder.pth "), "no images in", "folder.pth"),
    "a folder of images that does not exist": (
        DISTILL.replace("{toy}/labeled ", "{toy}/absent "), "absent does not exist", "--images"),
    "labels of two layouts": (
        "distill --output {out} --labeled {wrong}/two_layouts", "several layouts", "--layout yolo"),
    "a layout that is none": (DISTILL + "--layout coko", "--layout", "coko"),
    "a layout that does not fit": (
        DISTILL + "--layout voc", "--layout is voc", "looks like a COCO json"),
    "a data.yaml without names": (
        "distill --output {out} --labeled {wrong}/nameless.yaml", "nameless.yaml names no classes"),
    "a data.yaml that is broken": (
        "distill --output {out} --labeled {wrong}/broken.yaml", "broken.yaml", "mend it"),
    "an xml that is none of Pascal VOC": (
        "distill --output {out} --labeled {wrong}/svg", "no Pascal VOC xmls"),
    "an xml that declares entities": (
        "distill --output {out} --labeled {wrong}/entities", "declares a document type",
        "remove the declaration"),
    "hardly any labels and none to test on": (
        DISTILL, "6 labelled images and none to test on", "give --test"),
    "validation labels that do not exist": (TESTED + "--val absent.json", "absent.json do not"),
    "validation labels of other classes": (
        TESTED + "--val {wrong}/gray.json", "gray.json have other classes"),
    "no folder of unlabelled images": (
        TESTED + "--unlabeled {toy}/absent", "absent"),
    "a folder without unlabelled images": (
        TESTED + "--unlabeled {wrong}/folder.pth", "no images in", "folder.pth"),
    "a folder as --data that does not exist": (
        "distill --output {out} --data absent", "--data absent is no folder"),
    "--data beside --labeled": (
        DISTILL + "--data {toy}", "--data has no say beside --labeled"),
    "--configs beside --labeled": (
        DISTILL + "--configs {toy}", "--configs has no say beside --labeled"),
    "--minutes beside --iterations": (
        TESTED + "--minutes 3 --iterations 5", "--minutes", "--iterations"),
    "no iterations of the one command": (TESTED + "--iterations 0", "--iterations", "at least 1"),
    "no time": (TESTED + "--minutes 0", "--minutes", "at least 0.1"),
    "rounds of self-training without images": (
        TESTED + "--rounds 1", "--rounds is 1", "no unlabelled images"),
    "rounds of self-training below 0": (TESTED + "--rounds -1", "--rounds", "at least 0"),
    "rounds of self-training of a teacher that is given": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights {toy}/teacher.pth --rounds 1",
        "--teacher-weights has no say beside --rounds"),
    "no process": (TESTED + "--num-gpus 0", "--num-gpus is 0"),
    "a seed below 0": (TESTED + "--seed -1", "--seed", "at least 0"),
    "a student that is no network": (
        TESTED + "--student smal", "no network 'smal'", "did you mean small"),
    "a teacher that is no network": (TESTED + "--teacher R51", "no network 'R51'", "R50"),
    "a network that timm does not know": (
        TESTED + "--teacher timm:resnet81", "resnet81", "does not know"),
    "a network of timm's without maps": (
        TESTED + "--student timm:vit_tiny_patch16_224", "vit_tiny", "8, 16, 32 are needed"),
    "a yaml as a network that does not exist": (
        TESTED + "--student absent.yaml", "absent.yaml does not exist"),
    "weights of a teacher without its yaml": (
        TESTED + "--teacher-weights {toy}/teacher.pth", "--teacher-weights goes with --teacher"),
    "weights of a teacher that do not exist": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights absent.pth", "absent.pth",
        "do not exist"),
    "weights of a teacher without names of classes": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights {wrong}/nameless.pth",
        "nameless.pth do not name their classes", "SAD.TEACHER.CLASS_NAMES"),
    "weights of another network": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights {wrong}/student.pth",
        "student.pth"),
    "a teacher of other classes": (
        TESTED.replace("--labeled {toy}/annotations/labeled.json", "--labeled {wrong}/gray.json")
        + "--teacher {toy}/teacher.yaml --teacher-weights {toy}/teacher.pth", "other classes"),
    "configs in no folder": (
        "distill --output {out} --configs absent --unlabeled x", "absent/teacher.yaml"),
    "configs that learn from unlabelled images, without any": (
        "distill --output {out} --configs {toy}", "SAD.yaml learns from unlabelled images",
        "give --unlabeled"),
    "configs with unlabelled images that do not exist": (
        "distill --output {out} --configs {toy} --unlabeled absent", "absent"),

    "images beside --data": (
        "distill --output {out} --data {toy} --images {toy}/labeled",
        "--data has no say beside --images"),
    "a student beside --configs": (
        "distill --output {out} --configs {toy} --unlabeled {toy}/unlabeled --student small",
        "--configs has no say beside --student"),
    "flips beside --configs": (
        "distill --output {out} --configs {toy} --unlabeled {toy}/unlabeled --no-flips",
        "--configs has no say beside --flips"),
    "a size of images beside a teacher that has one": (
        "distill --output {out} --data {toy} --teacher {toy}/teacher.yaml --teacher-weights w "
        "--size 320", "--teacher-weights has no say beside --size"),
    "images of a few pixels": (
        "distill --output {out} --data {toy} --size 8", "--size", "at least 32"),
    "an output among the unlabelled images": (
        TESTED.replace("{out}", "{toy}/unlabeled/out") + "--unlabeled {toy}/unlabeled",
        "lies in --unlabeled", "name a folder elsewhere"),
    "an output among all images": (
        "distill --output {toy} --data {toy}", "lies in --data", "name a folder elsewhere"),
    "an output below a file": (
        TESTED.replace("{out}", "{wrong}/cut.json/out"), "--output", "cannot be written to"),
    "an output that holds configs of something else": (
        TESTED.replace("{out}", "{wrong}/theirs"), "theirs holds configs of something else"),
    "an output that holds another program's plan": (
        TESTED.replace("{out}", "{wrong}/plan"), "plan.json is none that this command has written"),
    "an output whose record is cut short": (
        TESTED.replace("{out}", "{wrong}/cut_record") + ONCE, "cut_record/state.json is none"),
    "another student in the same output": (
        TESTED.replace("{out}", "{wrong}/planned") + ONCE + "--student small", "--student changed",
        "to be done again: student, calibration, SAD and student_long", "--redo"),
    "another seed in the same output": (
        TESTED.replace("{out}", "{wrong}/planned") + ONCE + "--seed 1", "--seed changed",
        "everything", "--redo"),
    "other labels in the same output": (
        TESTED.replace("{out}", "{wrong}/planned").replace(
            "labeled.json", "pseudo_labels.json").replace("/labeled ", "/unlabeled ") + ONCE,
        "the labels of train, the labels of test changed", "--redo"),
    "a config that was broken since": (
        TESTED.replace("{out}", "{wrong}/broken_config") + ONCE, "student.yaml"),
    "labels without a box": (
        TESTED.replace("{toy}/annotations/labeled.json", "{wrong}/no_labels.json", 1),
        "no_labels.json"),
    "labels that are crowds alone": (
        TESTED.replace("{toy}/annotations/labeled.json", "{wrong}/crowds.json", 1), "crowds.json",
        "holds no boxes"),
    "test labels without a box": (
        DISTILL + "--test {wrong}/crowds.json", "crowds.json", "holds no boxes"),
    "labelled images as the unlabelled ones": (
        TESTED + "--unlabeled {wrong}/copies", "no unlabelled image is left", "labelled ones"),
    "unlabelled images that cannot be read": (
        TESTED + "--unlabeled {wrong}/floats", "no unlabelled image is left", "cannot be read"),
    "a json as the unlabelled images": (
        TESTED + "--unlabeled {toy}/annotations/image_info.json", "image_info.json is no folder"),
    "two names of one set": (
        "distill --output {out} --data {wrong}/twice", "names of one set", "leave one of them"),
    "a test set without a train set": (
        "distill --output {out} --data {wrong}/untrained", "holds test, but no train"),
    "all sets as --labeled": (
        "distill --output {out} --labeled {wrong}/sets", "holds test and train sets", "--data"),
    "YOLO's labels without images": (
        "distill --output {out} --labeled {wrong}/imageless", "has a txt of its name"),
    "a detector that is none": (
        TESTED + "--detector FasterRcnn", "--detector is 'FasterRcnn'",
        "one of RetinaNet, FasterRCNN", "did you mean FasterRCNN?"),
    "a Faster R-CNN as a student of a RetinaNet": (
        TESTED + "--teacher tiny --student {toy}/rcnn_student.yaml",
        "rcnn_student.yaml describes a GeneralizedRCNN", "another --detector"),
    "a RetinaNet as a teacher of a Faster R-CNN": (
        TESTED + "--teacher {toy}/teacher.yaml --detector FasterRCNN",
        "teacher.yaml describes a RetinaNet", "another --detector"),
    "a RetinaNet as a student of a Faster R-CNN that is there": (
        TESTED + "--teacher {toy}/rcnn_teacher.yaml --teacher-weights {toy}/rcnn_teacher.pth "
        "--student {toy}/student.yaml", "student.yaml describes a RetinaNet", "FasterRCNN"),
    "another detector than that of a teacher that is there": (
        TESTED + "--teacher {toy}/rcnn_teacher.yaml --teacher-weights {toy}/rcnn_teacher.pth "
        "--detector RetinaNet", "rcnn_teacher.yaml describes a GeneralizedRCNN", "RetinaNet"),
    "a detector beside --configs": (
        "distill --output {out} --configs {toy} --unlabeled {toy}/unlabeled --detector FasterRCNN",
        "--configs has no say beside --detector"),
    "another detector in the same output": (
        TESTED.replace("{out}", "{wrong}/planned") + ONCE + "--detector FasterRCNN",
        "--detector changed", "everything", "--redo"),
    "configs of two detectors": (
        "distill --output {out} --configs {wrong}/two_detectors --unlabeled {toy}/unlabeled",
        "teacher.yaml describes a RetinaNet", "student.yaml a GeneralizedRCNN", "of one detector"),
    "configs of a Faster R-CNN without a TAR.yaml": (
        "distill --output {out} --configs {wrong}/no_tar --unlabeled {toy}/unlabeled",
        "no_tar/TAR.yaml does not exist"),
    "a folder as a teacher's weights": (
        TESTED + "--teacher {toy}/teacher.yaml --teacher-weights {wrong}/run", "run"),
    "a network of timm's without a name": (TESTED + "--student timm:", "timm"),
    "configs without a test set": (
        "distill --output {out} --configs {wrong}/untested --unlabeled {toy}/unlabeled",
        "teacher.yaml tests on nothing"),
    "unlabelled images for configs that take none": (
        "distill --output {out} --configs {wrong}/supervised --unlabeled {toy}/unlabeled",
        "learns from no unlabelled images"),
    "a typo in the set of unlabelled images": (
        "distill --output {out} --configs {toy} --unlabeled toy_unlabelled",
        "toy_unlabelled is no folder and no data set", "did you mean toy_unlabeled?"),

    # inspect_data.py
    "nothing to look into": ("inspect_data --output {out}", "--labeled"),
    "labels to look into that do not exist": (
        "inspect_data --output {out} --labeled absent.json", "absent.json do not exist"),
    "one flag too many to look into a folder": (
        "inspect_data --output {out} --data {toy} --val x.json", "--val has no say beside --data"),

    # own_data_table.py
    "a row of no form": ("own_data_table --row bins", "'bins' is not of the form NAME=DIR"),
    "a row of a folder without a report": (
        "own_data_table --row bins=absent", "absent/report.json does not exist"),
    "no row at all": (
        "own_data_table --output {out}/table", "has no rows yet: give one with --row"),
}
# fmt: on
