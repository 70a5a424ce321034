"""Which graph a detector has."""

from exported_files import FCOS, random_model, random_rcnn
from sad.export.dense_graph import DenseGraph
from sad.export.graph import graph_of
from sad.export.region_graph import RegionGraph


def test_every_kind_of_detector_has_its_graph(toy):
    for opts in ([], FCOS):
        model, _ = random_model(toy, opts)
        assert type(graph_of(model)) is DenseGraph and not graph_of(model, nms=False).nms
    assert type(graph_of(random_rcnn(toy)[0])) is RegionGraph
