"""Labels of each layout, with what is odd in real sets, are read as what is true of them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from detectron2.structures import BoxMode

import layouts_made as made
from sad.data.datasets import load_coco_set
from sad.layouts.read import read_folder, read_labels
from sad.utils.errors import UserError

PATHS = {"coco": ("", "labels.json"), "yolo": ("", "data.yaml"), "voc": ("", "Annotations")}
LAYOUTS = list(made.MAKERS)


@pytest.fixture(scope="module", params=LAYOUTS)
def odd(request, tmp_path_factory):
    """(layout, folder, what is true): read-only."""
    folder = tmp_path_factory.mktemp("odd set")
    return request.param, folder, made.MAKERS[request.param](folder)


def test_odd_sets_are_read_right_or_what_is_left_out_is_named(odd):
    layout, folder, truth = odd
    for inner in PATHS[layout]:
        labels = read_labels(str(folder / inner))
        made.check(labels, truth)
        found = {Path(name).name for name in labels.unlabeled}
        # What a json does not list may belong to a test set.
        assert set(truth.unlabeled) <= found if truth.layout != "COCO json" else not found
        assert not {x["file_name"] for x in labels.images} & set(labels.unlabeled)
        assert "\n" not in labels.describe() and truth.layout in labels.describe()


def test_what_was_read_is_read_again_as_training_reads_it(odd, tmp_path):
    _, folder, truth = odd
    labels = read_labels(str(folder))
    path = tmp_path / "labels.json"
    labels.write(str(path))
    dicts = load_coco_set("read again", str(path), labels.image_root)
    found = {Path(x["file_name"]).name: x for x in dicts}
    assert found.keys() == truth.boxes.keys()
    for name, boxes in truth.boxes.items():
        assert (found[name]["width"], found[name]["height"]) == truth.sizes[name]
        annotations = [x for x in found[name]["annotations"] if not x["iscrowd"]]
        # Nothing is left for training to clip, or to leave out.
        assert all(x["bbox_mode"] == BoxMode.XYWH_ABS for x in annotations)
        assert sorted(labels.classes[x["category_id"]] for x in annotations) == sorted(
            box[0] for box in boxes
        )
        assert "unusable" not in found[name]


def test_the_same_boxes_are_read_from_all_layouts(tmp_path):
    rng = np.random.default_rng(7)
    sizes = {f"{n}.png": (int(w), int(h)) for n, (w, h) in enumerate(rng.integers(90, 400, (6, 2)))}
    boxes = {}
    for name, (width, height) in sizes.items():
        x, y = rng.uniform(0, (width - 60, height - 60), (5, 2)).T
        w, h = rng.uniform(4, 60, (2, 5))
        corners = np.stack([x, y, x + w, y + h], 1).tolist()
        boxes[name] = [(made.CLASSES[n % 3], *box) for n, box in enumerate(corners)]
    read = {}
    for layout, make in made.MAKERS.items():
        truth = made.Truth(
            {"coco": "COCO json", "yolo": "YOLO", "voc": "Pascal VOC"}[layout], {}, {}
        )
        truth.boxes, truth.sizes = boxes, sizes
        make(tmp_path / layout, truth=truth, oddities=False)
        read[layout] = read_labels(str(tmp_path / layout))
        made.check(read[layout], truth, tolerance=1e-6)  # YOLO's lines have nine decimals
        assert len(read[layout].annotations) == 30


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_sets_of_a_folder_share_the_order_of_the_classes(layout, tmp_path):
    truths = made.make_folder(tmp_path, layout, number=4)
    found = read_folder(str(tmp_path))
    assert found.pop("unlabeled") == str(tmp_path / "unlabeled")
    assert found.keys() == truths.keys()
    for name, truth in truths.items():
        made.check(found[name], truth)


def test_a_hub_s_three_styles_of_export_are_read(tmp_path):
    """Images and labels together in each of the three folders; one data.yaml above YOLO's."""
    for layout in ("coco", "voc", "yolo"):
        root = tmp_path / layout
        truths = made.make_folder(root, layout, number=4)
        for part in ("train", "valid", "test"):
            for inner in ("images", "JPEGImages", "Annotations"):
                if layout != "yolo" and (root / part / inner).is_dir():
                    for path in (root / part / inner).iterdir():
                        path.rename(root / part / path.name)
                    (root / part / inner).rmdir()
            if layout == "coco":
                (root / part / "labels.json").rename(root / part / "_annotations.coco.json")
        if layout == "yolo":
            (root / "train" / "data.yaml").rename(root / "data.yaml")
            (root / "valid" / "data.yaml").unlink()
            (root / "test" / "data.yaml").unlink()
            names = (root / "data.yaml").read_text().split("\n", 1)[1]
            paths = "".join(
                f"{key}: ../{part}/images\n"
                for key, part in (("train", "train"), ("val", "valid"), ("test", "test"))
            )
            (root / "data.yaml").write_text(paths + names)
        (root / "README.roboflow.txt").write_text("pets - v1\n\n12 images\n")
        found = read_folder(str(root))
        for name, truth in truths.items():
            made.check(found[name], truth)
    shutil.rmtree(tmp_path / "yolo" / "test")  # which its yaml goes on listing
    assert read_folder(str(tmp_path / "yolo")).keys() == {"train", "val", "unlabeled"}
    found = read_folder(str(tmp_path / "yolo" / "data.yaml"))
    made.check(found["val"], truths["val"])
    made.check(read_labels(str(tmp_path / "yolo" / "data.yaml"), part="val"), truths["val"])
    made.check(read_labels(str(tmp_path / "yolo")), truths["train"])


