"""What must be true of a set to test on."""

import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from coco_set import NAME, annotation, coco
from sad.config.load import get_sad_cfg
from sad.data.checks import check_deciding_set, check_files, check_test_sets, has_boxes
from sad.data.datasets import register_coco_set
from sad.utils.errors import UserError


@pytest.fixture
def check(tmp_path):
    """A function that registers a json as the test set and checks it against a training set."""
    for image in coco()["images"]:
        Image.new("L", (image["width"], image["height"])).save(tmp_path / image["file_name"])

    def register_and_check(content):
        sets = ("DATASETS.TRAIN", ("train_set",), "DATASETS.TEST", (NAME,))
        model = ("MODEL.META_ARCHITECTURE", "RetinaNet", "MODEL.RETINANET.NUM_CLASSES", 2)
        cfg = get_sad_cfg("", (*sets, *model))
        for name, value in (("train_set", coco([[1, 2, 3, 4]])), (NAME, content)):
            (tmp_path / f"{name}.json").write_text(json.dumps(value))
            register_coco_set(name, str(tmp_path / f"{name}.json"), str(tmp_path))
            DatasetCatalog.get(name)
        check_test_sets(cfg)

    yield register_and_check
    for name in ("train_set", NAME):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_set_to_test_on(check):
    check(coco([[5, 5, 10, 10]]))


def test_set_without_annotations_as_test_dev(check):
    content = coco()
    del content["annotations"]
    check(content)


@pytest.mark.parametrize("key", ["area", "iscrowd", "id"])
def test_annotations_without_what_follows_from_the_box(check, key):
    lacking = annotation()
    del lacking[key]
    check(coco(annotations=[lacking]))


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ([], "there are no annotations"),
        ([annotation(image_id="7")], "image_id '7' is a text"),
        ([annotation(bbox=[20, 20, -5, -5])], "1 of a negative width or height"),
        ([annotation(iscrowd=1)], "1 crowds"),
        ([annotation(bbox=[45, 5, 1, 1])], "1 outside of their image"),
    ],
)
def test_a_test_set_without_a_box(check, annotations, reason):
    with pytest.raises(UserError, match=f"data set {NAME}.*{reason}|leave their image"):
        check(coco(annotations=annotations))


def test_the_set_that_early_stop_watches(toy):
    on = ("SOLVER.EARLY_STOP.PATIENCE", 1, "DATASETS.TEST")
    check_deciding_set(toy.cfg("SAD.yaml", *on, ("toy_labeled", "toy_unlabeled")))
    with pytest.raises(UserError, match="AP on toy_unlabeled, the first .* has no annotations"):
        check_deciding_set(toy.cfg("SAD.yaml", *on, ("toy_unlabeled", "toy_labeled")))
    check_deciding_set(toy.cfg("SAD.yaml", "DATASETS.TEST", ("toy_unlabeled",)))


def test_set_of_other_classes(check):
    with pytest.raises(UserError, match="classes, the first of them 'cat' and 'dog'"):
        check(coco([[5, 5, 9, 9]], categories=[{"id": 3, "name": "ant"}, {"id": 9, "name": "dog"}]))


def test_set_with_a_class_more(check):
    three = [{"id": number, "name": name} for number, name in ((3, "ant"), (5, "bee"), (9, "cat"))]
    with pytest.raises(UserError, match="other classes, the first of them 'cat' and 'bee'"):
        check(coco([[5, 5, 9, 9]], categories=three))


def test_a_file_or_folder_that_is_missing(tmp_path):
    json_file, folder = tmp_path / "set.json", tmp_path / "images"
    register_coco_set(NAME, str(json_file), str(folder))
    try:
        with pytest.raises(UserError, match=f"{NAME}: .*{json_file}"):
            check_files([NAME])
        json_file.write_text(json.dumps(coco()))
        with pytest.raises(UserError, match=f"{NAME}: .*{folder}"):
            check_files([NAME])
        folder.mkdir()
        check_files([NAME])
    finally:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, False),
        ({"annotations": []}, False),
        ({"annotations": [{"iscrowd": 1}]}, False),
        ({"annotations": [{"iscrowd": 1}, {"iscrowd": 0}]}, True),
        ({"annotations": [{}]}, True),
    ],
)
def test_a_crowd_is_no_box(image, expected):
    assert has_boxes(image) == expected
