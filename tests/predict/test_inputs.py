"""What is taken of the names that a user gives, and that a folder of any size is only streamed."""

import os
from pathlib import Path

import pytest

from sad.predict.inputs import Inputs
from sad.utils.errors import UserError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def listed(root, *given):
    inputs = Inputs([str(root / name) for name in given])
    sources = list(inputs)
    assert inputs.count() == len(sources)
    assert all(source.path == os.path.join(inputs.root, source.name) for source in sources)
    return os.path.relpath(inputs.root, root), [source.name for source in sources]


def test_files_folders_and_patterns(tmp_path, log):
    touch(tmp_path, "a/1.jpg", "a/deep/1.jpg", "b/1.jpg", "b/clip.MP4", "b/notes.txt", "c.heic")
    assert listed(tmp_path, "a") == ("a", ["1.jpg", "deep/1.jpg"])
    listed(tmp_path, "a", "b")
    assert log[-2:] == [
        f"{tmp_path}/a: 2 images (2 .jpg)",
        f"{tmp_path}/b: 1 images (1 .jpg) and 1 videos (1 .mp4); "
        "skipped: 1 files of other endings (notes.txt)",
    ]
    # Files first, each with the folders that tell it from others of its name.
    assert listed(tmp_path, "a", "b", "c.heic") == (
        ".", ["c.heic", "a/1.jpg", "a/deep/1.jpg", "b/1.jpg", "b/clip.MP4"])  # fmt: skip
    assert listed(tmp_path, "*/1.jpg") == (".", ["a/1.jpg", "b/1.jpg"])
    assert listed(tmp_path, "**/1.jpg") == (".", ["a/1.jpg", "a/deep/1.jpg", "b/1.jpg"])
    assert listed(tmp_path, "b/clip.MP4") == ("b", ["clip.MP4"])
    videos = [x.name for x in Inputs([str(tmp_path / "b")]) if x.is_video]
    assert videos == ["clip.MP4"]


def test_a_name_with_a_patterns_letters_is_a_name(tmp_path):
    touch(tmp_path, "[1].jpg", "1.jpg")
    assert listed(tmp_path, "[1].jpg") == (".", ["[1].jpg"])


def test_what_several_names_lead_to_comes_once(tmp_path, monkeypatch):
    touch(tmp_path, "a/1.jpg", "a/deep/2.jpg", "b.jpg")
    expected = (".", ["b.jpg", "a/1.jpg", "a/deep/2.jpg"])
    assert listed(tmp_path, "a/deep", "a", "a/1.jpg", "b.jpg", "a/../b.jpg", "*.jpg") == expected
    monkeypatch.chdir(tmp_path)
    assert [x.name for x in Inputs(["a", str(tmp_path / "a")])] == ["1.jpg", "deep/2.jpg"]


def test_earlier_results_are_skipped_and_said_to_be(tmp_path, log):
    touch(
        tmp_path,
        "1.jpg",
        "out/predicted_pictures/1.jpg",
        "out/predicted_pictures/a/2.jpg",
        "out/3.jpg",
        "out/predicted_yolo/1.txt",
        "old/predicted_pictures/clip.mp4",
    )
    taken = (".", ["1.jpg", "out/3.jpg"])
    assert listed(tmp_path, ".") == taken and "skipped: 4 results of an earlier" in log[-1]
    assert listed(tmp_path, "1.jpg", "out", "old") == taken
    assert "old: no images and videos; skipped: 1 results of an earlier" in log[-2]
    assert listed(tmp_path, "**/*.jpg") == taken and "skipped: 2 results of an earlier" in log[-1]
    with pytest.raises(UserError, match="no images and videos in .*old.* 1 results of an earlier"):
        listed(tmp_path, "old")
    with pytest.raises(UserError, match="no file fits the pattern"):
        listed(tmp_path, "old/**/*.mp4")


def test_earlier_results_are_taken_where_they_are_named(tmp_path):
    touch(tmp_path, "out/predicted_pictures/1.jpg", "out/predicted_pictures/a/2.jpg")
    for names in (["out/predicted_pictures"], ["out/predicted_pictures/**/*.jpg"],
                  ["out/predicted_pictures/1.jpg", "out/predicted_pictures/a/2.jpg"]):  # fmt: skip
        assert listed(tmp_path, *names) == ("out/predicted_pictures", ["1.jpg", "a/2.jpg"])


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_written_while_they_are_listed_is_not_read(tmp_path, linked):
    """The folder of results is made when the first is written, below a folder that is there."""
    touch(tmp_path, "1.jpg", "2.jpg", "sub/3.jpg")
    (tmp_path / "out").mkdir()
    if linked:
        (tmp_path / "sub" / "link").symlink_to(tmp_path / "out")
    output = tmp_path / ("sub/link" if linked else "out") / "predicted_pictures"
    names = []
    for source in Inputs([str(tmp_path)]):
        names.append(source.name)
        touch(output, source.name)
    assert sorted(names) == ["1.jpg", "2.jpg", "sub/3.jpg"]


def test_names_that_lead_to_nothing(tmp_path):
    touch(tmp_path, "a/notes.txt", "b/new\nline.jpg")
    for name, said in (("absent.jpg", "absent.jpg does not exist"), ("*.png", "no file fits"),
                       ("b/new\nline.jpg", "a name that no json takes")):  # fmt: skip
        with pytest.raises(UserError, match=said):
            listed(tmp_path, name)
    with pytest.raises(UserError, match=r"no images and videos in .*a \(.*1 files of other ending"):
        listed(tmp_path, "a")


class Entry:
    """What os.scandir gives of an image."""

    def __init__(self, name):
        self.name = name

    def is_dir(self):
        return False

    def is_file(self):
        return True


class Folder:
    """A folder of a million images, whose names exist one at a time."""

    def __enter__(self):
        return (Entry(f"{number:07d}.jpg") for number in range(1_000_000))

    def __exit__(self, *_):
        pass


def memory() -> int:
    """What this process holds, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


@pytest.mark.slow
def test_a_folder_of_a_million_names_is_listed_in_little_memory(tmp_path, monkeypatch):
    """All names together are more than 60 MiB."""
    inputs = Inputs([str(tmp_path)])
    monkeypatch.setattr(os, "scandir", lambda _: Folder())
    before = memory()
    assert inputs.count() == 1_000_000
    held, number = [], 0
    for number, _ in enumerate(inputs, start=1):
        if number % 50_000 == 0:
            held.append(memory())
    assert number == 1_000_000 and max(held) < before + 20


def test_a_real_folder_is_listed_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr("sad.data.image_files.BLOCK", 7)
    touch(tmp_path, *(f"{number:03d}.jpg" for number in range(50)))
    _, names = listed(tmp_path, ".")
    assert sorted(names) == [f"{number:03d}.jpg" for number in range(50)]
