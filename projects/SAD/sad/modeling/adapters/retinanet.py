"""RetinaNet (arXiv 1708.02002), Detectron2's own."""

import torch
from detectron2.modeling.anchor_generator import build_anchor_generator
from torch import Tensor

from .dense import DenseAdapter


class RetinaNetAdapter(DenseAdapter):
    first_normalizer = 100
    learns_by_overlap = True

    def new_anchor_generator(self, cfg, model):
        return build_anchor_generator(cfg, self.feature_shapes(model))

    def _all(self, model, features) -> dict[str, list[Tensor]]:
        logits, deltas = model.head(features)
        return {"logits": logits, "deltas": deltas}

    def _named(self, class_loss: Tensor, box_loss: Tensor) -> dict[str, Tensor]:
        return {"loss_cls": class_loss, "loss_box_reg": box_loss}

    def _box_loss_kind(self, model) -> dict:
        return {
            "box_reg_loss_type": model.box_reg_loss_type,
            "smooth_l1_beta": model.smooth_l1_beta,
        }

    def least_logit(self, threshold: float) -> float:
        return torch.logit(torch.tensor(threshold)).item()

    def scores(self, logits: Tensor, centerness: Tensor | None) -> Tensor:
        return logits.sigmoid()
