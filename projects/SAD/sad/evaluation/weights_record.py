"""Which weights the detections in a run's folder are of.

Every evaluation of a run writes into the same folder, whatever it evaluates. It removes the record
first, and who knows the file of the weights writes it anew.
"""

import json
import os

from ..utils.errors import UserError, reason
from ..utils.files import sha256, write_json

RECORD, DETECTIONS = "weights.json", "coco_instances_results.json"


def detections_folder(output_dir: str, name: str) -> str:
    """Of a run and a test set."""
    return os.path.join(output_dir, "inference", name)


def forget_weights(folder: str) -> None:
    if os.path.exists(path := os.path.join(folder, RECORD)):
        os.unlink(path)


def record_weights(folder: str, weights: str, threshold: float | None = None) -> None:
    """Note that the detections in a folder are of a file.

    Args:
        threshold: the score from which on they are best taken for objects, where that is known.
    """
    os.makedirs(folder, exist_ok=True)
    record = {"file": weights, "sha256": sha256(weights), "threshold": threshold}
    write_json(os.path.join(folder, RECORD), record, indent=1)


def check_weights(folder: str, weights: str) -> float | None:
    """
    Returns:
        the threshold, see `record_weights`.
    Raises:
        UserError: the detections in a folder are of another file, or nothing says of which.
    """
    path = os.path.join(folder, RECORD)
    again = f"evaluate {weights} again (train_net.py --eval-only)"
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        of, digest, threshold = found["file"], found["sha256"], found.get("threshold")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}, which says what weights the detections beside it are of, cannot be read "
            f"({reason(error)}): {again}"
        ) from error
    if digest != sha256(weights):
        raise UserError(f"the detections in {folder} are of {of}, not of {weights}: {again}")
    return threshold if isinstance(threshold, float) and 0 <= threshold <= 1 else None
