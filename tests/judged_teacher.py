"""A toy teacher judged by the toy problem's labelled images, which it was not trained on."""

import json

from sad.calibration.calibrate import calibrate


def untrained(toy, folder):
    """(yaml of the toy's teacher that names no training set, a json to take the mean of)."""
    config = folder / "teacher.yaml"
    config.write_text(f"_BASE_: {toy.path('teacher.yaml')}\nDATASETS:\n  TRAIN: []\n  TEST: []\n")
    content = toy.json("pseudo_labels.json")
    for annotation in content["annotations"]:
        annotation.pop("score")
    (folder / "mean.json").write_text(json.dumps(content))
    return str(config), str(folder / "mean.json")


def judged(toy, folder, **options) -> dict:
    config, labeled = untrained(toy, folder)
    return calibrate(
        *(config, toy.path("teacher.pth")),
        (toy.path("annotations/labeled.json"), toy.path("labeled")),
        options.pop("unlabeled", toy.path("labeled_again")),
        labeled,
        str(folder / "out"),
        **options,
    )
