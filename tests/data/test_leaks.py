"""Images that are labelled or tested on are found among the unlabelled, by path and by content."""

import json
import os
import shutil

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from sad.config.load import get_sad_cfg
from sad.data import leaks
from sad.data.datasets import register_from_config
from sad.data.leaks import Leak, find_leaks, labeled_and_tested, left_out
from sad.data.loader import build_mixed_loader
from sad.data.subset import choose_share
from sad.utils.errors import UserError

CATEGORIES = [{"id": 1, "name": "cell"}]


@pytest.fixture
def folder(tmp_path):
    """Six different files of one size; their names by number."""
    for number in range(6):
        (tmp_path / f"{number}.bmp").write_bytes(bytes([number]) * 20_000)
    return tmp_path


def paths(folder, *names):
    return [str(folder / f"{name}.bmp") for name in names]


def test_the_same_file_by_any_path(folder):
    (folder / "link.bmp").symlink_to(folder / "1.bmp")
    os.link(folder / "2.bmp", folder / "hard.bmp")
    (folder / "linked").symlink_to(folder)
    ours = paths(folder, 0, "link", "hard", "linked/3", "./4", 5, "absent")
    known = {"train": paths(folder, 1, 2), "test": paths(folder, 3, 4, "absent")}
    train, test = Leak("train", False), Leak("test", False)
    assert find_leaks(ours, known) == {1: train, 2: train, 3: test, 4: test}


def test_another_file_of_the_same_content(folder):
    shutil.copy(folder / "1.bmp", folder / "copy.bmp")
    almost = bytearray((folder / "1.bmp").read_bytes())
    almost[-1] ^= 1  # only reading to the end tells
    (folder / "almost.bmp").write_bytes(almost)
    (folder / "longer.bmp").write_bytes((folder / "1.bmp").read_bytes() + b"1")
    ours = paths(folder, "almost", "longer", "copy", 0)
    known = {"a": paths(folder, 2, 1), "b": paths(folder, 1)}
    assert find_leaks(ours, known) == {2: Leak("a", True)}


def test_empty_files_are_nobody_s_copies(folder):
    for name in ("one", "other"):
        (folder / f"{name}.bmp").touch()
    assert find_leaks(paths(folder, "one"), {"a": paths(folder, "other")}) == {}
    assert find_leaks(paths(folder, "one"), {}) == {}
    assert find_leaks([], {"a": paths(folder, "other")}) == {}


def test_files_of_other_sizes_are_not_opened(folder, monkeypatch):
    shutil.copy(folder / "1.bmp", folder / "copy.bmp")
    (folder / "longer.bmp").write_bytes(bytes(20_001))
    middles, digests = [], []
    for name, seen in (("_middle", middles), ("_digest", digests)):
        call = getattr(leaks, name)
        monkeypatch.setattr(
            leaks, name, lambda f, call=call, seen=seen: seen.append(f.path) or call(f)
        )
    find_leaks(paths(folder, "longer", "copy", 3), {"a": paths(folder, 1, 2)})
    assert sorted(middles) == sorted(paths(folder, "copy", 3, 1, 2))
    assert sorted(digests) == sorted(paths(folder, "copy", 1))


def test_what_is_left_out_is_said_in_one_line(folder, log):
    shutil.copy(folder / "4.bmp", folder / "copy.bmp")
    known = {"train": paths(folder, 1, 2), "test": paths(folder, 4)}
    assert left_out(paths(folder, 0, 2, 1, "copy"), known, "cells/") == {1, 2, 3}
    (line,) = log
    for part in ("3 of 4 images of cells/", "2 of train, 1 of test; 1 of them", "2.bmp"):
        assert part in line
    assert left_out(paths(folder, 0), known, "cells/") == set() and len(log) == 1
    with pytest.raises(UserError, match="2 of 2 images of cells/ .* no unlabelled image is left"):
        left_out(paths(folder, 2, 1), known, "cells/")


# --- what a config knows ------------------------------------------------------------------------


