"""A detector and objects of chosen sizes, for the tests of its anchors."""

import numpy as np
from detectron2.structures import BoxMode

from sad.config.load import get_sad_cfg
from sad.modeling.build import build_detector
from toy import REPOSITORY

BCCD = str(REPOSITORY / "configs" / "bccd" / "teacher.yaml")


def network(*opts):
    """(config, its model without memory) of BCCD's teacher: 192 x 256 pixels, strides 8 to 32."""
    cfg = get_sad_cfg(BCCD, ["MODEL.DEVICE", "meta", *opts])
    return cfg, build_detector(cfg)


def images_with(boxes, width=1280, height=960, **annotation):
    """An image for each x, y, width, height."""
    mode = BoxMode.XYWH_ABS
    return [
        {
            "width": width,
            "height": height,
            "annotations": [{"bbox": list(box), "bbox_mode": mode, "iscrowd": 0, **annotation}],
        }
        for box in boxes
    ]


def objects(sides, width=1280, height=960):
    """An image with an object for each (w, h), anywhere in it."""
    rng = np.random.default_rng(0)
    return images_with(
        [(rng.uniform(0, width - w), rng.uniform(0, height - h), w, h) for w, h in sides],
        *(width, height),
    )
