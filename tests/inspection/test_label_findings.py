"""Planted faults of labels are found, and good labels are not complained of."""

from anchor_problem import network
from planted import noise, write_set
from sad.inspection.examine import examine
from sad.inspection.label_findings import label_findings


def found(seen) -> dict:
    """{what: [(level, where), ...]}."""
    by_what = {}
    for finding in label_findings(seen):
        by_what.setdefault(finding.what, []).append((finding.level, finding.where))
    return by_what


def test_planted_faults(seen):
    by_what = found(seen)
    assert by_what.pop("anchors")
    assert by_what == {
        "left_out": [("warning", ["2.xml"])],
        "mended": [("info", ["0.xml", "1.xml"])],
        "not_trained": [("warning", ["bird"])],
        "single_box": [("warning", ["fish"])],
        "not_tested": [("info", ["fish"])],
        "repeated_boxes": [("warning", ["train: twice.png"])],
        "two_classes": [("warning", ["train: both.png"])],
        "whole_image": [("warning", ["train: whole.png"])],
        "tiny_boxes": [("info", ["train: tiny.png"])],
        "negatives": [("info", ["train: empty.png"])],
        "crowds": [("info", [])],
    }


def good(count=12, more=()) -> dict:
    boxes = [("cat", 10, 10, 30, 20), ("dog", 50, 20, 24, 36), *more]
    return {f"{number}.png": (noise(number), boxes) for number in range(count)}


def test_good_labels(tmp_path):
    classes = ["cat", "dog"]
    sets = {
        "train": write_set(tmp_path, "train", good(), classes),
        "val": write_set(tmp_path, "val", good(), classes),
    }
    assert found(examine(sets)) == {}
    assert found(examine(sets, (), network()[0])) == {"anchors": [("good", [])]}


def test_classes(tmp_path):
    classes = ["cat", "dog", "Dog ", "few", "none"]
    content = good(60) | {"few.png": (noise(99), [("few", 1, 1, 20, 20)])}
    content |= {"few2.png": (noise(98), [("few", 1, 1, 20, 20)])}
    content = {name: (image, [b for b in boxes if b[0] != "cat"]) for name, (image, boxes)
               in content.items()}  # fmt: skip
    content |= {f"c{i}.png": (noise(200 + i), [("cat", 1, 1, 20, 20)] * 2) for i in range(60)}
    by_what = found(examine({"train": write_set(tmp_path, "train", content, classes)}))
    assert by_what["empty_class"] == [("warning", ["Dog ", "none"])]
    assert by_what["same_names"] == [("warning", ["'dog' = 'Dog '"])]
    assert by_what["rare_class"] == [("info", ["few"])]
    assert by_what["uneven_classes"] == [("info", [])]  # 120 cats, 2 few
    assert "not_tested" not in by_what and "single_box" not in by_what


def test_names_of_other_scripts_are_not_the_same(tmp_path):
    sets = {"train": write_set(tmp_path, "train", good(), ["cat", "dog", "+", "-"])}
    assert "same_names" not in found(examine(sets))


def test_many_tiny_boxes_are_a_warning(tmp_path):
    sets = {"train": write_set(tmp_path, "train", good(more=[("cat", 1, 1, 5, 5)]), ["cat", "dog"])}
    (level, where), *_ = found(examine(sets))["tiny_boxes"]
    assert level == "warning" and len(where) == 12
    cfg, _ = network()  # 5 pixels become 13
    assert "tiny_boxes" not in found(examine(sets, (), cfg))


def test_no_boxes_at_all(tmp_path):
    content = {"a.png": (noise(0), []), "b.png": (noise(1), [("crowd cat", 1, 1, 9, 9)])}
    by_what = found(examine({"train": write_set(tmp_path, "train", content)}, (), network()[0]))
    assert by_what["no_boxes"] == [("warning", [])]
    assert "anchors" not in by_what and "negatives" not in by_what


def test_mostly_negatives(tmp_path):
    content = good(2) | {f"n{i}.png": (noise(50 + i), []) for i in range(3)}
    by_what = found(examine({"train": write_set(tmp_path, "train", content)}))
    assert by_what["negatives"] == [("warning", [f"train: n{i}.png" for i in range(3)])]


def test_anchors_that_do_not_fit(tmp_path):
    sets = {"train": write_set(tmp_path, "train", good(), ["cat", "dog"])}
    cfg, _ = network("MODEL.ANCHOR_GENERATOR.SIZES", [[8], [9], [10]])
    (finding,) = (x for x in label_findings(examine(sets, (), cfg)) if x.what == "anchors")
    assert finding.level == "warning" and "MODEL.ANCHOR_GENERATOR.SIZES" in finding.text
