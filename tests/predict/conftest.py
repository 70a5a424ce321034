"""A run to predict with."""

import pytest

from sad import Predictor
from toy import run_train_net


@pytest.fixture(scope="package")
def run(toy, tmp_path_factory):
    """The folder of a SAD run of four iterations."""
    output = tmp_path_factory.mktemp("runs") / "SAD"
    with pytest.MonkeyPatch.context() as patch:
        run_train_net(patch, "--config-file", toy.path("SAD.yaml"),
                      "OUTPUT_DIR", output, "SOLVER.MAX_ITER", 4)  # fmt: skip
    return output


@pytest.fixture(scope="package")
def predict(run):
    return Predictor(run)
