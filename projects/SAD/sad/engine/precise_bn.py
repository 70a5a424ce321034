"""Detectron2's precise batch-norm statistics, of the student alone."""

from detectron2.engine import hooks


class PreciseBN(hooks.PreciseBN):
    """Its passes ask no teacher, and do not move the loss normaliser of the training."""

    def __init__(self, period: int, model, data_loader, num_iter: int):
        super().__init__(period, model, map(without_soft_targets, data_loader), num_iter)

    def update_stats(self):
        if self._disabled:
            return
        model = getattr(self._model, "module", self._model)  # inside DistributedDataParallel
        student = getattr(model, "student", model)
        normalizer = vars(student).get("loss_normalizer")
        super().update_stats()
        if normalizer is None:
            vars(student).pop("loss_normalizer", None)
        else:
            student.loss_normalizer = normalizer


def without_soft_targets(batch: list[dict]) -> list[dict]:
    """The batch of a loader of ours, for a pass that needs no teacher."""
    return [{**sample, "soft_targets": False} for sample in batch]
