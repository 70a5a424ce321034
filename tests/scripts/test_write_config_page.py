"""docs/config.md is what scripts/write_config_page.py makes of the defaults, and has every key."""

import importlib.util

import pytest
from detectron2.config import get_cfg

from sad.config.defaults import defaults, flat
from toy import REPOSITORY


@pytest.fixture(scope="module")
def script():
    path = REPOSITORY / "scripts" / "write_config_page.py"
    spec = importlib.util.spec_from_file_location("write_config_page", path)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def test_the_page_is_current(script):
    page = (REPOSITORY / "docs" / "config.md").read_text()
    assert page == script.config_page(), "run python scripts/write_config_page.py"


def test_every_key_has_a_comment(script):
    names = {name: comment for names, comment in script.documented() for name in names}
    stock = dict(flat(get_cfg()))
    changed = {key for key, value in defaults().items() if stock.get(key, ...) != value}
    assert changed <= set(names)
    assert all(names[key] for key in changed)
