"""A trained detector on one image: what a program of one's own calls."""

import os

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.data.detection_utils import build_augmentation, convert_PIL_to_numpy
from detectron2.structures import Instances
from PIL import Image

from ..config.load import get_sad_cfg
from ..data.images import ImageError, check_resizable, read_image
from ..modeling.build import load_detector
from ..utils.errors import UserError


class Predictor:
    """Detections as `train_net.py --eval-only` finds them, on a GPU or, where none is, a CPU.

    `class_names` are those of the labels it was trained with, by number; None where the weights do
    not tell. `model` and `cfg` are Detectron2's.
    """

    def __init__(self, run: str | os.PathLike, weights: str | os.PathLike = "", opts=()):
        """
        Args:
            run: the folder of a training, of which config.yaml and model_final.pth are used; or a
                yaml.
            weights: other weights than the folder's last ones; those of a yaml.
            opts: KEY VALUE pairs on top of the config, the score threshold say.
        Raises:
            UserError: a file is absent or broken, or the weights are not all of the config's model.
        """
        config_file, weights = os.fspath(run), os.fspath(weights)
        if os.path.isdir(config_file):
            weights = weights or _inside(run, "model_final.pth")
            config_file = _inside(run, "config.yaml")
        wanted = get_sad_cfg(config_file, opts).MODEL.DEVICE
        device = wanted if torch.cuda.is_available() else "cpu"
        self.model, self.cfg = load_detector(config_file, weights, device, opts)
        self.class_names = self.model.class_names
        self.augmentations = T.AugmentationList(build_augmentation(self.cfg, is_train=False))

    @torch.no_grad()
    def __call__(self, image: str | os.PathLike | np.ndarray) -> Instances:
        """
        Args:
            image: a file, or (H, W, 3) uint8 in the order blue, green, red, as OpenCV reads.
        Returns:
            N detections on the CPU, the best first: pred_boxes in pixels of the image, scores and
            pred_classes.
        Raises:
            UserError: naming the file that cannot be read, or saying what is no image.
        """
        pixels = self._read(image)
        try:
            check_resizable(pixels, self.cfg.INPUT.MAX_SIZE_TEST)
        except ImageError as error:
            raise UserError(f"the image cannot be resized: {error}") from error
        seen = T.AugInput(pixels)
        height, width = seen.image.shape[:2]
        self.augmentations(seen)
        pixels = torch.as_tensor(np.ascontiguousarray(seen.image.transpose(2, 0, 1)))
        (output,) = self.model([{"image": pixels, "height": height, "width": width}])
        return output["instances"].to("cpu")

    def _read(self, image) -> np.ndarray:
        """(H, W, C) in the model's INPUT.FORMAT."""
        if isinstance(image, (str, os.PathLike)):
            try:
                return read_image(
                    image, self.cfg.INPUT.FORMAT, self.cfg.DATALOADER.MAX_IMAGE_PIXELS
                )
            except ImageError as error:
                raise UserError(f"image {image} cannot be read ({error})") from error
        dtype, shape = getattr(image, "dtype", type(image).__name__), getattr(image, "shape", ())
        if dtype != np.uint8 or shape[2:] != (3,) or 0 in shape:
            raise UserError(
                "an image must be a file or a numpy array (height, width, 3) of uint8, blue first, "
                f"but this is {dtype} {shape or ''}"
            )
        rgb = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
        return convert_PIL_to_numpy(rgb, self.cfg.INPUT.FORMAT)


def _inside(run: str | os.PathLike, name: str) -> str:
    path = os.path.join(run, name)
    if not os.path.exists(path):
        raise UserError(
            f"{run} holds no {name}: name the folder of a finished training, or a yaml and weights"
        )
    return path
