"""Images of each run, and heat maps."""

import numpy as np
import pytest

from report_made import picture, report
from sad.report.seen_figures import GAINED, LOST, groups, heat_group
from sad.report.uncertainty import Maps


def test_a_group_for_each_image_with_its_tags(toy):
    paths = [toy.root / "labeled" / f"00000{n}.png" for n in (1, 2, 3)]
    sizes = [(64, 48), (48, 64), (64, 64)]
    content = report(
        [
            picture(paths[0], sizes[0], gained=2),
            picture(paths[1], sizes[1], gained=1, lost=1),
            picture(paths[2], sizes[2]),
        ]
    )
    first, second, third = groups(content)
    assert [list(group.tags) for group in (first, second, third)] == [[GAINED], [GAINED, LOST], []]
    assert first.title == "000001.png: 2 that only “SAD” finds" and third.title == "000003.png"
    assert second.title.endswith("1 that only “SAD” finds, 1 that only “alone” finds")
    captions = [tile.caption for tile in second.pictures]
    assert captions[0] == "labelled: 2 objects" and captions[4] == "SAD: 0 of 1 found, 1 wrong"
    for group, (width, height) in zip((first, second, third), sizes, strict=True):
        for tile in group.pictures:
            inches = tile.image.get_size_inches()
            assert inches[0] / inches[1] == pytest.approx(width / height)
    assert groups(report([picture(paths[0], gained=0)]) | {"gain": None})[0].title == "000001.png"


def test_heat_lies_over_the_image(toy):
    shown = picture(toy.root / "labeled" / "000001.png")
    heat = np.zeros((96, 128), np.float32)
    heat[:48, :64] = np.log(2)
    maps = Maps(heat, {"SAD": heat / 2, "alone": heat}, {})
    group = heat_group(shown, maps, ["light", "dark"])
    assert len(group.pictures) == 4 and "0.69 of 0.69" in group.pictures[1].caption
    for tile, largest in zip(group.pictures[1:], (1, 0.5, 1), strict=True):
        (axes,) = tile.image.axes
        drawn = axes.images[1]
        assert drawn.get_extent() == [0, 64, 48, 0]
        values = np.asarray(drawn.get_array())
        assert values[0, 0] == pytest.approx(largest) and values[-1, -1] == 0
        below = np.asarray(axes.images[0].get_array())
        assert (below == below[..., :1]).all()  # grey
    nothing = Maps(heat * 0, {"SAD": heat * 0}, {})
    assert len(heat_group(shown, nothing, ["light", "dark"]).pictures) == 3
