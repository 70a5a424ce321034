"""Data sets by name: registration, box cleaning, and every way a COCO json can be broken."""

import json
import os

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import BoxMode
from PIL import Image

from coco_set import NAME, annotation, coco
from sad.config.load import get_sad_cfg
from sad.data.datasets import (
    BUILTIN,
    ClassOrder,
    data_path,
    load_coco_set,
    read_sets,
    register_coco_set,
    register_from_config,
)
from sad.utils.errors import UserError


@pytest.fixture
def load(tmp_path):
    """A function that writes a json and loads it as a data set."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).touch()  # not opened before training

    def write_and_load(content):
        path = tmp_path / "set.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return load_coco_set(NAME, str(path), str(tmp_path / "images"))

    yield write_and_load
    MetadataCatalog.pop(NAME, None)


def corners(image: dict) -> list[list[float]]:
    return [
        [float(v) for v in BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS)]
        for a in image["annotations"]
    ]


def test_dicts_in_detectron2_format(load, tmp_path, log):
    first, second = load(coco([[5, 5, 10, 10]]))
    assert [first["image_id"], second["image_id"]] == [2, 7]  # sorted by id
    assert first["annotations"] == []
    assert second["file_name"] == str(tmp_path / "images" / "b.png")
    assert (second["width"], second["height"]) == (40, 30)
    assert corners(second) == [[5, 5, 15, 15]]
    # Classes are numbered by rising id.
    assert MetadataCatalog.get(NAME).thing_classes == ["ant", "cat"]
    assert second["annotations"][0]["category_id"] == 0
    assert log == []


def test_boxes_are_clipped_or_left_out_and_counted(load, log):
    boxes = {
        (0, 0, 40, 30): [0, 0, 40, 30],  # the whole image
        (30, 20, 20, 20): [30, 20, 40, 30],
        (-5, -5, 10, 10): [0, 0, 5, 5],
        (39.5, 29.5, 1, 1): [39.5, 29.5, 40, 30],
        (3, 3, 0, 4): None,  # no width
        (3, 3, 4, 0): None,
        (10, 10, -5, 5): None,
        (40, 5, 5, 5): None,  # all of it right of the image
        (50, 50, 5, 5): None,
        (-9, 5, 5, 5): None,
    }
    image = load(coco(boxes))[1]
    assert corners(image) == [box for box in boxes.values() if box]
    assert image["unusable"] == 6
    assert len(log) == 1
    for part in ("3 boxes clipped to their image", "2 without area", "1 of a negative width"):
        assert part in log[0]
    assert "3 outside of their image" in log[0]


def test_box_without_finite_numbers_is_left_out(load):
    nan = json.dumps(coco([[5, 5, 10, 10], [1, 2, 3, 4]])).replace("[1, 2, 3, 4]", "[NaN, 2, 3, 4]")
    assert corners(load(nan.encode())[1]) == [[5, 5, 15, 15]]


def test_scores_of_a_teacher_are_kept(load):
    content = coco(annotations=[annotation(score=0.75)])
    assert load(content)[1]["annotations"][0]["score"] == 0.75


def test_image_info_without_annotations(load):
    content = coco()
    del content["annotations"]
    dicts = load(content)
    assert [image["annotations"] for image in dicts] == [[], []]
    assert MetadataCatalog.get(NAME).thing_classes == ["ant", "cat"]


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
def test_json_cut_short(load, tmp_path, share):
    content = json.dumps(coco([[5, 5, 10, 10]])).encode()
    with pytest.raises(UserError, match=NAME) as error:
        load(content[: int(share * len(content))])
    assert f"{tmp_path / 'set.json'} is no whole json" in str(error.value)


BROKEN = {
    "a list": [],
    "a number": 3,
    "no images": coco(images=[]),
    "no image key": {"annotations": [], "categories": [{"id": 3, "name": "ant"}]},
    "no categories key": {"images": coco()["images"], "annotations": [annotation()]},
    "no categories": coco(categories=[], annotations=[annotation()]),
    "annotations are null": coco(annotations=None),
    "images without size": coco(images=[{"id": 7, "file_name": "b.png"}]),
    "images without name": coco(images=[{"id": 7, "width": 40, "height": 30}]),
    "unknown category": coco(annotations=[annotation(category_id=4)]),
    "no category": coco(annotations=[{"id": 1, "image_id": 7, "bbox": [1, 1, 2, 2]}]),
    "box of three": coco(annotations=[annotation(bbox=[1, 2, 3])]),
    "box of words": coco(annotations=[annotation(bbox=["1", "2", "3", "4"])]),
    "no utf-8": b'{"images": [{"file_name": "\xff\xfe"}]}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_json_of_another_format(load, tmp_path, content):
    with pytest.raises(UserError, match=NAME) as error:
        load(content)
    assert str(tmp_path / "set.json") in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files(tmp_path):
    path = tmp_path / "set.json"
    with pytest.raises(UserError, match=f"{NAME}: annotation file {path} does not exist"):
        load_coco_set(NAME, str(path), str(tmp_path))
    path.write_text(json.dumps(coco()))
    folder = tmp_path / "images"
    with pytest.raises(UserError, match=f"{NAME}: image folder {folder} does not exist"):
        load_coco_set(NAME, str(path), str(folder))


def test_a_set_whose_images_are_not_there_is_refused_where_sets_are_read(load, tmp_path):
    """One broken image is skipped in training; one that is absent is a mistake in the json."""
    load(coco())
    register_coco_set(NAME, str(tmp_path / "set.json"), str(tmp_path / "images"))
    (tmp_path / "images" / "a.png").unlink()
    first = tmp_path / "images" / "a.png"
    with pytest.raises(UserError, match=f"{NAME}: 1 of 2 images of .*set.json .* first is {first}"):
        read_sets([NAME])
    DatasetCatalog.remove(NAME)


def test_second_registration_replaces_the_first(tmp_path):
    (tmp_path / "a.png").touch()
    for name in ("one", "two"):
        content = coco(categories=[{"id": 3, "name": name}])
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        register_coco_set(NAME, str(tmp_path / f"{name}.json"), str(tmp_path))
        DatasetCatalog.get(NAME)
        metadata = MetadataCatalog.get(NAME)
        assert metadata.thing_classes == [name]
        assert metadata.json_file == str(tmp_path / f"{name}.json")
        assert metadata.evaluator_type == "coco"
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def config(text, tmp_path):
    (tmp_path / "data.yaml").write_text(text)
    return get_sad_cfg(str(tmp_path / "data.yaml"))


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "{root}/secret.png"])
def test_files_outside_the_image_folder_are_refused(load, tmp_path, name):
    (tmp_path / "secret.png").touch()
    content = coco()
    content["images"][1]["file_name"] = name.format(root=tmp_path)
    with pytest.raises(UserError, match=r"set_under_test: .*secret\.png, which lies outside"):
        load(content)


def test_links_of_the_user_are_followed(load, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.png").touch()
    (tmp_path / "images" / "link").symlink_to(tmp_path / "elsewhere")
    content = coco()
    content["images"][1]["file_name"] = "link/c.png"
    assert load(content)[0]["file_name"] == str(tmp_path / "images" / "link" / "c.png")


REGISTER = """
DATASETS:
  REGISTER: {set_under_test: {JSON: %s, IMAGES: %s}}
  TRAIN: [set_under_test]
  TEST: [coco_2017_val]