def test_yolo_s_parts_may_lie_below_images_and_labels(tmp_path):
    truths = made.make_folder(tmp_path / "a", "yolo", number=3)
    for kind in ("images", "labels"):
        (tmp_path / "b" / kind).mkdir(parents=True)
        for name in ("train", "valid"):
            (tmp_path / "a" / name / kind).rename(tmp_path / "b" / kind / name)
    (tmp_path / "b" / "classes.txt").write_text("\n".join(made.CLASSES))
    found = read_folder(str(tmp_path / "b"))
    assert found.keys() == {"train", "val"}
    for name, labels in found.items():
        made.check(labels, truths[name])
    # The txts alone, and the images named.
    labels, images = tmp_path / "b" / "labels" / "train", tmp_path / "b" / "images" / "train"
    made.check(read_labels(str(labels)), truths["train"])
    images.rename(tmp_path / "pictures")
    made.check(read_labels(str(labels), str(tmp_path / "pictures")), truths["train"])
    with pytest.raises(UserError, match="train and val"):
        images.mkdir()
        read_labels(str(tmp_path / "b"))


def test_voc_s_lists_say_what_belongs_to_which_set(tmp_path):
    truth = made.make_voc(tmp_path, number=9, oddities=False)
    names = sorted(truth.boxes)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    lists = {"trainval": names[:6], "val": names[4:6], "test": names[6:]}
    for name, of_set in lists.items():
        stems = [x.removesuffix(".jpg") for x in of_set]
        (tmp_path / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(stems))
    found = read_folder(str(tmp_path))
    for name, of_set in (("train", names[:4]), ("val", names[4:6]), ("test", names[6:])):
        assert sorted(made.as_read(found[name])[0]) == of_set
        assert found[name].classes == made.CLASSES and not found[name].unlabeled


def test_jsons_in_annotations_are_sets_by_their_names(tmp_path):
    truths = {}
    (tmp_path / "annotations").mkdir()
    for seed, name in enumerate(("train", "val")):
        truths[name] = made.make_coco(tmp_path / "made" / name, 3, seed, oddities=False)
        (tmp_path / "made" / name / "images").rename(tmp_path / f"{name}2017")
        json = tmp_path / "annotations" / f"instances_{name}2017.json"
        (tmp_path / "made" / name / "labels.json").rename(json)
    found = read_folder(str(tmp_path))
    for name, truth in truths.items():
        made.check(found[name], truth)
        assert found[name].image_root == str(tmp_path / f"{name}2017")


def test_a_yaml_that_leads_nowhere_is_read_with_what_lies_beside_it(tmp_path):
    truth = made.make_yolo(tmp_path, 3, oddities=False)
    path = tmp_path / "data.yaml"
    path.write_text(path.read_text().replace("train: images", "train: E:\\old\\photos\nval: E:\\v"))
    for given in (path, tmp_path):
        made.check(read_labels(str(given)), truth)
        made.check(read_folder(str(given))["train"], truth)


def test_a_folder_without_parts_is_one_set(tmp_path):
    truth = made.make_yolo(tmp_path, 4)
    found = read_folder(str(tmp_path))
    assert list(found) == ["train"]
    made.check(found["train"], truth)


def test_classes_follow_the_order_that_is_wanted_and_must_be_the_same(tmp_path):
    for layout, make in made.MAKERS.items():
        truth = make(tmp_path / layout, 4, oddities=False)
        truth.classes = ["no", "cat", "dog"]
        path = str(tmp_path / layout)
        made.check(read_labels(path, classes=truth.classes), truth)
        with pytest.raises(UserError, match="'dog'"):
            read_labels(path, classes=["no", "cat", "cow"])
        with pytest.raises(UserError, match="'dog'"):
            read_labels(path, classes=["no", "cat"])


def test_two_layouts_in_a_folder_are_told_apart_by_the_user(tmp_path):
    truth = made.make_yolo(tmp_path, 4, oddities=False)
    made.make_voc(tmp_path / "voc", 4, oddities=False)
    (tmp_path / "voc" / "Annotations").rename(tmp_path / "Annotations")
    with pytest.raises(UserError, match="--layout yolo or --layout voc"):
        read_labels(str(tmp_path))
    made.check(read_labels(str(tmp_path), layout="yolo"), truth)
    truth.layout = "Pascal VOC"
    made.check(read_labels(str(tmp_path), str(tmp_path / "images"), layout="voc"), truth)


BAD = {  # what a user does -> words of the sentence
    "absent": "do not exist",
    "empty": "no labels",
    "no_images": "--images",
    "no_names": "names",
    "text": "json, yaml, xml or folder",
    "layout": "--layout",
    "forced": "--layout is voc",
}


@pytest.mark.parametrize("mistake", BAD)
def test_mistakes_are_one_sentence(mistake, tmp_path):
    made.make_yolo(tmp_path / "set", 3, oddities=False)
    path, options = tmp_path / "set", {}
    if mistake == "absent":
        path = tmp_path / "nothing"
    elif mistake == "empty":
        path = tmp_path / "empty"
        path.mkdir()
    elif mistake == "no_images":
        shutil.rmtree(path / "images")
    elif mistake == "no_names":
        (path / "data.yaml").write_text("train: images\nnc: 3\n")
    elif mistake == "text":
        path = tmp_path / "labels.txt"
        path.write_text("cat")
    else:
        options = {"layout": {"layout": "kitti", "forced": "voc"}[mistake]}
    with pytest.raises(UserError, match=BAD[mistake]) as raised:
        read_labels(str(path), **options)
    assert "\n" not in str(raised.value)


def test_folders_without_what_is_needed_are_refused(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UserError):
            read_folder(str(path))
    made.make_folder(tmp_path / "a", "voc", 3)
    shutil.rmtree(tmp_path / "a" / "train")
    with pytest.raises(UserError, match="no train"):
        read_folder(str(tmp_path / "a"))
