"""Yamls with reasons: read back they say the same."""

import pytest
import yaml

from sad.pipeline.yaml_text import Setting, as_settings, to_yaml


def test_what_is_written_is_read_back():
    settings = [
        Setting("MODEL.WEIGHTS", ""),
        Setting("MODEL.ANCHOR_GENERATOR.SIZES", [[16.0, 20.2], [32.0, 40.3]], "they fit"),
        Setting("INPUT.RANDOM_FLIP", "none", "a class is named left"),
        Setting("DATASETS.REGISTER.train.JSON", "/a folder/with: colon #1/ü.json"),
        Setting("SOLVER.BASE_LR", 0.05),
        Setting("SOLVER.STEPS", ()),
        Setting("SOLVER.BASE_LR", 0.1, "the later one counts"),
    ]
    text = to_yaml(settings, "Two lines\nat the top.", "base.yaml")
    assert yaml.safe_load(text) == {
        "_BASE_": "base.yaml",
        "MODEL": {"WEIGHTS": "", "ANCHOR_GENERATOR": {"SIZES": [[16.0, 20.2], [32.0, 40.3]]}},
        "INPUT": {"RANDOM_FLIP": "none"},
        "DATASETS": {"REGISTER": {"train": {"JSON": "/a folder/with: colon #1/ü.json"}}},
        "SOLVER": {"BASE_LR": 0.1, "STEPS": []},
    }
    assert "  # a class is named left\n  RANDOM_FLIP: none\n" in text
    assert text.startswith("# Two lines\n# at the top.\n_BASE_: base.yaml\n")
    assert "the later one counts" in text


@pytest.mark.parametrize("base", ["/a folder #1/base.yaml", "/with: colon/ü.yaml", "- a.yaml"])
def test_a_base_whose_path_is_quoted(base):
    text = to_yaml([Setting("SEED", 1)], "", base)
    assert yaml.safe_load(text) == {"_BASE_": base, "SEED": 1}


def test_leaves_of_a_yaml():
    content = {"A": {"B": 1, "C": {"D": [2]}}, "E": "x", "F": {}}
    found = [(x.key, x.value) for x in as_settings(content)]
    assert found == [("A.B", 1), ("A.C.D", [2]), ("E", "x"), ("F", {})]