"""


def test_paths_in_the_config(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann" / "a.png").touch()
    (tmp_path / "ann" / "set.json").write_text(json.dumps(coco([[1, 2, 3, 4]])))
    for json_file in ("ann/set.json", str(tmp_path / "ann" / "set.json")):
        register_from_config(config(REGISTER % (json_file, "ann"), tmp_path))
        images = DatasetCatalog.get(NAME)
        assert images[1]["file_name"] == str(tmp_path / "ann" / "b.png")
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def test_root_of_relative_paths(monkeypatch):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    assert data_path("a/b") == os.path.join("datasets", "a/b")
    assert data_path("/a/b") == "/a/b"
    monkeypatch.setenv("HOME", "/home/somebody")
    assert data_path("~/a") == "/home/somebody/a"
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/data")
    assert data_path("a/b") == "/home/somebody/data/a/b"


@pytest.mark.parametrize("key", ["TRAIN", "UNLABELED", "TEST"])
def test_unknown_set_comes_with_a_hint(key, tmp_path):
    names = {"TRAIN": "()", "TEST": "()", "UNLABELED": "()", key: "[cells_labeled]"}
    text = "DATASETS: {" + ", ".join(f"{name}: {value}" for name, value in names.items()) + "}"
    with pytest.raises(UserError) as error:
        register_from_config(config(text, tmp_path))
    message = str(error.value)
    assert f"DATASETS.{key} names 'cells_labeled'" in message
    assert "DATASETS.REGISTER.cells_labeled with JSON and IMAGES" in message


@pytest.mark.parametrize(
    ("entry", "lacks"),
    [
        ("{JSON: a.json}", "IMAGES"),
        ("{IMAGES: folder}", "JSON"),
        ("{JSON: '', IMAGES: folder}", "JSON"),
        ("{}", "JSON and IMAGES"),
        ("a.json", "JSON and IMAGES"),
    ],
)
def test_incomplete_entry(entry, lacks, tmp_path):
    text = f"DATASETS: {{REGISTER: {{cells: {entry}}}}}"
    with pytest.raises(UserError, match=f"DATASETS.REGISTER.cells lacks {lacks}"):
        register_from_config(config(text, tmp_path))


def test_sets_that_detectron2_has_registered_are_read_as_ours(tmp_path):
    """COCO's: a broken file ends in the same sentence, and no path leaves the folder."""
    (tmp_path / "cut.json").write_text('{"images": [')
    register_coco_instances("cut_short", {}, str(tmp_path / "cut.json"), str(tmp_path))
    try:
        register_from_config(get_sad_cfg("", ("DATASETS.TEST", ("cut_short",))))
        with pytest.raises(UserError, match="data set cut_short: .*cut.json is no whole json"):
            read_sets(["cut_short"])
    finally:
        DatasetCatalog.remove("cut_short")
        MetadataCatalog.remove("cut_short")


