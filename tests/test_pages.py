"""README, docs/ and MODEL_ZOO.md: short lines, and nothing named that is not there."""

import re
from pathlib import Path

import pytest

from sad.config.defaults import defaults

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "projects" / "SAD" / "sad"
ROOMS = "|".join(sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
TOPS = "configs|docs|model_zoo|projects|scripts|tests"
PAGES = [
    "README.md",
    "MODEL_ZOO.md",
    "model_zoo/digits/README.md",
    *(f"docs/{path.name}" for path in REPOSITORY.glob("docs/*.md")),
]
PATH = r"[\w./-]*\w/?"


def named_files(text: str) -> set[str]:
    """Files and folders of the repository, and modules of the package, that a page names."""
    found = set(re.findall(rf"(?<![\w./-])(?:{TOPS})/{PATH}", text))
    modules = re.findall(rf"(?<![\w./-])(?:{ROOMS})/{PATH}\.py", text)
    return found | {f"projects/SAD/sad/{module}" for module in modules}


@pytest.mark.parametrize("name", PAGES)
def test_lines_are_short_and_paths_exist(name):
    page = REPOSITORY / name
    text = page.read_text()
    # A row of a table cannot be wrapped.
    long = [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert not long
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)}
    links = {link for link in links if link and "://" not in link}
    absent = {link for link in links if not (page.parent / link).exists()}
    absent |= {file for file in named_files(text) if not (REPOSITORY / file).exists()}
    assert not absent


@pytest.mark.parametrize("name", PAGES)
def test_keys_exist(name):
    keys = set(defaults()) | {"SAD.DISTILL.ATTENTION.WEIGHT"}  # an example of docs/extending.md
    sections = {key.rsplit(".", n)[0] for key in keys for n in (1, 2, 3)}
    roots = "SAD|SOLVER|MODEL|DATASETS|DATALOADER|TEST|INPUT"
    named = re.findall(rf"\b(?:{roots})(?:\.[A-Z][A-Z0-9_]*)+\b", (REPOSITORY / name).read_text())
    assert set(named) <= keys | sections


@pytest.mark.parametrize("name", PAGES)
def test_this_project_is_installed_from_its_clone(name):
    """No index has it under its name, so that such a command would bring something else."""
    installed = re.findall(r"pip install ([^`#\n]*)", (REPOSITORY / name).read_text())
    extras = ",".join(re.findall(r"\[(.+?)\]", " ".join(installed))).split(",")
    assert not any("sad" in given for given in installed)
    setup = (REPOSITORY / "setup.py").read_text()
    assert all(f'"{extra}": [' in setup for extra in extras if extra)


def test_readme_is_read_in_one_sitting():
    readme = (REPOSITORY / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    listed = set(re.findall(r"\]\((docs/\w+\.md)\)", readme))
    assert listed == {name for name in PAGES if name.startswith("docs/")}


def test_named_files():
    text = "`configs/bccd`, (docs/a.md), data/loader.py and output/configs/x; tests/data/test_a.py."
    expected = {
        "configs/bccd",
        "docs/a.md",
        "projects/SAD/sad/data/loader.py",
        "tests/data/test_a.py",
    }
    assert named_files(text) == expected
