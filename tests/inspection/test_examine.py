"""What is found out: places, groups across sets, sizes with and without a config."""

import numpy as np

from sad.inspection.examine import examine


def test_images_are_counted_through(seen, faulty):
    sets, unlabeled = faulty
    count = [len(one.images) for one in seen.sets]
    assert count == [22, 2] and len(seen.looks) == len(seen.paths) == 24 + len(unlabeled)
    assert seen.set_of == ["train"] * 22 + ["val"] * 2 + ["unlabeled"] * 4
    assert seen.places[0] == "train: 0.png" and seen.places[22] == "val: v0.png"
    assert seen.paths[24:] == unlabeled
    assert seen.class_names == ["cat", "dog", "bird", "fish"]


def test_what_is_alike(seen):
    names = [[seen.paths[at].rsplit("/", 1)[1] for at in group] for group in seen.groups]
    assert names == [["3.png", "v1.jpg"], ["5.png", "u1.png"], ["same.png", "same.jpg"]]
    assert seen.identical == [False, True, False]
    problems = [place for place, look in zip(seen.places, seen.looks, strict=True) if look.problem]
    assert [place.rsplit("/")[-1] for place in problems] == ["train: absent.png", "u3.png"]


def test_sides_are_those_of_training_or_of_the_image(seen, faulty):
    plain = examine(faulty[0])
    assert plain.anchors is None and seen.anchors["recall"] > 0
    np.testing.assert_allclose(seen.sides["val"], plain.sides["val"] * 256 / 96, rtol=0.01)
    np.testing.assert_allclose(plain.sides["val"], np.sqrt([30 * 20, 24 * 36, 30 * 30]))
    assert len(seen.repeated["train"]) == 2 and not len(seen.repeated["val"])
