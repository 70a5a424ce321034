"""Precision against recall, as COCO's evaluation finds it."""

import numpy as np

CURVE_IOUS = (0.5, 0.75)


def precision_by_recall(evaluation) -> dict:
    """The curves of all classes together: the mean over the classes, as AP is one.

    Args:
        evaluation: of `sad.evaluation.coco_evaluator.evaluate_boxes`; None where there are no
            detections.
    Returns:
        "recall", 101 values from 0 to 1, and "precision": {IoU as text: as many values}. At each
        recall it is the best precision at that or a higher one; 0 where no score reaches it.
    """
    recall = np.linspace(0, 1, 101)
    curves = {str(iou): np.zeros(len(recall)) for iou in CURVE_IOUS}
    if evaluation is not None:
        ious = np.round(np.asarray(evaluation.params.iouThrs), 2).tolist()
        of_all = np.asarray(evaluation.eval["precision"])[..., 0, -1]  # all areas, most detections
        for iou in CURVE_IOUS:
            of_class = of_all[ious.index(iou)]  # (recall, class), -1 of a class without objects
            with_objects = of_class[:, (of_class > -1).all(axis=0)]
            if with_objects.size:
                curves[str(iou)] = with_objects.mean(axis=1)
    return {
        "recall": recall.round(2).tolist(),
        "precision": {iou: curve.round(4).tolist() for iou, curve in curves.items()},
    }
