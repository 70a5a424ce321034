"""What the project asks of every kind of detector, dense or of two stages."""

from abc import ABC, abstractmethod

from detectron2.structures import Instances
from torch import nn

from ...config.defaults import flat
from ...utils.rules import Rule, check

BOXES_ALONE = Rule(lambda x: not x, "False, as these detectors learn boxes alone")


class Adapter(ABC):
    """It holds nothing, each function is given the model."""

    # What the values of its keys must be, beside the rules for all detectors.
    RULES: dict[str, Rule] = {}
    learns_by_overlap: bool  # whether an object is learned by the anchors that it overlaps with

    @abstractmethod
    def num_classes(self, model) -> int:
        """Without the background."""

    @abstractmethod
    def anchored(self, model) -> nn.Module:
        """The part of the model that has the anchors, as its `anchor_generator`."""

    @abstractmethod
    def new_anchor_generator(self, cfg, model) -> nn.Module:
        """As the model's own."""

    @abstractmethod
    def detect(self, model, batch: list[dict], precision: str = "float32") -> list[Instances]:
        """What `model(batch)` gives, in the same order.

        Args:
            model: in eval mode.
            batch: dicts with image, height and width, as of DatasetMapper.
            precision: of the network, see `sad.utils.precision`; scores and boxes are float32.
        Returns:
            of each image, in pixels of its height and width; N boxes with pred_boxes, scores and
            pred_classes.
        """

    def anchor_generator(self, model) -> nn.Module:
        return self.anchored(model).anchor_generator

    def renew_anchors(self, cfg, model) -> None:
        """Give a model that was built without memory anchors that have values."""
        self.anchored(model).anchor_generator = self.new_anchor_generator(cfg, model)

    def check(self, cfg) -> None:
        """
        Raises:
            UserError: naming a key, its value and what is allowed.
        """
        values = dict(flat(cfg))
        for key, rule in self.RULES.items():
            check(key, values[key], rule)
