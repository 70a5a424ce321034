"""Each oddity of an xml by itself; whole sets are in test_read.py."""

import pytest

import layouts_made as made
from layouts_made import xml_object, xml_of
from sad.layouts.read import read_labels
from sad.utils.errors import UserError

BOX = xml_object("cat", 1, 2, 11, 22)


@pytest.fixture
def read(tmp_path):
    """A function that reads xmls by their names, over images a.jpg and b.jpg of 40 x 30."""
    for name in ("a.jpg", "b.jpg"):
        made.save(tmp_path / "JPEGImages" / name, (40, 30), [])

    def write_and_read(classes=None, **xmls):
        folder = tmp_path / "Annotations"
        folder.mkdir(exist_ok=True)
        for name, text in xmls.items():
            data = text if isinstance(text, bytes) else text.encode()
            (folder / f"{name}.xml").write_bytes(data)
        return read_labels(str(folder), classes=classes)

    return write_and_read


def test_coordinates_are_taken_as_they_are(read):
    objects = BOX + xml_object("dog", 0, 0.5, 40, 30)
    assert made.as_read(read(a=xml_of("a.jpg", (40, 30), objects)))[0] == {
        "a.jpg": [("cat", 1, 2, 11, 22), ("dog", 0, 0.5, 40, 30)]
    }


def test_the_xml_s_own_name_goes_before_its_filename(read):
    labels = read(a=xml_of("b.jpg", (40, 30), BOX), b=xml_of("", (40, 30), ""))
    assert made.as_read(labels)[0] == {"a.jpg": [("cat", 1, 2, 11, 22)], "b.jpg": []}
    assert [*labels.mended.values()] == [["a.xml"]]


def test_the_filename_decides_where_no_image_has_the_xml_s_name(read):
    labels = read(label_7=xml_of("b.jpg", (40, 30), BOX))
    assert list(made.as_read(labels)[0]) == ["b.jpg"] and labels.unlabeled == ["a.jpg"]


def test_an_xml_takes_no_image_that_another_xml_is_called_after(read):
    few, more = xml_of("b.jpg", (40, 30), ""), xml_of("b.jpg", (40, 30), BOX)
    labels = read(a_7=few, b=more)
    assert made.as_read(labels)[0] == {"b.jpg": [("cat", 1, 2, 11, 22)]}
    assert [*labels.left_out.values()] == [["b.jpg"]]


def test_difficult_objects_are_crowds(read):
    objects = BOX + "".join(
        xml_object("cat", n, 5, n + 9, 20, difficult=x)
        for n, x in enumerate((1, 0, "true", "", "Unspecified"))
    )
    crowds = [x["iscrowd"] for x in read(a=xml_of("a.jpg", (40, 30), objects)).annotations]
    assert crowds == [0, 1, 0, 1, 0, 0]


def test_parts_of_an_object_are_none(read):
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    labels = read(a=xml_of("a.jpg", (40, 30), BOX.replace("</object>", part)))
    assert labels.classes == ["cat"] and len(labels.annotations) == 1


def test_classes_are_the_names_that_occur_also_where_all_their_boxes_are_left_out(read):
    objects = BOX + xml_object("ant", 5, 5, 5, 9) + xml_object(" bee ", 5, 5, 8, 9)
    assert read(a=xml_of("a.jpg", (40, 30), objects)).classes == ["ant", "bee", "cat"]


def test_xmls_of_utf_16_and_with_a_namesake_s_encoding_are_read(read):
    text = '<?xml version="1.0" encoding="UTF-16"?>' + xml_of("a.jpg", (40, 30), BOX)
    latin = '<?xml version="1.0" encoding="ISO-8859-1"?>' + xml_of(
        "ä.jpg", (40, 30), BOX.replace("cat", "bär")
    )
    labels = read(a=text.encode("utf-16"), b=latin.encode("latin-1"))
    assert labels.classes == ["bär", "cat"] and len(labels.annotations) == 2


def test_declarations_are_refused_in_any_encoding(read):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + xml_of(
        "a.jpg", (40, 30), BOX.replace("cat", "&b;")
    )
    for data in (bomb.encode(), bomb.encode("utf-16")):
        with pytest.raises(UserError, match="document type"):
            read(a=data)


def test_broken_and_foreign_xmls_are_left_out_unless_all_are(read):
    good = xml_of("a.jpg", (40, 30), BOX)
    labels = read(a=good, b="<annotation>", c="<annotations/>", d="", e=b"\xff\xff")
    assert len(labels.annotations) == 1 and [len(x) for x in labels.left_out.values()] == [4]
    with pytest.raises(UserError, match="<annotations>"):
        read(a="<annotations/>", b="<annotations/>", c="<x/>")


def test_two_xmls_of_one_image_are_not_added_up(read):
    labels = read(a=xml_of("a.jpg", (40, 30), BOX), x=xml_of("a.jpg", (40, 30), BOX + BOX))
    assert len(labels.annotations) == 1 and [*labels.left_out.values()] == [["a.jpg"]]


def test_sets_without_an_object_or_with_another_s_class_are_refused(read):
    with pytest.raises(UserError, match="no object"):
        read(a=xml_of("a.jpg", (40, 30), ""))
    with pytest.raises(UserError, match="'cat'"):
        read(a=xml_of("a.jpg", (40, 30), BOX), classes=["dog"])
    labels = read(a=xml_of("a.jpg", (40, 30), BOX), classes=["dog", "cat"])
    assert labels.annotations[0]["category_id"] == 2
