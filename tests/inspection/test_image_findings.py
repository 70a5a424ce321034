"""Planted faults of images are found, and good images are not complained of."""

from planted import noise, write_set
from sad.inspection.examine import examine
from sad.inspection.image_findings import image_findings


def found(seen) -> dict:
    """{what: [(level, names of where), ...]}."""
    by_what = {}
    for finding in image_findings(seen):
        by_what.setdefault(finding.what, []).append((finding.level, finding.where))
    return by_what


def test_planted_faults(seen):
    by_what = found(seen)
    assert set(by_what) == {
        *("unreadable", "leak", "labeled_among_unlabeled", "alike", "few_unlabeled"),
    }
    ((level, where),) = by_what["unreadable"]
    assert level == "warning" and len(where) == 2
    assert where[0].startswith("train: absent.png (") and "u3.png (" in where[1]
    assert by_what["leak"] == [("warning", ["train: 3.png = val: v1.jpg"])]
    ((level, where),) = by_what["labeled_among_unlabeled"]
    assert level == "warning" and len(where) == 1
    assert where[0].startswith("train: 5.png = unlabeled: ") and where[0].endswith("u1.png")
    assert by_what["alike"] == [("info", ["train: same.png = train: same.jpg"])]


def test_good_images(tmp_path):
    sets = {}
    for first, name in ((0, "train"), (10, "val"), (20, "test")):
        content = {f"{seed}.png": (noise(seed), []) for seed in range(first, first + 3)}
        sets[name] = write_set(tmp_path, name, content)
    unlabeled = []
    for number in range(5):
        unlabeled.append(str(tmp_path / f"{number}.png"))
        noise(100 + number).save(unlabeled[-1])
    assert found(examine(sets, unlabeled)) == {}


def test_a_leak_is_named_for_each_pair_of_sets(tmp_path):
    same = {"x.png": (noise(1), [])}
    sets = {name: write_set(tmp_path, name, same) for name in ("train", "val", "test")}
    leaks = found(examine(sets))["leak"]
    names = [("train", "val"), ("train", "test"), ("val", "test")]
    assert leaks == [("warning", [" = ".join(f"{x}: x.png" for x in pair)]) for pair in names]


def test_unlabeled_images_of_another_size(tmp_path):
    sets = {"train": write_set(tmp_path, "train", {"a.png": (noise(1), [])})}
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for factor, expected in ((1.5, False), (3, True)):
        for number, path in enumerate(paths):
            noise(5 + number, round(96 * factor), round(64 * factor)).save(path)
        assert ("other_size" in found(examine(sets, paths))) == expected


def test_a_camera_that_stands_still(tmp_path):
    sets = {"train": write_set(tmp_path, "train", {"a.png": (noise(1), [])})}
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for path in paths:
        noise(1).save(path)
    (finding,) = (
        x for x in image_findings(examine(sets, paths)) if x.what == "labeled_among_unlabeled"
    )
    assert "camera" in finding.text and finding.text.startswith("3 of 3 ")
    noise(2).save(paths[0])
    noise(1).save(paths[1], optimize=True)  # other bytes
    (finding,) = (
        x
        for x in image_findings(examine(sets, paths, fixed_camera=True))
        if x.what == "labeled_among_unlabeled"
    )
    assert finding.text.startswith("1 of 3 ")
