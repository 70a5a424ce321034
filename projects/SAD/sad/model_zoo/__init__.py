"""Trained detectors that come with this project, used as `detectron2.model_zoo` is.

model = sad.model_zoo.get("digits/SAD")
"""

from .zoo import get, get_checkpoint, get_config, get_config_file, names

__all__ = ["get", "get_checkpoint", "get_config", "get_config_file", "names"]
