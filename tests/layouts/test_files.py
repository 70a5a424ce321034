"""Files below a folder by their endings, and texts by their lines."""

import os

import pytest

from sad.layouts.files import Tree, listed, read_lines
from sad.utils.errors import UserError


def test_tree(tmp_path):
    for name in ("a.TXT", "b/c.txt", "b/d.xml", ".hidden.txt", ".git/e.txt", "__MACOSX/f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    os.symlink(tmp_path, tmp_path / "b" / "loop")
    tree = Tree(str(tmp_path))
    assert tree.paths(".txt") == [str(tmp_path / "a.TXT"), str(tmp_path / "b" / "c.txt")]
    assert tree.paths(".xml", ".json") == [str(tmp_path / "b" / "d.xml")]


def test_lines(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeff0 1 \r\n\r\n  ü\n".encode())
    assert read_lines(str(tmp_path / "a.txt")) == ["0 1", "ü"]
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xfa")
    for name in ("b.txt", "absent.txt"):
        with pytest.raises(UserError, match=name):
            read_lines(str(tmp_path / name))


def test_names_for_a_sentence():
    assert listed(["a", "b"]) == "a, b" and listed(list("abcde")) == "a, b, c and 2 more"
