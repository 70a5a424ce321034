"""Pictures of what the detector finds in the course of a training, for TensorBoard."""

import math

import numpy as np
import torch
from detectron2.evaluation.evaluator import inference_context
from detectron2.structures import BoxMode
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ..data.datasets import read_sets
from ..data.images import read_image
from ..data.mapper import ImageMapper, seeded
from ..utils.drawing import class_colors, contact_sheet, draw_box, show_image

SCORE = 0.3  # of the detections that are drawn


class PredictionPictures:
    """The same few images of a test set each time: their labels, and beside them what is found."""

    def __init__(self, cfg, class_names: list[str]):
        """
        Args:
            cfg: SAD.WATCH.PICTURES images of the first of DATASETS.TEST are shown, evenly spread
                over those with labels.
            class_names: in the order of the model's classes.
        """
        self.mapper = ImageMapper(cfg, is_train=False)
        self.test_sets = cfg.DATASETS.TEST[:1]
        self.number = cfg.SAD.WATCH.PICTURES if comm.is_main_process() else 0
        self.max_pixels = cfg.DATALOADER.MAX_IMAGE_PIXELS
        self.class_names = class_names
        self.records = None  # read when they are needed

    @torch.no_grad()
    def put(self, model) -> None:
        """Into the storage, from which Detectron2's TensorBoard writer takes them; by rank 0 alone.

        Args:
            model: as Detectron2's, perhaps in a DistributedDataParallel.
        """
        if not (self.number and self.test_sets):
            return
        if self.records is None:
            self.records = self._chosen()
        model = getattr(model, "module", model)
        with inference_context(model), seeded((0,)):  # Detectron2 draws lots for the size
            for record in self.records:
                (output,) = model([self.mapper(record)])
                picture = draw(record, output["instances"].to("cpu"), self.class_names)
                name = f"predictions/{record['image_id']}"
                get_event_storage().put_image(name, picture.transpose(2, 0, 1))

    def _chosen(self) -> list[dict]:
        records = read_sets(self.test_sets, self.max_pixels)
        records = [record for record in records if record.get("annotations")] or records
        places = np.linspace(0, len(records) - 1, min(self.number, len(records)))
        return [records[place] for place in places.round().astype(int)]


def draw(record: dict, found, class_names: list[str]) -> np.ndarray:
    """The labels of an image on the left, the detections above SCORE on the right.

    Args:
        record: Detectron2's dict of the image.
        found: its Instances, on the CPU.
    Returns:
        (H, W, 3) uint8, RGB.
    """
    figure, (labels, detections) = contact_sheet(2, columns=2)
    pixels = read_image(record["file_name"], "RGB", math.inf)
    colors = class_colors(len(class_names))
    for axes, title in ((labels, "labels"), (detections, f"found, score from {SCORE:g}")):
        show_image(axes, pixels)
        axes.set_title(title, loc="left")
    for label in record.get("annotations", ()):
        box = BoxMode.convert(label["bbox"], label["bbox_mode"], BoxMode.XYXY_ABS)
        number = label["category_id"]
        draw_box(labels, box, colors[number], label=class_names[number])
    found = found[found.scores >= SCORE]
    boxes = found.pred_boxes.tensor.tolist()
    for box, number, score in zip(boxes, found.pred_classes, found.scores, strict=True):
        draw_box(detections, box, colors[number], label=f"{class_names[number]} {score:.2f}")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
