"""AP of re-weighted test sets is pycocotools' of sets with the images repeated; the intervals."""

import json
from copy import deepcopy

import numpy as np
import pytest

from sad.evaluation.bootstrap import match_detections, paired_bootstrap, weighted_ap
from sad.study.benchmarks.evaluation import by_pycocotools, index, make_set
from sad.utils.errors import UserError

IMAGES = 12


def problem(ties: bool, seed=0):
    """Labels with crowds and two classes without any, and detections."""
    content, detections = make_set(IMAGES, num_classes=5, seed=seed)
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] not in (2, 5)]
    for number, label in enumerate(content["annotations"], start=1):
        label.update(id=number, iscrowd=int(number % 4 == 0))
    detections = [d for d in detections if d["category_id"] != 5 and d["image_id"] != 3]
    rng = np.random.default_rng(seed)
    for detection in detections:
        detection["score"] = round(detection["score"], 1) if ties else float(rng.random())
    return content, detections


def mean_ap(content, detections, copies):
    matches = match_detections(index(content), deepcopy(detections))
    ap = weighted_ap(matches, np.array([copies]))[0]
    return np.nanmean(ap), np.nanmean(ap[0]), np.nanmean(ap, axis=0)


def repeated(content, detections, copies):
    """The set with each image as often as said, all with ids of their own."""
    images, labels, found = [], [], []
    for image, times in zip(content["images"], copies, strict=True):
        for copy in range(times):
            new = {"image_id": 100 * image["id"] + copy}
            images.append({**image, "id": new["image_id"]})
            labels += [a | new for a in content["annotations"] if a["image_id"] == image["id"]]
            found += [d | new for d in detections if d["image_id"] == image["id"]]
    labels = [label | {"id": number} for number, label in enumerate(labels, start=1)]
    return {**content, "images": images, "annotations": labels}, found


def reference(content, detections):
    found = by_pycocotools(index(deepcopy(content)), deepcopy(detections))
    precision = np.where(found.eval["precision"] < 0, np.nan, found.eval["precision"])
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        of_class = np.nanmean(precision[..., 0, 2], axis=(0, 1))
    return found.stats[0], found.stats[1], of_class


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("ties", [False, True])
def test_ap_of_the_whole_set_is_pycocotools(ties):
    content, detections = problem(ties)
    found, expected = mean_ap(content, detections, [1] * IMAGES), reference(content, detections)
    assert 0 < expected[0] < expected[1] and np.isnan(expected[2]).sum() == 2
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("seed", range(4))
def test_ap_of_copies_is_pycocotools_of_a_set_that_holds_them(seed):
    content, detections = problem(False, seed)
    copies = np.random.default_rng(seed).multinomial(IMAGES, [1 / IMAGES] * IMAGES)
    copies[np.flatnonzero(copies)[0]] += 3
    found = mean_ap(content, detections, copies)
    for value, wanted in zip(found, reference(*repeated(content, detections, copies)), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)


def test_more_detections_than_coco_counts():
    content, detections = problem(False)
    crowded = [d | {"image_id": 1, "category_id": 1} for d in detections]
    assert len(crowded) > 500
    found = by_pycocotools(index(deepcopy(content)), deepcopy(crowded)).stats[0]
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        assert mean_ap(content, crowded, [1] * IMAGES)[0] == pytest.approx(found, abs=1e-12)


def test_sets_without_detections_objects_or_a_class():
    content, detections = problem(False)
    nothing = weighted_ap(match_detections(index(content), []), np.ones((1, IMAGES), int))
    assert nothing.shape == (1, 10, 5)
    assert np.isnan(nothing[:, :, [1, 4]]).all() and (nothing[:, :, [0, 2, 3]] == 0).all()
    matches = match_detections(index(content), deepcopy(detections))
    assert np.isnan(weighted_ap(matches, np.zeros((1, IMAGES), int))).all()
    with_class = {a["image_id"] for a in content["annotations"] if a["category_id"] == 1}
    copies = np.array([[image["id"] not in with_class for image in content["images"]]], int)
    assert copies.sum() and np.isnan(weighted_ap(matches, copies)[0, :, 0]).all()


