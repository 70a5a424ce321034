"""docs/architecture.md: a room of `sad` imports from lower floors only."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "projects" / "SAD" / "sad"


def floors() -> dict[str, int]:
    """Room -> floor, of the page's table."""
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    return {room: int(floor) for floor, room in re.findall(r"^\| (\d) \| `(\w+)` \|", page, re.M)}


def imported(path: Path) -> set[str]:
    """What a module of the package imports of `sad`, as dotted names below it."""
    package = ("sad", *path.relative_to(PACKAGE).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            start = ".".join([*above, *filter(None, [node.module])])
            names |= {f"{start}.{alias.name}" for alias in node.names}
    return {name.removeprefix("sad.") for name in names if name.startswith("sad.")}


def test_every_room_is_in_the_table_and_every_module_in_a_room():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(floors())
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


def test_a_room_imports_from_lower_floors_only():
    floor = floors()
    upwards, arrows = [], 0
    for path in sorted(PACKAGE.glob("*/**/*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        for name in imported(path):
            other = name.split(".")[0]
            arrows += other != room
            if other != room and floor[other] >= floor[room]:
                upwards.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not upwards and arrows > 100


def test_every_module_has_a_test_file():
    modules = {path.relative_to(PACKAGE) for path in PACKAGE.glob("*/**/*.py")}
    wanted = {x.with_name(f"test_{x.name}") for x in modules if x.name != "__init__.py"}
    tests = REPOSITORY / "tests"
    assert not {str(path) for path in wanted if not (tests / path).exists()}


def test_imports_are_read_in_all_their_forms(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "room" / "inner").mkdir(parents=True)
    path = tmp_path / "room" / "inner" / "module.py"
    path.write_text(
        "import sad.a.b\nimport torch\nfrom . import c\nfrom ..d import e\nfrom ...f.g import h\n"
        "from ... import i\nfrom sad.j import k\ndef f():\n    from ...l import m\n"
    )
    expected = {"a.b", "room.inner.c", "room.d.e", "f.g.h", "i", "j.k", "l.m"}
    assert imported(path) == expected