def test_sets_that_are_registered_in_python():
    DatasetCatalog.register("in_python", lambda: 1 / 0)
    try:
        with pytest.raises(UserError, match="data set in_python cannot be read .ZeroDivisionError"):
            read_sets(["in_python"])
    finally:
        DatasetCatalog.remove("in_python")
        MetadataCatalog.pop("in_python", None)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        (
            {"annotations": [{"category_id": 2, "bbox": [1, 1, 5, 5]}]},
            "category_id is 2, .* from 0",
        ),
        ({"annotations": [{"bbox": [1, 1, 5, 5]}]}, "category_id is None"),
        ({"image_id": None}, "image_id is missing"),
        ({"width": None}, "width is missing"),
    ],
)
def test_records_of_sets_that_are_registered_in_python(changes, sentence, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    record = {"file_name": str(tmp_path / "a.png"), "image_id": 1, "height": 9, "width": 9}
    record |= {"annotations": [{"category_id": 1, "bbox": [1, 1, 5, 5]}], **changes}
    record = {key: value for key, value in record.items() if value is not None}
    DatasetCatalog.register("in_python", lambda: [record])
    MetadataCatalog.get("in_python").set(thing_classes=["ant", "cat"])
    try:
        if sentence:
            with pytest.raises(UserError, match=f"data set in_python, image .*a.png: {sentence}"):
                read_sets(["in_python"])
        else:
            assert read_sets(["in_python"]) == [record]
    finally:
        DatasetCatalog.remove("in_python")
        MetadataCatalog.remove("in_python")


# --- which class is which -----------------------------------------------------------------------

EXPORTED_ANEW = {  # the same classes under other ids
    "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "ant"}],
    "annotations": [annotation(category_id=9)],
}


def test_categories_are_numbered_by_name_where_an_order_is_given(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "set.json").write_text(json.dumps(coco(**EXPORTED_ANEW)))
    order = ClassOrder(["ant", "cat"], "weights old.pth")
    files = str(tmp_path / "set.json"), str(tmp_path)
    assert load_coco_set(NAME, *files)[1]["annotations"][0]["category_id"] == 1
    MetadataCatalog.remove(NAME)
    assert load_coco_set(NAME, *files, order)[1]["annotations"][0]["category_id"] == 0
    metadata = MetadataCatalog.get(NAME)
    assert metadata.thing_classes == ["ant", "cat"]
    assert metadata.thing_dataset_id_to_contiguous_id == {3: 1, 9: 0}
    MetadataCatalog.remove(NAME)
    other = ClassOrder(["ant", "dog"], "weights old.pth")
    with pytest.raises(UserError, match="weights old.pth and .*set.json have other classes.*'dog'"):
        load_coco_set(NAME, *files, other)
    MetadataCatalog.pop(NAME, None)


def test_sets_follow_the_first_one(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "b.png")
    for name, content in (("one", coco([[1, 2, 3, 4]])), ("two", coco(**EXPORTED_ANEW))):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    entries = ", ".join(
        f"{name}: {{JSON: {tmp_path}/{name}.json, IMAGES: {tmp_path}}}" for name in ("one", "two")
    )
    text = f"DATASETS: {{REGISTER: {{{entries}}}, TRAIN: [one], TEST: [two]}}"
    try:
        register_from_config(config(text, tmp_path))
        one, two = read_sets(["one"]), read_sets(["two"])
        assert one[1]["annotations"][0]["category_id"] == 0
        assert two[1]["annotations"][0]["category_id"] == 0  # the ant's
    finally:
        for name in ("one", "two"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_built_in_sets_are_registered():
    assert {"digits_labeled", "digits_unlabeled", "digits_tune", "digits_minival"} <= set(BUILTIN)
    for name, (json_file, images) in BUILTIN.items():
        assert name in DatasetCatalog
        metadata = MetadataCatalog.get(name)
        assert metadata.json_file == data_path(json_file)
        assert metadata.image_root == data_path(images)


def test_where_coco_puts_its_unlabeled_images():
    """Beside the sets that Detectron2 registers, under COCO's own names."""
    metadata = MetadataCatalog.get("coco_2017_unlabeled")
    assert metadata.json_file.endswith("coco/annotations/image_info_unlabeled2017.json")
    assert metadata.image_root.endswith("coco/unlabeled2017")
