"""What Detectron2 and torch do not promise to keep is there, and does what is relied on."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import sysconfig
import time

import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import hooks
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes
from detectron2.utils.events import CommonMetricPrinter, EventStorage, JSONWriter

from sad.utils import compat
from sad.utils.compat import (
    can_compile_for,
    dense_box_regression_loss,
    derive_box_results,
    end_with_parent,
    last_write,
    set_last_write,
    set_max_iter,
)


@pytest.mark.parametrize(
    ("parent", "methods"),
    [
        (DetectionCheckpointer, ["_load_file", "_log_incompatible_keys"]),
        (hooks.PreciseBN, ["update_stats"]),
    ],
)
def test_methods_that_ours_override_are_there(parent, methods):
    assert all(callable(getattr(parent, method, None)) for method in methods)


def test_a_checkpointer_knows_the_query_of_what_it_loads(tmp_path):
    model = torch.nn.Linear(1, 1)
    torch.save({"model": model.state_dict()}, tmp_path / "a.pth")
    seen = []

    class Checkpointer(DetectionCheckpointer):
        def _load_file(self, filename):
            seen.append(self._parsed_url_during_load.query)
            return super()._load_file(filename)

    Checkpointer(model).load(f"{tmp_path}/a.pth?matching_heuristics=True")
    assert seen == ["matching_heuristics=True"]


def test_the_box_loss_is_a_sum_over_foreground_anchors():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 20]])
    deltas = torch.zeros(1, 2, 4)
    wanted = torch.tensor([[[0.0, 0, 10, 10], [10, 0, 30, 20]]])
    foreground = torch.tensor([[False, True]])
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
    loss = dense_box_regression_loss(
        [Boxes(boxes)], transform, [deltas], list(wanted), foreground, smooth_l1_beta=0.0
    )
    assert loss.item() == pytest.approx(0.5)  # the second is 10 of its 20 pixels to the right


def test_results_without_a_detection_are_no_numbers():
    found = derive_box_results(None, ["a"], logging.getLogger("sad.test"))
    assert {"AP", "AP50", "AP75"} <= found.keys()
    assert all(value != value for value in found.values())


def test_a_writer_goes_on_after_an_iteration(tmp_path):
    writer = JSONWriter(str(tmp_path / "metrics.json"))
    with EventStorage(7) as storage:
        storage.put_scalar("loss", 1.0)
        set_last_write(writer, 7)
        writer.write()
        assert (tmp_path / "metrics.json").read_text() == ""
        storage.step()
        storage.put_scalar("loss", 2.0)
        writer.write()
    assert last_write(writer) == 8
    writer.close()
    assert (tmp_path / "metrics.json").read_text().count("\n") == 1


def test_the_eta_is_that_of_another_end(tmp_path):
    writers = [CommonMetricPrinter(100), JSONWriter(str(tmp_path / "metrics.json"))]
    set_max_iter(writers, 11)
    with EventStorage(7) as storage:
        storage.put_scalar("time", 2.0)
        writers[0].write()
        assert storage.latest()["eta_seconds"][0] == 6.0
    writers[1].close()


def wait_for_ever(queue):
    end_with_parent(signal.SIGTERM)
    queue.put(os.getpid())
    time.sleep(600)


def start_a_child(queue):
    multiprocessing.Process(target=wait_for_ever, args=(queue,)).start()
    time.sleep(600)


def test_a_child_ends_with_its_parent():
    queue = multiprocessing.Queue()
    parent = multiprocessing.Process(target=start_a_child, args=(queue,))
    parent.start()
    child = queue.get(timeout=60)
    parent.kill()
    parent.join()
    for _ in range(600):
        try:
            with open(f"/proc/{child}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the child goes on")


@pytest.mark.parametrize(
    ("changes", "works"),
    [
        ({}, True),
        ({"device": "cpu"}, False),
        ({"version": "2.7.1"}, False),
        ({"capability": (6, 1)}, False),
        ({"triton": None}, False),
        ({"compilers": ()}, False),
        ({"compilers": ("clang",)}, True),
        ({"CC": "my-cc"}, False),  # Triton takes no other
        ({"CC": "my-cc", "compilers": ("my-cc",)}, True),
        ({"headers": "absent"}, False),
    ],
)
def test_what_compiling_for_a_gpu_needs(changes, works, tmp_path, monkeypatch):
    for name in changes.get("compilers", ("gcc",)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", changes.get("CC", ""))
    monkeypatch.setattr(torch, "__version__", changes.get("version", "2.11.0+cu130"))
    capability = changes.get("capability", (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(compat, "find_spec", lambda name: changes.get("triton", name))
    folder = str(tmp_path / changes.get("headers", ""))
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": folder})
    assert can_compile_for(torch.device(changes.get("device", "cuda"))) is works


SEVERAL_CALLS = """
import torch
from fvcore.nn import sigmoid_focal_loss_jit
from sad.utils.compat import settle_torchscript
settle_torchscript()
torch.manual_seed(0)
logits, targets = 3 * torch.randn(20000, 2), (torch.rand(20000, 2) < 0.05).float()
gradients = []
for _ in range(4):
    x = logits.clone().requires_grad_()
    (sigmoid_focal_loss_jit(x, targets, 0.25, 2.0, "sum") / 37).backward()
    gradients.append(x.grad)
print(all(torch.equal(gradients[-1], gradient) for gradient in gradients))
"""


@pytest.mark.slow
def test_the_first_call_of_a_torchscript_has_the_bits_of_all_others():
    """In a process of its own, as in one that resumes a run."""
    found = subprocess.run([sys.executable, "-c", SEVERAL_CALLS], capture_output=True, text=True)
    assert found.stdout == "True\n"