@pytest.fixture
def known(tmp_path):
    """A function of a config's DATASETS, and the arguments of `labeled_and_tested`: {set: names}.

    The jsons lie in the folder, and list the images {json}_0.png to {json}_9.png.
    """
    made = []

    def write(name, annotations=True, **more):
        images = [
            {"id": n, "file_name": f"{name}_{n}.png", "width": 3, "height": 2} for n in range(10)
        ]
        label = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [0, 0, 1, 1]}
        content = {"images": images, "categories": CATEGORIES, **more}
        content |= {"annotations": [label]} if annotations else {}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))

    for name in ("labeled", "test", "tune", "other"):
        write(name)
    write("info", annotations=False)
    write("test_dev", annotations=False)
    write("hard", info={"teacher_weights_sha256": "0" * 64})
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "root").mkdir()
    for number in range(10):
        (tmp_path / "root" / f"other_{number}.png").touch()

    def find(sets, share=1.0, image_json=None, labeled_json=None):
        text = "DATASETS:\n  REGISTER:\n"
        for name in ("labeled", "test", "tune", "info", "test_dev", "hard", "broken", "absent"):
            text += f"    own_{name}: {{JSON: {tmp_path}/{name}.json, IMAGES: {tmp_path}/{name}}}\n"
            made.append(f"own_{name}")
        (tmp_path / "cfg.yaml").write_text(text + sets)
        cfg = get_sad_cfg(str(tmp_path / "cfg.yaml"), ["DATASETS.LABELED_SHARE", share])
        register_from_config(cfg)
        jsons = [x and str(tmp_path / x) for x in (image_json, labeled_json)]
        return {
            name: sorted(os.path.relpath(path, tmp_path) for path in of_set)
            for name, of_set in labeled_and_tested(cfg, str(tmp_path / "root"), *jsons).items()
        }

    yield find
    for name in set(made):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


SETS = "  TRAIN: [own_labeled]\n  TEST: [own_test_dev]\n"


def all_of(name, root=None):
    return [f"{root or name}/{name}_{n}.png" for n in range(10)]


def test_what_is_trained_tested_and_registered_with_annotations_is_known(known, log):
    assert known(SETS) == {
        "own_labeled": all_of("labeled"),
        "own_test_dev": all_of("test_dev"),
        "own_test": all_of("test"),
        "own_tune": all_of("tune"),
    }
    # Not what lists images alone, what labelling wrote, or what is absent; the broken is named.
    assert len(log) == 1 and "own_broken" in log[0]


def test_the_set_to_be_labelled_and_the_unlabelled_are_not(known, tmp_path):
    found = known(
        SETS + "  UNLABELED: [own_tune]\n", image_json="../" + tmp_path.name + "/test.json"
    )
    assert set(found) == {"own_labeled", "own_test_dev"}


def test_the_labelled_json_is_looked_for_where_its_set_is_else_in_the_folder(known, tmp_path):
    assert set(known(SETS, labeled_json="labeled.json")) == set(known(SETS))
    found = known(SETS, labeled_json="other.json")
    assert found[str(tmp_path / "other.json")] == all_of("other", "root")
    (tmp_path / "root" / "other_3.png").unlink()  # so it is not the folder they lie in
    assert str(tmp_path / "other.json") not in known(SETS, labeled_json="other.json")
    found = known("  TEST: [own_test]\n  TRAIN: []\n", labeled_json="tune.json")
    assert found[str(tmp_path / "tune.json")] == all_of("tune")


def test_of_the_labelled_the_share_that_is_trained_on(known, tmp_path):
    chosen = choose_share([{"id": n} for n in range(10)], 0.3, 0, key="id")
    found = known(SETS, share=0.3, labeled_json="other.json")
    assert found["own_labeled"] == [f"labeled/labeled_{image['id']}.png" for image in chosen]
    assert found[str(tmp_path / "other.json")] == [f"root/other_{i['id']}.png" for i in chosen]
    assert found["own_test"] == all_of("test")


