"""What settings are chosen from: counts and sizes of the labelled images."""

import numpy as np
import pytest

from sad.data.datasets import register_coco_set
from sad.pipeline.facts import Facts, Machine
from users_data import CLASSES, make_images, write_coco


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("facts")
    truth = make_images(folder / "images", 9, seed=0, side=96)
    truth["0_000.png"] = []
    path = write_coco(folder / "labels.json", truth, side=96)
    register_coco_set("facts_train", str(path), str(folder / "images"))
    return Facts.of("facts_train", 5), truth


def test_counts(facts):
    found, truth = facts
    assert found.class_names == CLASSES
    assert (found.num_labeled, found.num_unlabeled, found.num_negative) == (9, 5, 1)
    assert found.long_side == 96
    assert found.most_boxes == max(map(len, truth.values()))
    assert len(found.boxes) == sum(map(len, truth.values()))


def test_sides_at_another_size(facts):
    found, truth = facts
    sides = sorted(
        np.sqrt((x1 - x0) * (y1 - y0)) for b in truth.values() for _, x0, y0, x1, y1 in b
    )
    assert sorted(found.sides_at(96).tolist()) == pytest.approx(sides)
    assert sorted(found.sides_at(48).tolist()) == pytest.approx([x / 2 for x in sides])


def test_this_machine():
    machine = Machine.this(3)
    assert machine.cores >= 1 and machine.memory > 1e8
