"""How many unreadable images a run puts up with."""

import pytest
import torch

from sad.engine.unreadable import ReadableShare
from sad.utils.errors import UserError


def sample(*unreadable, **more):
    return {
        "image": torch.zeros(3, 4, 4),
        "unreadable": [(name, "broken") for name in unreadable],
        **more,
    }


def test_unreadable_images_are_named_once_and_counted_once(log):
    share = ReadableShare(0.5, 100)
    for _ in range(3):
        share.check([sample("a.png"), sample(), sample("b.png", "c.png")])
    assert (share.seen, share.failed) == (9, {"a.png", "b.png"})  # c.png was only tried
    assert sorted(log) == [f"Image skipped, it cannot be read: {n}.png (broken)" for n in "abc"]


def test_images_that_lack_their_last_bytes_are_named_once_and_counted(log):
    share = ReadableShare(0.0, 100)
    for _ in range(3):
        share.check([sample(truncated=True, file_name=f"{n}.jpg") for n in "ab"])
    assert [message[:8] + message[-5:] for message in log] == ["Image 1 a.jpg", "Image 2 b.jpg"]


def test_a_few_of_a_small_set_and_a_share_of_a_large_one_are_allowed():
    share = ReadableShare(0.01, 700)
    bad = [sample(f"{n}.png") for n in range(8)]
    share.check(bad[:5])  # of the first five
    with pytest.raises(UserError, match=r"^6 of 6 images .*UNREADABLE 0\.01 .*5\.png \(broken"):
        share.check(bad[5:6])
    share.check([sample()] * 1000)
    share.check(bad[6:7])  # 7 of 700: the 1,007 seen are not so many images
    with pytest.raises(UserError, match="^8 of 700 images"):
        share.check(bad[7:])


def test_no_unreadable_image_is_allowed_at_0():
    share = ReadableShare(0.0, 100)
    share.check([sample()] * 10)
    with pytest.raises(UserError, match="^1 of 11 images"):
        share.check([sample("a.png")])


def test_fewer_may_be_allowed_after_a_resume():
    share, other = ReadableShare(0.5, 100), ReadableShare(0.0, 100)
    share.check([sample("b.png"), *[sample()] * 9])
    other.load_state_dict(share.state_dict())
    with pytest.raises(UserError, match=r"^1 of 12 images .*b\.png"):
        other.check([sample(), sample()])


def test_the_counts_come_back():
    share, other = ReadableShare(0.5, 100), ReadableShare(0.5, 100)
    share.check([sample("b.png", "c.png"), sample(truncated=True, file_name="d.jpg")])
    other.load_state_dict(share.state_dict())
    assert other.__dict__ == share.__dict__
