"""The files of the digit scenes, on sets of a few images."""

import json
from multiprocessing.pool import ThreadPool

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sad.digit_scenes import dataset as digit_scenes
from sad.digit_scenes import sources
from sad.digit_scenes.dataset import annotation_file, write_digit_scenes
from sad.digit_scenes.render import SceneOptions, render_scene
from sad.digit_scenes.sources import SPLITS
from sad.utils.errors import UserError

SMALL = {"labeled": 5, "unlabeled": 4, "tune": 2, "minival": 3, "workers": 1}


def files_of(root):
    """{relative path: bytes} of every file under a folder."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def load(root, split):
    return json.loads(annotation_file(root, split).read_text())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("small") / "digits"
    write_digit_scenes(root, **SMALL)
    return root


def test_layout_and_coco_keys(small):
    expected = {"digits.json", "preview.png"}
    expected |= {f"annotations/{split}.json" for split in ("labeled", "tune", "minival")}
    expected |= {"annotations/image_info_unlabeled.json"}
    expected |= {f"{split}/{i:06d}.jpg" for split in SPLITS for i in range(SMALL[split])}
    assert set(files_of(small)) == expected
    for split in ("labeled", "tune", "minival"):
        coco = load(small, split)
        assert [category["name"] for category in coco["categories"]] == list("0123456789")
        assert [category["id"] for category in coco["categories"]] == list(range(1, 11))
        for number, annotation in enumerate(coco["annotations"], start=1):
            assert annotation["id"] == number and annotation["iscrowd"] == 0
            assert annotation["area"] == annotation["bbox"][2] * annotation["bbox"][3] > 0


def test_json_is_what_a_fresh_rendering_gives(small):
    coco = load(small, "minival")
    found = [(a["image_id"], a["category_id"], a["bbox"]) for a in coco["annotations"]]
    expected = []
    for index in range(SMALL["minival"]):
        image, objects = render_scene(SceneOptions(), "minival", index)
        expected += [(index + 1, thing.label + 1, thing.box()) for thing in objects]
        with Image.open(small / "minival" / coco["images"][index]["file_name"]) as saved:
            difference = np.abs(np.asarray(saved).astype(float) - image)
        assert difference.mean() < 5  # JPEG of quality 95 on a noisy image
    assert found == expected


def test_unlabelled_json_has_no_annotations(small):
    coco = load(small, "unlabeled")
    assert set(coco) == {"info", "licenses", "images", "categories"}
    assert coco["categories"] == load(small, "labeled")["categories"]
    assert len(coco["images"]) == SMALL["unlabeled"]
    for image in coco["images"]:
        assert set(image) == {"id", "license", "file_name", "height", "width"}
    described = json.loads((small / "digits.json").read_text())
    assert set(described) == {
        *("format", "seed", "labeled", "unlabeled", "tune", "minival"),
        *("image_size", "num_classes", "objects_per_image", "object_size"),
    }


def test_pycocotools_reads_it_and_scores_the_truth_with_one(small, capsys):
    truth = COCO(str(annotation_file(small, "labeled")))
    found = truth.loadRes([{**annotation, "score": 1.0} for annotation in truth.anns.values()])
    evaluation = COCOeval(truth, found, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    assert COCO(str(annotation_file(small, "unlabeled"))).getImgIds() == [1, 2, 3, 4]


def test_same_bytes_whatever_the_workers(small, tmp_path):
    write_digit_scenes(tmp_path / "digits", **{**SMALL, "workers": 2})
    assert files_of(tmp_path / "digits") == files_of(small)


def test_a_larger_set_extends_a_smaller_one(small, tmp_path):
    larger = {**SMALL, "labeled": 8, "unlabeled": 6, "tune": 3, "minival": 4}
    write_digit_scenes(tmp_path / "digits", **larger)
    many, few = files_of(tmp_path / "digits"), files_of(small)
    for name in few:
        if name.endswith(".jpg"):
            assert many[name] == few[name]
    for split in SPLITS:
        for key in ("images", "annotations"):
            if key in load(small, split):
                start = load(small, split)[key]
                assert load(tmp_path / "digits", split)[key][: len(start)] == start


def test_the_80_class_variant_on_disk(tmp_path):
    write_digit_scenes(
        tmp_path,
        **SMALL,
        image_size=192,
        num_classes=80,
        objects_per_image=(3, 6),
        object_size=(16, 50),
    )
    coco = load(tmp_path, "labeled")
    assert [category["name"] for category in coco["categories"]][::79] == ["00", "79"]
    assert {(image["height"], image["width"]) for image in coco["images"]} == {(192, 192)}
    with Image.open(tmp_path / "labeled" / "000000.jpg") as image:
        assert image.size == (192, 192)


def test_a_missing_photograph_is_named_and_nothing_written(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_photograph_folder", lambda: tmp_path)
    sources.photographs.cache_clear()
    with pytest.raises(UserError, match=r"astronaut\.png is missing or unreadable"):
        write_digit_scenes(tmp_path / "digits", **SMALL)
    assert not (tmp_path / "digits").exists()


def test_a_second_call_touches_nothing(small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    write_digit_scenes(small, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_an_interrupted_call_is_made_good(small, tmp_path, monkeypatch):
    root = tmp_path / "digits"
    write_image = digit_scenes._write_image

    def interrupted(job):
        if job[2:] == ("unlabeled", 1):
            (root / "unlabeled" / "000001.jpg").write_bytes(b"half")
            raise KeyboardInterrupt
        return write_image(job)

    monkeypatch.setattr(digit_scenes, "_write_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_digit_scenes(root, **SMALL)
    assert not (root / "digits.json").exists()
    monkeypatch.undo()
    write_digit_scenes(root, **SMALL)
    assert files_of(root) == files_of(small)


def test_other_arguments_are_refused_unless_told_to_overwrite(small, tmp_path, monkeypatch):
    root = tmp_path / "digits"
    write_digit_scenes(root, **{**SMALL, "labeled": 7, "seed": 3})
    before = files_of(root)
    with pytest.raises(UserError, match=r"seed 3.*seed 0.*--root.*--overwrite"):
        write_digit_scenes(root, **SMALL)
    monkeypatch.setattr(digit_scenes, "FORMAT", digit_scenes.FORMAT + 1)
    with pytest.raises(UserError, match="format"):
        write_digit_scenes(root, **{**SMALL, "labeled": 7, "seed": 3})
    monkeypatch.undo()
    assert files_of(root) == before
    write_digit_scenes(root, **SMALL, overwrite=True)
    assert files_of(root) == files_of(small)


def test_overwriting_never_leaves_old_boxes_with_new_images(tmp_path, monkeypatch):
    write_digit_scenes(tmp_path, **SMALL)

    def interrupted(job):
        raise KeyboardInterrupt

    monkeypatch.setattr(digit_scenes, "_write_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_digit_scenes(tmp_path, **SMALL, seed=1, overwrite=True)
    assert list((tmp_path / "annotations").iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_folders_of_somebody_else_are_left_alone(tmp_path, overwrite):
    (tmp_path / "labeled").mkdir()
    (tmp_path / "labeled" / "000009.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="not written here"):
        write_digit_scenes(tmp_path, **SMALL, overwrite=overwrite)
    assert files_of(tmp_path) == {"labeled/000009.jpg": b"mine"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"tune": 0},
        {"workers": 0},
        {"image_size": 16},
        {"num_classes": 0},
        {"num_classes": 101},
        {"objects_per_image": (0, 3)},
        {"objects_per_image": (5, 2)},
        {"object_size": (4, 60)},
        {"object_size": (60, 16)},
        {"object_size": (16, 129)},
        {"object_size": (16, 65), "num_classes": 80},
    ],
    ids=str,
)
def test_wrong_arguments_are_named(tmp_path, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        write_digit_scenes(tmp_path / "digits", **{**SMALL, **wrong})
    assert not (tmp_path / "digits").exists()


def test_a_root_that_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written to"):
        write_digit_scenes(tmp_path / "file" / "digits", **SMALL)


def test_the_truth_of_the_unlabelled_images(small, tmp_path):
    """On demand, also for a set that is there; the other files stay as they are."""
    root = tmp_path / "digits"
    write_digit_scenes(root, **SMALL, truth=True)
    path = root / "annotations" / "unlabeled_truth.json"
    truth = json.loads(path.read_text())
    assert truth["images"] == load(root, "unlabeled")["images"]
    options = SceneOptions(0, 128, 10, (2, 5), (16, 60))
    wanted = [box.box() for i in range(4) for box in render_scene(options, "unlabeled", i)[1]]
    assert [annotation["bbox"] for annotation in truth["annotations"]] == wanted

    before = path.read_bytes()
    path.unlink()
    assert files_of(root) == files_of(small)
    write_digit_scenes(root, **SMALL, truth=True)
    assert path.read_bytes() == before
    path.write_text("of older images")
    write_digit_scenes(root, **{**SMALL, "seed": 1}, overwrite=True)
    assert not path.exists()


def test_of_two_calls_for_one_folder_the_second_waits(tmp_path):
    """And then says that other scenes are there."""
    root = tmp_path / "digits"
    with ThreadPool(2) as pool:
        calls = [
            pool.apply_async(write_digit_scenes, (root,), {**SMALL, "seed": seed, "workers": 1})
            for seed in (0, 1)
        ]
        failed = [call for call in calls if not _succeeds(call)]
    assert len(failed) == 1
    description = json.loads((root / "digits.json").read_text())
    for split in ("labeled", "tune", "minival"):
        listed = {image["file_name"] for image in load(root, split)["images"]}
        assert listed == {path.name for path in (root / split).iterdir()}
        assert len(listed) == description[split]


def _succeeds(call) -> bool:
    try:
        call.get()
    except UserError:
        return False
    return True
