"""A digit scene to try a detector on, made in a moment and without the data set."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..utils.files import atomic_write
from .render import SceneOptions, render_scene

# Of handwriting and photographs that no training sees; not one of the images of the quickstart,
# whose seed is 0.
SEED, SPLIT, INDEX = 1, "minival", 1


def example_scene(path: str | Path = "") -> np.ndarray:
    """
    Args:
        path: where to write it, as .png or .jpg; '' writes nothing.
    Returns:
        (128, 128, 3) uint8, RGB, the same each time.
    Raises:
        UserError: scikit-learn or scikit-image is not installed.
    """
    image, _ = render_scene(SceneOptions(seed=SEED), SPLIT, INDEX)
    if path:
        with atomic_write(path, "wb") as file:
            Image.fromarray(image).save(file, Image.registered_extensions()[Path(path).suffix])
    return image
