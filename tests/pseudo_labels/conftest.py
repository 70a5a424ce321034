"""Labelling jobs of one test."""

import pytest

from labelling import make_scene


@pytest.fixture
def scene(tmp_path):
    """Files of a labelling job; the arguments of `prepare` by name."""
    return make_scene(tmp_path)
