"""Images found again by the names that tools give them."""

import pytest
from PIL import Image

from sad.layouts.image_index import ImageIndex
from sad.utils.errors import UserError


@pytest.fixture
def index(tmp_path):
    for name in ("a.JPG", "sub/b.png", "sub/c d#=é.jpeg", "x/same.png", "y/same.png", "v1.2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / name, format="PNG")
    return ImageIndex(str(tmp_path))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("a.JPG", "a.JPG"),
        ("A.jpg", "a.JPG"),  # another case
        ("a.png", "a.JPG"),  # another ending
        ("a", "a.JPG"),  # none
        ("C:\\photos\\b.png", "sub/b.png"),  # another machine's folder
        ("./sub/b.png", "sub/b.png"),
        ("elsewhere/b.png", "sub/b.png"),
        ("sub/c d#=e\u0301.jpeg", "sub/c d#=é.jpeg"),  # another encoding of the accent
        ("v1.2", "v1.2.png"),
        ("x/same.png", "x/same.png"),
        ("same.png", None),  # two could be meant
        ("absent.png", None),
    ],
)
def test_names(index, asked, found):
    assert index.find(asked) == found


def test_sizes_and_what_cannot_be_read(index, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"none")
    index = ImageIndex(str(tmp_path))
    sizes = index.sizes(index.names)
    assert sizes["a.JPG"] == (20, 10) and isinstance(sizes["broken.png"], str)
    assert index.below(str(tmp_path / "sub")) == ["sub/b.png", "sub/c d#=é.jpeg"]


def test_some_folders_alone(tmp_path, index):
    some = ImageIndex(str(tmp_path), [str(tmp_path / "x"), str(tmp_path / "y")])
    assert some.names == ["x/same.png", "y/same.png"]
    with pytest.raises(UserError, match="absent does not exist"):
        ImageIndex(str(tmp_path / "absent"))