@pytest.fixture
def files(tmp_path):
    """A function that writes truth and detections of a good, a spoilt and a silent model."""
    content, good = problem(True)
    rng = np.random.default_rng(0)
    bad = deepcopy(good)
    for detection in bad:
        detection["bbox"] = [value * rng.normal(1, 0.3) for value in detection["bbox"]]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    for name, boxes in {"good": good, "bad": bad, "silent": []}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(boxes))
    return tmp_path


def bootstrap(files, names, pairs, **options):
    detections = {name: str(files / f"{name}.json") for name in names}
    return paired_bootstrap(str(files / "truth.json"), detections, pairs, **options)


@pytest.mark.slow
def test_interval_is_that_of_sets_drawn_one_by_one(files):
    found = bootstrap(files, ("good", "bad"), [("good", "bad"), ("bad", "good")])
    content = json.loads((files / "truth.json").read_text())
    rng = np.random.default_rng(5)
    drawn = [np.bincount(rng.integers(IMAGES, size=IMAGES), minlength=IMAGES) for _ in range(3000)]
    ap = {}
    for name in ("good", "bad"):
        boxes = json.loads((files / f"{name}.json").read_text())
        expected = by_pycocotools(index(deepcopy(content)), deepcopy(boxes)).stats[:2]
        assert list(found["arms"][name].values()) == pytest.approx(100 * expected, abs=1e-9)
        ap[name] = weighted_ap(match_detections(index(content), boxes), np.array(drawn))
    for metric, kept in (("AP", slice(None)), ("AP50", slice(1))):
        difference = found["differences"][0][metric]
        of_sets = [100 * np.nanmean(ap[name][:, kept], axis=(1, 2)) for name in ("good", "bad")]
        low, high = np.percentile(of_sets[0] - of_sets[1], [2.5, 97.5])
        assert difference["low"] == pytest.approx(low, abs=0.1 * (high - low))
        assert difference["high"] == pytest.approx(high, abs=0.1 * (high - low))
        back = found["differences"][1][metric]
        wanted = {"difference": -difference["difference"]}
        wanted |= {"low": -difference["high"], "high": -difference["low"]}
        assert back == pytest.approx(wanted, abs=1e-9)
    assert 0 < found["differences"][0]["AP"]["low"]


def test_pairs_meet_the_same_resamples_and_a_seed_is_repeated(files):
    same = bootstrap(files, ("good",), [("good", "good")], resamples=50)["differences"]
    assert same == [dict.fromkeys(("AP", "AP50"), {"difference": 0, "low": 0, "high": 0})]
    of_seed = [
        bootstrap(files, ("good", "silent"), [("good", "silent")], resamples=50, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert of_seed[0] == of_seed[1] != of_seed[2]
    assert of_seed[0]["arms"]["silent"] == {"AP": 0, "AP50": 0}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "bad.json cannot be read"),
        ("[{", "bad.json cannot be read"),
        ('{"annotations": []}', "bad.json holds .* no detection"),
        ("[3]", "bad.json holds 3, no detection"),
        (
            '[{"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]',
            "bad.json is of other images, such as 99",
        ),
    ],
)
def test_detections_that_are_none_are_named(files, content, sentence):
    (files / "bad.json").unlink()
    if content:
        (files / "bad.json").write_text(content)
    with pytest.raises(UserError, match=f"{sentence}.*evaluate the run again"):
        bootstrap(files, ("good", "bad"), [("good", "bad")])


def test_truth_without_boxes_is_named(files):
    content = json.loads((files / "truth.json").read_text())
    for annotations in ([], [a | {"iscrowd": 1} for a in content["annotations"]]):
        (files / "truth.json").write_text(json.dumps({**content, "annotations": annotations}))
        with pytest.raises(UserError, match="truth.json has no boxes"):
            bootstrap(files, ("good",), [])
