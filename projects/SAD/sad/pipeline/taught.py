"""Which of the labelled images a teacher that is given was trained on: none is to judge it by."""

import os

from ..data.coco_json import CocoJson
from ..data.datasets import BUILTIN, data_path
from ..data.leaks import find_leaks
from .data import Data, image_path


def find_taught(data: Data, teacher_cfg) -> set[int]:
    """The positions in train of what must stay there; a note says what is known of the other sets.

    Args:
        teacher_cfg: its DATASETS.TRAIN and REGISTER are what it was trained on.
    """
    taught, unknown = {}, []
    for name in teacher_cfg.DATASETS.TRAIN:
        entry = teacher_cfg.DATASETS.REGISTER.get(name)
        files = (entry["JSON"], entry["IMAGES"]) if entry else BUILTIN.get(name, ("", ""))
        json_file, folder = map(data_path, files)
        if not os.path.isfile(json_file):
            unknown.append(name)
            continue
        images = CocoJson(json_file, whole=False).images()
        taught[name] = [os.path.join(folder, image["file_name"]) for image in images]
    if unknown or not taught:
        data.notes.append(
            "Which images the teacher was trained on is not known here: if those of val and test "
            "are among them, its figures are too good, and so are the thresholds."
        )
    found = {
        name: set(find_leaks([image_path(labels, x) for x in labels.images], taught))
        for name, labels in data.sets.items()
    }
    for name in found.keys() - {"train"}:
        if found[name]:
            data.notes.append(
                f"The teacher was trained on {len(found[name])} of the "
                f"{len(data.sets[name].images)} images of {name}: its figures are too good."
            )
    return found["train"]
