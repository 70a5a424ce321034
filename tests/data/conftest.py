"""Data sets of one test."""

import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from sad.data.datasets import register_coco_set


@pytest.fixture
def register(toy, tmp_path):
    """A function that registers a json over the toy's labelled images, or its others."""
    names = []

    def write_and_register(name, content, images="labeled"):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        register_coco_set(name, str(tmp_path / f"{name}.json"), toy.path(images))
        names.append(name)

    yield write_and_register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
