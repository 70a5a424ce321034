"""Pascal VOC's xmls: boxes, wrong names and sizes, difficult objects, and what is no label."""

import os

import pytest

from sad.layouts.files import Tree
from sad.layouts.image_index import ImageIndex
from sad.layouts.voc import read_voc
from sad.utils.errors import UserError
from users_data import CLASSES, boxes_of, make_images, write_voc


@pytest.fixture
def made(tmp_path):
    truth = make_images(tmp_path / "JPEGImages", 8, seed=4)
    write_voc(tmp_path, truth)
    return truth, tmp_path


def read(folder, classes=None, among=None):
    place = str(folder / "Annotations")
    xmls = Tree(place).paths(".xml")
    return read_voc(place, place, xmls, ImageIndex(str(folder / "JPEGImages")), classes, among)


def change(folder, old: str, new: str, name="4_000"):
    path = folder / "Annotations" / f"{name}.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_boxes(made):
    truth, folder = made
    labels = read(folder)
    assert boxes_of(labels) == {name: sorted(boxes) for name, boxes in truth.items()}
    assert labels.layout == "Pascal VOC" and labels.classes == sorted(CLASSES)
    assert not labels.mended and not labels.left_out and not labels.unlabeled


@pytest.mark.parametrize("name", ["wrong.jpg", "4_000", "4_000.PNG", "4_001.png", ""])
def test_the_xmls_own_name_decides(name, made):
    truth, folder = made
    change(folder, "<filename>4_000.png</filename>", f"<filename>{name}</filename>")
    assert boxes_of(read(folder)) == {name: sorted(boxes) for name, boxes in truth.items()}


@pytest.mark.parametrize("size", ["0", "640", "-3", "many"])
def test_the_images_file_decides_on_its_size(size, made):
    truth, folder = made
    change(folder, "<width>64</width>", f"<width>{size}</width>")
    labels = read(folder)
    assert boxes_of(labels) == {name: sorted(boxes) for name, boxes in truth.items()}
    assert {(x["width"], x["height"]) for x in labels.images} == {(64, 64)}
    assert labels.mended


def test_difficult_objects_are_crowds(made):
    _, folder = made
    change(folder, "<difficult>0</difficult>", "<difficult>1</difficult>")
    labels = read(folder)
    (image,) = [x["id"] for x in labels.images if x["file_name"] == "4_000.png"]
    assert {x["iscrowd"] for x in labels.annotations if x["image_id"] == image} == {1}
    assert {x["iscrowd"] for x in labels.annotations if x["image_id"] != image} == {0}


def test_what_has_no_partner(made):
    _, folder = made
    os.unlink(folder / "Annotations" / "4_001.xml")
    os.unlink(folder / "JPEGImages" / "4_002.png")
    labels = read(folder)
    assert labels.unlabeled == ["4_001.png"] and len(labels.images) == 6
    assert labels.left_out == {"xmls without an image": ["4_002.xml"]}


def test_fractions_negatives_and_boxes_without_width(made):
    truth, folder = made
    _, x0, y0, x1, y1 = truth["4_000.png"][0]
    change(folder, f"<xmin>{x0}</xmin>", "<xmin>-1.5</xmin>")
    change(folder, f"<xmax>{x1}</xmax>", "<xmax>20.25</xmax>")
    found = boxes_of(read(folder))["4_000.png"]
    assert any(box[1] == 0 and box[3] == 20.25 for box in found)
    change(folder, "<xmax>20.25</xmax>", "<xmax>-1.5</xmax>")
    assert sum(map(len, read(folder).left_out.values())) == 1


def test_classes_of_another_set(made):
    _, folder = made
    assert read(folder, ["bird", "dark", "light"]).classes == ["bird", "dark", "light"]
    with pytest.raises(UserError, match="has the class 'light'"):
        read(folder, ["dark"])


def test_some_images_alone(made):
    _, folder = made
    labels = read(folder, among=["4_003", "4_005"])
    assert [x["file_name"] for x in labels.images] == ["4_003.png", "4_005.png"]


def test_an_xml_that_declares_entities_is_refused(made):
    _, folder = made
    bomb = '<!DOCTYPE a [<!ENTITY b "cc">]><annotation>&b;</annotation>'
    (folder / "Annotations" / "4_000.xml").write_text(bomb)
    with pytest.raises(UserError, match="4_000.xml declares a document type"):
        read(folder)


def test_xmls_of_another_kind(made):
    _, folder = made
    (folder / "Annotations" / "4_000.xml").write_text("<svg/>")
    (folder / "Annotations" / "4_001.xml").write_text("<annotation>")
    assert sum(map(len, read(folder).left_out.values())) == 2
    for path in (folder / "Annotations").glob("*.xml"):
        path.write_text("<svg/>")
    with pytest.raises(UserError, match="no Pascal VOC xmls"):
        read(folder)
