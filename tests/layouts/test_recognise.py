"""A layout is recognised by what lies there."""

import json

import pytest

import layouts_made as made
from sad.layouts.recognise import images_for, index_listed, lists_images, recognise
from sad.utils.errors import UserError


@pytest.mark.parametrize("layout", list(made.MAKERS))
def test_sets_are_recognised_also_by_what_must_not_mislead(layout, tmp_path):
    made.MAKERS[layout](tmp_path, 3)
    # What tools and people lay beside labels.
    (tmp_path / "README.dataset.txt").write_text("photographs of cats")
    (tmp_path / "predefined_classes.txt").write_text("cat\ndog")
    (tmp_path / "classes.txt").write_text("1 2 3 4 5\ncat")
    (tmp_path / "notes.json").write_text('{"categories": [], "info": {}}')
    (tmp_path / "hyp.yaml").write_text("lr: 0.1")
    assert recognise(str(tmp_path)) == layout == recognise(str(tmp_path), layout)
    for other in set(made.MAKERS) - {layout}:
        with pytest.raises(UserError, match=f"--layout is {other}"):
            recognise(str(tmp_path), other)


def test_files_are_recognised_by_their_ending(tmp_path):
    for name, layout in (
        ("a.JSON", "coco"),
        ("b.yml", "yolo"),
        ("c.yaml", "yolo"),
        ("d.xml", "voc"),
    ):
        (tmp_path / name).write_text("")
        assert recognise(str(tmp_path / name)) == layout
    for name in ("a.json", "e.zip"):
        (tmp_path / name).write_text("")
    for path, given in (("a.json", "yolo"), ("e.zip", None), ("e.zip", "coco"), ("a.json", "x")):
        with pytest.raises(UserError):
            recognise(str(tmp_path / path), given)


def test_a_folder_of_other_labels_is_told_what_they_are(tmp_path):
    (tmp_path / "a.json").write_text('{"shapes": [], "imagePath": "a.jpg"}')
    with pytest.raises(UserError, match="LabelMe"):
        recognise(str(tmp_path))
    (tmp_path / "a.json").write_text('{"images": [')
    with pytest.raises(UserError, match="whole json"):
        recognise(str(tmp_path))
    (tmp_path / "a.json").write_text('{"images": []}')
    with pytest.raises(UserError, match="no labels"):
        recognise(str(tmp_path))


def test_a_yaml_that_lists_images_is_told_from_one_that_leads_nowhere(tmp_path):
    made.make_yolo(tmp_path, 3)
    assert lists_images(str(tmp_path)) == str(tmp_path / "data.yaml")
    (tmp_path / "data.yaml").write_text("train: elsewhere\nnames: [cat]")
    assert lists_images(str(tmp_path)) is None
    (tmp_path / "data.yaml").unlink()
    (tmp_path / "classes.txt").write_text("cat")
    assert lists_images(str(tmp_path)) is None


def test_images_are_found_beside_their_labels(tmp_path):
    box = [("cat", 1, 1, 9, 9)]
    made.save(tmp_path / "set" / "images" / "train" / "a.jpg", (20, 20), box)
    made.save(tmp_path / "set" / "images" / "val" / "b.jpg", (20, 20), box)
    (tmp_path / "set" / "labels" / "train").mkdir(parents=True)
    root = str(tmp_path / "set")
    assert images_for(f"{root}/labels/train") == f"{root}/images/train"
    assert images_for(f"{root}/labels") == f"{root}/images"
    assert images_for(root) == root
    (tmp_path / "set" / "xmls").mkdir()
    assert images_for(f"{root}/xmls") == f"{root}/images"
    (tmp_path / "other" / "xmls").mkdir(parents=True)
    with pytest.raises(UserError, match="--images"):
        images_for(str(tmp_path / "other" / "xmls"))


def test_the_images_of_a_json_are_found_where_its_names_lead(tmp_path):
    made.save(tmp_path / "images" / "train2017" / "a.jpg", (20, 20), [])
    made.save(tmp_path / "images" / "other.jpg", (20, 20), [])
    (tmp_path / "annotations").mkdir()

    def root(*names, path="annotations/instances_train2017.json"):
        content = {"images": [{"file_name": str(name)} for name in names]}
        return index_listed(str(tmp_path / path), content).root

    images = tmp_path / "images"
    assert root("a.jpg") == str(images / "train2017")
    assert root("gone.jpg", "images/train2017/a.jpg") == str(tmp_path)
    assert root("/home/x/a.jpg") == str(images / "train2017")
    assert root("C:\\x\\a.jpg") == str(images / "train2017")
    assert root("other.jpg", path="labels.json") == str(images)
    assert root(images / "train2017" / "a.jpg", path="far/away/x.json") == str(images / "train2017")
    assert root("A.JPG", path="labels.json") == str(tmp_path)
    for names in (["gone.jpg"], []):
        with pytest.raises(UserError, match="--images"):
            root(*names, path="far/away/x.json")
    (tmp_path / "images.json").write_text(json.dumps({"images": {}}))
    with pytest.raises(UserError):
        index_listed(str(tmp_path / "far" / "x" / "y.json"), {"images": {}})
