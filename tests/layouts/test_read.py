"""Labels of each layout, with what is odd in real sets, are read as what is true of them."""

import pytest

import layouts_made as made
from sad.layouts.read import read_labels

PATHS = {"coco": ("", "labels.json"), "yolo": ("", "data.yaml"), "voc": ("", "Annotations")}


@pytest.fixture(scope="module", params=list(made.MAKERS))
def odd(request, tmp_path_factory):
    """(layout, folder, what is true): read-only."""
    folder = tmp_path_factory.mktemp("odd")
    return request.param, folder, made.MAKERS[request.param](folder)


def test_odd_sets_are_read_right_or_what_is_left_out_is_named(odd):
    layout, folder, truth = odd
    for inner in PATHS[layout]:
        labels = read_labels(str(folder / inner))
        made.check(labels, truth)
        assert "nobody.jpg" in {name.rpartition("/")[2] for name in labels.unlabeled}
