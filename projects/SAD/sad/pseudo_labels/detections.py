"""The teacher's detections, 26 bytes each, and the score that makes them pseudo-labels."""

import numpy as np

DETECTION = np.dtype(
    [
        ("image", np.int32),  # position in the list of images
        ("box", np.float32, 4),  # x0, y0, x1, y1 in pixels of the image on disk
        ("category", np.int16),  # the teacher's class, 0 ... K - 1
        ("score", np.int32),  # in SCORE_UNITS: what is calibrated is exactly what is written
    ]
)
SCORE_UNITS = 10**6  # 1 as a score, so the json has 6 decimals


def scores(detections: np.ndarray) -> np.ndarray:
    """Scores between 0 and 1 of an array of DETECTION."""
    return detections["score"] / SCORE_UNITS


def calibrate_threshold(counts: np.ndarray, num_images: int, target_mean: float) -> float:
    """The score at which keeping `score >= threshold` comes nearest to `target_mean` per image.

    Equal scores stay together; of two thresholds equally near, the higher one (fewer instances).

    Args:
        counts: (SCORE_UNITS + 1,) how many detections of all images have each score.
        num_images: all labelled images count, also those without a detection.
        target_mean: wanted mean number of instances per image.
    Raises:
        ValueError: there is no detection.
    """
    values = np.flatnonzero(counts)[::-1]
    if not len(values):
        raise ValueError("there are no scores to choose a threshold from")
    kept = np.cumsum(counts[values])
    best = np.argmin(np.abs(kept - target_mean * num_images))  # the first of equals
    return float(values[best] / SCORE_UNITS)
