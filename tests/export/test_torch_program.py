"""Programs of torch.export, and AOTInductor's code, against the graph that they were made of."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from exported_files import batch, tame_teacher
from sad.export.graph import graph_of
from sad.export.torch_program import to_package, to_program
from sad.exported.describe import describe
from sad.exported.program_file import load_program, read_card
from sad.utils.compat import has_cpp_compiler
from toy import REPOSITORY

SIZES = [(1, 1, 1), (1, 64, 64), (2, 50, 70), (3, 33, 200), (1, 100, 30), (8, 1, 1)]
LOAD = {
    to_program: "torch.export.load(sys.argv[1]).module(check_guards=False)",
    to_package: "torch._inductor.aoti_load_package(sys.argv[1])",
}
ALONE = """
import sys, torch, torchvision
program = {}
boxes, scores, labels, num, *_ = program(torch.load(sys.argv[2]))
assert not {{"detectron2", "sad"}} & set(sys.modules)
torch.set_num_threads(16)  # more than where the file was made
many = program(torch.load(sys.argv[2]))
for one, other in zip(many, (boxes, scores, labels, num)):
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)
torch.save([boxes, scores, labels, num], sys.argv[3])
"""


def contents(archive: bytes) -> list[bytes]:
    """Of all files in a zip archive, and in those within it."""
    found = []
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for content in map(opened.read, opened.namelist()):
            found += contents(content) if zipfile.is_zipfile(io.BytesIO(content)) else [content]
    return found


@pytest.fixture(scope="module", params=LOAD)
def exported(toy, request):
    """(graph, card, content of the file, how it is loaded without this project)"""
    if request.param is to_package and not has_cpp_compiler():
        pytest.skip("AOTInductor needs a C++ compiler")
    model, cfg = tame_teacher(toy, opts=["MODEL.RETINANET.SCORE_THRESH_TEST", 0.99])
    graph, card = graph_of(model), describe(model, cfg)
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())  # which must not be in the file
    content = request.param(graph, card)
    torch.set_num_threads(threads)
    return graph, card, content, LOAD[request.param]


@pytest.mark.slow
def test_no_folder_of_whoever_exports_is_in_the_file(exported):
    packages = Path(torch.__file__).parents[1]
    folders = [*(str(x).encode() for x in (REPOSITORY, packages)), b"site-packages", b"sad/export/"]
    files = contents(exported[2])
    assert len(files) > 9
    assert [x for x in folders if any(x in content for content in files)] == []


@pytest.mark.slow
def test_any_batch_and_size_also_without_detectron2(exported, tmp_path):
    graph, card, content, load = exported
    path = tmp_path / "teacher.pt2"
    path.write_bytes(content)
    assert read_card(str(path)) == card
    run = load_program(content, "cpu", str(path))
    counts = set()
    for number, *size in SIZES:
        images = torch.stack([x["image"] for x in batch(*[size] * number)])
        for found, wanted in zip(run(images), graph(images), strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
        counts.update(graph(images)[3].tolist())
    assert 0 in counts and max(counts) > 9
    torch.save(images, tmp_path / "images.pth")
    arguments = [path, tmp_path / "images.pth", tmp_path / "found.pth"]
    subprocess.run([sys.executable, "-c", ALONE.format(load), *map(str, arguments)], check=True)
    for found, wanted in zip(torch.load(arguments[2]), graph(images)[:4], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
