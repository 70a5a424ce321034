"""What all tests share: eager torch, one CPU thread, the toy problem, and the project's log."""

import logging
import os
import signal

# Before torch is imported. Detectron2's focal loss is a TorchScript function: compiling it takes a
# minute on a CPU, and its first call returns other gradient bits than later ones, which would hide
# whether two runs are the same bit for bit.
os.environ["PYTORCH_JIT"] = "0"
# Tensors here are so small that threads cost more than they save.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The numbers are a CPU's, and many tests fork, which a process that has touched a GPU must not.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest

import toy as toy_problem

# A shell keeps Ctrl-C from the jobs that it starts in the background, and we do as it says.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """The toy problem on disk. Read-only: a test that breaks a file breaks a copy."""
    return toy_problem.build(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def log():
    """Messages of the `sad` loggers, which no longer propagate once a run has set them up."""
    messages = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("sad")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield messages
    logger.setLevel(level)
    logger.removeHandler(handler)
