"""Semi-supervised Adaptive Distillation (arXiv 1901.00366) for Detectron2.

Importing this package registers the meta-architecture, the backbones and the digit scenes.
"""

from importlib.util import find_spec

if find_spec("detectron2") is None:
    raise ImportError(
        "SAD needs Detectron2, which is not installed here: run "
        "`python scripts/install_detectron2.py` (no compiler needed), or "
        "`pip install --no-build-isolation "
        "'git+https://github.com/facebookresearch/detectron2.git'`."
    )

from . import model_zoo
from .data import datasets  # noqa: F401
from .modeling import backbones, distiller, timm_backbone  # noqa: F401
from .pipeline.distill import distill
from .predict.predictor import Predictor

__all__ = ["Predictor", "distill", "model_zoo"]
