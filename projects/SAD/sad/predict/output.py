"""What the output folder holds when a call is done, by names that nobody gives to his own files."""

import os

from ..utils.errors import UserError

PICTURES, YOLO = "predicted_pictures", "predicted_yolo"  # folders
PREDICTIONS = "predictions.json"
OF_TEACHER, OF_STUDENT = "predictions_teacher.json", "predictions_student.json"


def check_free(output: str) -> None:
    """That nothing is in the way of results, so that they neither replace nor join earlier ones.

    Args:
        output: the folder to write to. It may hold anything else, or not exist.
    Raises:
        UserError: something in it has the name of a result.
    """
    names = PREDICTIONS, OF_TEACHER, OF_STUDENT, PICTURES, YOLO
    held = [name for name in names if os.path.lexists(os.path.join(output, name))]
    if held:
        raise UserError(
            f"--output {output} holds {', '.join(held)} already: name another folder, or delete "
            "what you no longer need of them"
        )


def is_result(path: str) -> bool:
    """Whether a path leads through a folder of results."""
    return not {PICTURES, YOLO}.isdisjoint(path.split(os.sep))
