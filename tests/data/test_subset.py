"""Seeded subsets of labelled images."""

from sad.data.loader import build_mixed_loader
from sad.data.subset import choose_share

IMAGES = [{"image_id": 7 * number % 1000} for number in range(200)]


def ids(images):
    return [image["image_id"] for image in images]


def test_size_order_and_nesting():
    whole = ids(IMAGES)
    shares = [ids(choose_share(IMAGES, share, 3)) for share in (0.001, 0.01, 0.05, 0.5, 1.0)]
    assert [len(share) for share in shares] == [1, 2, 10, 100, 200]
    for smaller, larger in zip(shares, shares[1:], strict=False):
        assert set(smaller) <= set(larger)
        assert smaller == [image for image in larger if image in smaller]  # in the list's order
    assert shares[-1] == whole


def test_depends_on_ids_and_seed_alone():
    chosen = set(ids(choose_share(IMAGES, 0.1, 3)))
    assert chosen == set(ids(choose_share(IMAGES[::-1], 0.1, 3)))
    assert chosen != set(ids(choose_share(IMAGES, 0.1, 4)))
    renamed = [{"id": image["image_id"]} for image in IMAGES]
    assert chosen == {image["id"] for image in choose_share(renamed, 0.1, 3, key="id")}


def test_several_data_sets():
    """The same ids again are other images; ids may be texts in one and numbers in another."""
    names = [{"image_id": f"{image['image_id']}.jpg"} for image in IMAGES]
    everything = [*IMAGES, *[dict(image) for image in IMAGES], *names]
    chosen = choose_share(everything, 0.1, 3)
    assert len(chosen) == 60
    assert len(set(map(str, ids(chosen)))) > 50  # not the same images of each set
    assert any(isinstance(name, str) for name in ids(chosen))


def test_the_loader_trains_on_the_share(toy):
    cfg = toy.cfg("student.yaml", "DATASETS.LABELED_SHARE", 0.34)
    loader = iter(build_mixed_loader(cfg))
    seen = {sample["image_id"] for _ in range(6) for sample in next(loader)}
    expected = choose_share(toy.json("labeled.json")["images"], 0.34, 0, key="id")
    assert seen == {image["id"] for image in expected} and len(seen) == 2
