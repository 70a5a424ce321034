"""The regions of several images, joined."""

import torch

from regions_made import regions_of_image
from sad.terms.regions import Regions
from sad.terms.term import Targets


def test_images_with_objects_without_and_without_regions():
    regions = [
        regions_of_image(
            (20, 30), [[0, 0, 4, 4], [1, 1, 9, 9]], [0, 2], [[0, 0, 5, 5], [0, 0, 5, 5]]
        ),
        regions_of_image((40, 50), [[3, 3, 7, 8]], [2]),
        regions_of_image((60, 70), [], []),
    ]
    joined = Regions.of(Targets([], torch.empty(3, 0), [0, 1, 2], [], 2, regions=regions))
    assert len(joined) == 3
    assert joined.classes.tolist() == [0, 2, 2]
    assert joined.sizes.tolist() == [[20, 30], [20, 30], [40, 50]]
    assert joined.truth[:2].tolist() == [[0, 0, 5, 5]] * 2
    chosen = joined.select(joined.classes < 2)
    assert len(chosen) == 1
    assert chosen.boxes.tolist() == [[0, 0, 4, 4]] and chosen.sizes.tolist() == [[20, 30]]
