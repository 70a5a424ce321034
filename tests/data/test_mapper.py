"""One sample: what its augmentation depends on, its boxes, and the targets it carries."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from sad.data.datasets import load_coco_set
from sad.data.mapper import ReadingMapper, SADDatasetMapper, seeded
from sad.terms.kept import to_keep
from sad.terms.term import Outputs

SEED = (0, 0, 5)


@pytest.fixture(scope="module")
def dicts(toy):
    def load(name, folder):
        return load_coco_set("mapped_set", toy.path(f"annotations/{name}"), toy.path(folder))

    return {
        "labeled": load("labeled.json", "labeled")[0],
        "unlabeled": load("pseudo_labels.json", "unlabeled")[0],
        "no_boxes": load("image_info.json", "unlabeled")[0],
    }


def mapper(toy, *opts, checked=True):
    return SADDatasetMapper(toy.cfg("SAD.yaml", *opts, checked=checked), is_train=True)


def dataset_dict(dicts, name="labeled", seed=SEED, origin=None):
    return {**dicts[name], "origin": origin or name, "augmentation_seed": seed}


def same(one, other) -> bool:
    return (
        torch.equal(one["image"], other["image"])
        and torch.equal(one["instances"].gt_boxes.tensor, other["instances"].gt_boxes.tensor)
        and torch.equal(one["instances"].gt_classes, other["instances"].gt_classes)
    )


def test_augmentation_depends_on_its_seed_alone(toy, dicts):
    map_ = mapper(toy)
    np.random.seed(1)
    random.seed(1)
    first = map_(dataset_dict(dicts))
    np.random.seed(2)
    random.seed(2)
    map_(dataset_dict(dicts, seed=(9, 9, 9)))
    assert same(first, map_(dataset_dict(dicts)))
    assert same(first, mapper(toy)(dataset_dict(dicts)))


@pytest.mark.parametrize("part", [0, 1, 2], ids=["seed", "rank", "position"])
def test_every_part_of_the_seed_counts(toy, dicts, part):
    map_ = mapper(toy)
    images = set()
    for value in range(24):
        seed = list(SEED)
        seed[part] = value
        images.add(map_(dataset_dict(dicts, seed=tuple(seed)))["image"].numpy().tobytes())
    # 2 sizes, flipped or not; 24 draws miss one of the 4 once in 250 times, but seeds are fixed.
    assert len(images) == 4


def test_global_random_state_is_left_alone(toy, dicts):
    np.random.seed(3)
    random.seed(3)
    torch.manual_seed(3)
    expected = np.random.rand(), random.random(), torch.rand(())
    np.random.seed(3)
    random.seed(3)
    torch.manual_seed(3)
    mapper(toy)(dataset_dict(dicts))
    assert (np.random.rand(), random.random(), torch.rand(())) == expected


def test_global_random_state_is_put_back_after_an_error():
    np.random.seed(3)
    expected = np.random.get_state()[1].copy()
    with pytest.raises(OSError, match="broken"), seeded((1, 2, 3)):
        np.random.rand()
        raise OSError("broken")
    assert (np.random.get_state()[1] == expected).all()


def test_random_and_numpy_both_follow_the_seed():
    draws = []
    for seed in ((1, 2, 3), (1, 2, 3), (3, 2, 1)):
        with seeded(seed):
            draws.append((random.random(), np.random.rand()))
    assert draws[0] == draws[1]
    assert draws[0][0] != draws[2][0]
    assert draws[0][1] != draws[2][1]


@pytest.mark.parametrize("labeled", [("hard",), ("hard", "soft"), ("soft",), ()])
@pytest.mark.parametrize("unlabeled", [("hard",), ("soft",), ("hard", "soft")])
def test_flags_of_table_3(toy, dicts, labeled, unlabeled):
    opts = ("SAD.TARGETS.LABELED", labeled, "SAD.TARGETS.UNLABELED", unlabeled)
    map_ = mapper(toy, *opts, checked=False)
    for origin, targets in (("labeled", labeled), ("unlabeled", unlabeled)):
        sample = map_(dataset_dict(dicts, origin))
        assert sample["hard_targets"] is ("hard" in targets)
        assert sample["soft_targets"] is ("soft" in targets)


def test_origin_decides_not_the_annotations(toy, dicts):
    map_ = mapper(toy, "SAD.TARGETS.LABELED", ("hard",), "SAD.TARGETS.UNLABELED", ("soft",))
    sample = map_(dataset_dict(dicts, "labeled", origin="unlabeled"))
    assert (sample["hard_targets"], sample["soft_targets"]) == (False, True)


def test_boxes_follow_the_image(toy, dicts):
    """The light rectangle is where its box says, whatever was flipped and resized."""
    for number in range(8):
        sample = mapper(toy)(dataset_dict(dicts, seed=(0, 0, number)))
        instances = sample["instances"]
        assert sorted(instances.gt_classes.tolist()) == [0, 1]
        for (x0, y0, x1, y1), category in zip(
            instances.gt_boxes.tensor.round().int().tolist(), instances.gt_classes, strict=True
        ):
            inside = sample["image"][:, y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].float().mean()
            assert inside > 190 if category == 0 else inside < 70


def test_teacher_boxes_become_instances(toy, dicts):
    sample = mapper(toy)(dataset_dict(dicts, "unlabeled"))
    assert len(sample["instances"]) == 2
    assert sample["image"].dtype == torch.uint8


def test_image_without_boxes(toy, dicts):
    sample = mapper(toy)(dataset_dict(dicts, "no_boxes", origin="unlabeled"))
    assert sample["instances"].gt_boxes.tensor.shape == (0, 4)
    assert sample["instances"].gt_classes.shape == (0,)


@pytest.mark.parametrize(("width", "read"), [(191, True), (192, False)])
def test_an_image_of_which_resizing_leaves_nothing(toy, tmp_path, width, read):
    """96 pixels at most: of 192 x 1 half a row would be left."""
    Image.new("RGB", (width, 1)).save(tmp_path / "a.png")
    cfg = toy.cfg("teacher.yaml")
    sample = ReadingMapper(cfg, is_train=False)({"file_name": str(tmp_path / "a.png")})
    assert ("image" in sample) == read and ("unreadable" in sample) != read


def test_bugs_are_not_unreadable_images(toy, dicts):
    map_ = ReadingMapper(toy.cfg("teacher.yaml"), is_train=False)

    def augment(image):
        raise ValueError("a bug")

    map_.augmentations = augment
    with pytest.raises(ValueError, match="a bug"):
        map_(dict(dicts["labeled"]))


def test_the_dict_given_is_not_changed(toy, dicts):
    given = dataset_dict(dicts)
    before = repr(given)
    mapper(toy)(given)
    assert repr(given) == before


def test_the_teachers_view_is_the_same_view_at_its_scale(toy, dicts):
    """Resized from the file's own pixels: halved again it is nearly the student's image."""
    seen = set()
    for seed in range(12):
        map_ = mapper(toy, "SAD.TEACHER.INPUT_SCALE", 2.0)
        sample = map_(dataset_dict(dicts, seed=(0, 0, seed)))
        assert same(sample, mapper(toy)(dataset_dict(dicts, seed=(0, 0, seed))))
        image, view = sample["image"].float(), sample["teacher_image"].float()
        assert list(view.shape[1:]) == [2 * side for side in image.shape[1:]]
        halved = torch.nn.functional.avg_pool2d(view, 2)
        assert (halved - image).abs().mean() < 12  # noise of 90 to 160; a flip differs by over 18
        assert (halved.flip(-1) - image).abs().mean() > 18
        seen.add(image.shape)
    assert len(seen) == 2
    assert "teacher_image" not in mapper(toy)(dataset_dict(dicts))


def test_a_sample_brings_the_teachers_answer_where_one_is_kept(toy, dicts, tmp_path):
    folder = ("SAD.TEACHER.CACHE.DIR", str(tmp_path), "INPUT.RANDOM_FLIP", "none")
    map_ = mapper(toy, *folder)
    sample = map_(dataset_dict(dicts))
    assert sample["kept"] is None and "kept" not in mapper(toy)(dataset_dict(dicts))
    logits = torch.zeros(1, 4, 2)
    kept = to_keep(Outputs(logits=[logits]), [(2, 2)], 0.001)[0]
    map_.cache.write(sample["kept_path"], kept)
    found = map_(dataset_dict(dicts))["kept"]
    assert np.array_equal(found.logits, kept.logits) and len(found.index) == 8
    hard_alone = mapper(toy, *folder, "SAD.TARGETS.LABELED", "('hard',)")
    assert "kept" not in hard_alone(dataset_dict(dicts))
