"""A trained detector on images: what a program of one's own calls."""

import os

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.data.detection_utils import convert_PIL_to_numpy
from PIL import Image

from ..data.images import ImageError, check_resizable, read_image
from ..utils.errors import UserError
from .detections import Detections
from .detector import open_detector


class Predictor:
    """Detections as `train_net.py --eval-only` finds them, on a GPU or, where none is, a CPU.

    `class_names` are those of its labels, `threshold` is the score of the best F1 on validation
    images (None where nothing tells), `detector` holds the rest.
    """

    def __init__(self, weights: str | os.PathLike, config_file: str | os.PathLike = "", opts=()):
        """
        Args:
            weights: the folder of a training, of which config.yaml and model_final.pth are used; a
                file of weights; or an exported file (.onnx, .pt2, .safetensors), which needs no
                yaml.
            config_file: the yaml of weights that have no config.yaml beside them.
            opts: KEY VALUE pairs on top of the config, the score threshold say.
        Raises:
            UserError: a file is absent or broken, or the weights are not all of the config's model.
        """
        self.detector = open_detector(os.fspath(weights), os.fspath(config_file), opts)
        self.class_names = self.detector.class_names
        self.threshold = self.detector.threshold
        sides = self.detector.min_size, self.detector.max_size
        self._resize = T.ResizeShortestEdge(sides[:1], sides[1], "choice")

    def __call__(self, images) -> Detections | list[Detections]:
        """
        Args:
            images: a file, or (H, W, 3) uint8 in the order blue, green, red, as OpenCV reads; or a
                list of such. Those of a list that have one shape are computed together.
        Returns:
            what is found in the image, or a list of that of each one.
        Raises:
            UserError: naming the file that cannot be read, or saying what is no image.
        """
        if not isinstance(images, (list, tuple)):
            return self([images])[0]
        shown = [self._shown(self._read(image)) for image in images]
        # Padding would let what is found in an image depend on the others.
        of_shape = {}
        for position, item in enumerate(shown):
            of_shape.setdefault(item["image"].shape, []).append(position)
        found = {}
        for positions in of_shape.values():
            with torch.no_grad():
                outputs = self.detector.model([shown[position] for position in positions])
            for position, output in zip(positions, outputs, strict=True):
                found[position] = Detections.of_instances(output["instances"], self.class_names)
        return [found[position] for position in range(len(shown))]

    def _read(self, image) -> np.ndarray:
        """(H, W, C) in the detector's image format."""
        if isinstance(image, (str, os.PathLike)):
            try:
                return read_image(image, self.detector.image_format, self.detector.max_pixels)
            except ImageError as error:
                raise UserError(f"image {image} cannot be read ({error})") from error
        dtype, shape = getattr(image, "dtype", type(image).__name__), getattr(image, "shape", ())
        if dtype != np.uint8 or shape[2:] != (3,) or 0 in shape:
            raise UserError(
                "an image must be a file or a numpy array (height, width, 3) of uint8, blue first, "
                f"but this is {dtype} {shape or ''}"
            )
        rgb = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
        return convert_PIL_to_numpy(rgb, self.detector.image_format)

    def _shown(self, pixels: np.ndarray) -> dict:
        """What the model is given: the image as it sees it, and its own height and width."""
        try:
            check_resizable(pixels, self.detector.max_size)
        except ImageError as error:
            raise UserError(f"the image cannot be resized: {error}") from error
        height, width = pixels.shape[:2]
        seen = self._resize.get_transform(pixels).apply_image(pixels)
        image = torch.as_tensor(np.ascontiguousarray(seen.transpose(2, 0, 1)))
        return {"image": image, "height": height, "width": width}