def test_the_share_of_a_json_that_has_two_names(known, tmp_path):
    """In one folder of images, or in two, where the same images may be trained on."""
    chosen = [x["id"] for x in choose_share([{"id": n} for n in range(10)], 0.3, 0, key="id")]
    for root in ("labeled", "copies"):
        again = f"    own_again: {{JSON: {tmp_path}/labeled.json, IMAGES: {tmp_path}/{root}}}\n"
        try:
            found = known(again + SETS, share=0.3)["own_labeled"]
        finally:
            DatasetCatalog.remove("own_again")
            MetadataCatalog.remove("own_again")
        assert found == sorted(f"{x}/labeled_{n}.png" for n in chosen for x in {"labeled", root})


# --- in training --------------------------------------------------------------------------------


@pytest.fixture
def with_leaks(toy, tmp_path):
    """A function that gives a config whose unlabelled images are replaced by labelled ones."""

    def make(replaced, *opts):
        shutil.copytree(toy.root / "unlabeled", tmp_path / "images", dirs_exist_ok=True)
        content = toy.json("pseudo_labels.json")
        for number in replaced:
            name = f"{number:06d}.png"
            shutil.copy(toy.root / "labeled" / name, tmp_path / "images" / name)
        (tmp_path / "hard.json").write_text(json.dumps(content))
        entry = "DATASETS.REGISTER.toy_pseudo_labels."
        files = (entry + "JSON", str(tmp_path / "hard.json"))
        return toy.cfg("SAD.yaml", *files, entry + "IMAGES", str(tmp_path / "images"), *opts)

    return make


def numbers(dataset, origin):
    return [int(item["file_name"][-7:-4]) for item in dataset.items if item["origin"] == origin]


def test_labelled_images_are_not_unlabelled_ones_in_training(with_leaks, log):
    keeps_empty = ("DATALOADER.FILTER_EMPTY_ANNOTATIONS", False)
    dataset = build_mixed_loader(with_leaks([2, 5], *keeps_empty)).dataset
    assert numbers(dataset, "unlabeled") == [1, 3, 4, 6]
    assert numbers(dataset, "labeled") == [1, 2, 3, 4, 5, 6]
    assert dataset.ranges == {"labeled": (0, 6), "unlabeled": (6, 10)}
    (line,) = (message for message in log if "left out" in message)
    assert "2 of 6 images of DATASETS.UNLABELED" in line and "2 of DATASETS.TRAIN" in line


def test_the_labelled_images_that_are_not_used_may_serve_as_unlabelled(with_leaks):
    share = ("DATASETS.LABELED_SHARE", 0.5, "DATASETS.TEST", ())
    dataset = build_mixed_loader(with_leaks(range(1, 7), *share)).dataset
    labeled, unlabeled = numbers(dataset, "labeled"), numbers(dataset, "unlabeled")
    assert len(labeled) == 3 and sorted(labeled + unlabeled) == [1, 2, 3, 4, 5, 6]
    # Those that are tested on do not.
    with pytest.raises(UserError, match="6 of 6 images .*3 of DATASETS.TRAIN, 3 of DATASETS.TEST"):
        build_mixed_loader(with_leaks(range(1, 7), *share[:2]))


def test_test_images_that_are_trained_on_are_said(toy, with_leaks, log):
    dataset = build_mixed_loader(toy.cfg("student.yaml")).dataset
    assert len(dataset) == 6  # a warning is all
    (line,) = (message for message in log if "DATASETS.TEST" in message)
    assert "6 of 6 images of DATASETS.TEST are trained on" in line
    log.clear()
    build_mixed_loader(toy.cfg("student.yaml", "DATASETS.TEST", ("toy_unlabeled",)))
    assert not any("DATASETS.TEST" in message for message in log)


def test_pictures_of_one_size_on_disk_are_told_apart(tmp_path):
    """Uncompressed ones, whose middles may be one background."""
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = np.full((100, 100, 3), 200, np.uint8)
        pixels[:10] = rng.integers(0, 256, (10, 100, 3))
        Image.fromarray(pixels).save(tmp_path / f"{number}.bmp")
    assert find_leaks(paths(tmp_path, 0, 1), {"a": paths(tmp_path, 2, 3)}) == {}
