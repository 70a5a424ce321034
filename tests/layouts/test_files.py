"""Files are found by their endings, below links that go round in circles, too."""

import os

import pytest

from sad.layouts.files import Tree, listed, read_lines
from sad.utils.errors import UserError


def test_files_are_found_by_their_endings(tmp_path):
    for name in ("b/x.XML", "a/y.xml", "a/.z.xml", "__MACOSX/w.xml", ".git/v.xml", "a/y.txt", "u"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    os.symlink(tmp_path, tmp_path / "b" / "round")
    os.symlink(tmp_path / "nowhere", tmp_path / "c")
    tree = Tree(str(tmp_path))
    assert tree.paths(".xml") == [str(tmp_path / "a/y.xml"), str(tmp_path / "b/x.XML")]
    assert len(tree.paths(".xml", ".txt")) == 3 and tree.paths(".json") == []


def test_lines_are_read_without_blanks(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffcat \r\n\r\n  dog".encode())
    assert read_lines(str(path)) == ["cat", "dog"]
    path.write_bytes(b"\xff\xfe\x00")
    for wrong in (path, tmp_path / "absent"):
        with pytest.raises(UserError, match=wrong.name):
            read_lines(str(wrong))


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "a, b" and listed(list("abcde")) == "a, b, c and 2 more"
