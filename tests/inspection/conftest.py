"""What the tests of the inspection share: data sets with planted faults, looked into."""

import pytest

from anchor_problem import network
from planted import write_faulty
from sad.inspection.examine import examine
from sad.inspection.summary import summarize


@pytest.fixture(scope="package")
def faulty(tmp_path_factory):
    return write_faulty(tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="package")
def seen(faulty):
    """Looked into with a config of 192 x 256 pixels, twice to thrice the images' size."""
    sets, unlabeled = faulty
    return examine(sets, unlabeled, network()[0])


@pytest.fixture(scope="package")
def summary(seen) -> dict:
    return summarize(seen)
