"""From detections to the json of pseudo-labels and its report."""

import json
from pathlib import Path

import pytest

from labelling import CATEGORIES, run_labelling
from sad.modeling.build import load_detector
from sad.pseudo_labels.job import prepare
from sad.pseudo_labels.merge import merge_shards
from sad.pseudo_labels.runner import label_shards, plan_shards
from sad.utils.errors import UserError


@pytest.mark.slow
def test_pseudo_labels_are_calibrated_and_reported(scene):
    coco, report = run_labelling(scene)
    assert coco["categories"] == CATEGORIES
    assert report["calibration"] == {
        "threshold": None,
        "target_mean": 24 / 9,  # over all images of the json, the last one has no label
        "labeled_json": scene["labeled_json"],
        "labeled_images": 9,
        "labeled_instances": 24,
    }
    assert report["detections"] > 3 * 24  # there was something to choose from
    assert len(coco["annotations"]) == report["instances"] == 24
    assert min(a["score"] for a in coco["annotations"]) == report["threshold"]
    assert {a["image_id"] for a in coco["annotations"]} == {i["id"] for i in coco["images"]}
    assert report["images_kept"] == len(coco["images"])
    assert report["images_kept"] + report["images_dropped"] == 9
    assert sum(report["instances_per_class"].values()) == 24
    assert sum(report["score_histogram"]["counts"]) == report["detections"]
    assert report["precision_recall_at_iou_0.5"] is None
    assert len(coco["info"]["teacher_weights_sha256"]) == 64
    sizes = {image["id"]: (image["width"], image["height"]) for image in coco["images"]}
    for a in coco["annotations"]:
        x, y, width, height = a["bbox"]
        image_width, image_height = sizes[a["image_id"]]
        assert x >= 0 and y >= 0 and width > 0 and height > 0
        assert x + width <= image_width + 1e-6 and y + height <= image_height + 1e-6


@pytest.mark.slow
def test_thresholds_by_class(scene, tmp_path):
    """What one threshold for all keeps, sorted by hand; the cap is that of the lowest one."""
    everything, _ = run_labelling(scene, threshold=0.06)
    scores = {2: [], 5: []}
    for box in everything["annotations"]:
        scores[box["category_id"]].append(box["score"])
    of_class = {2: sorted(scores[2])[len(scores[2]) // 2], 5: sorted(scores[5])[-3]}
    wanted = {"circle": of_class[2], "square": of_class[5]}
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps(dict(reversed(wanted.items()))))
    coco, report = run_labelling(scene, class_thresholds=str(file))
    kept = [
        {**box, "id": 0}
        for box in everything["annotations"]
        if box["score"] >= of_class[box["category_id"]]
    ]
    assert [{**box, "id": 0} for box in coco["annotations"]] == kept
    assert {box["category_id"] for box in kept} == {2, 5}
    assert 0 < len(kept) < len(everything["annotations"])
    assert report["threshold"] == coco["info"]["threshold"] == wanted
    calibration = {"threshold": wanted, "target_mean": None, "class_thresholds": str(file)}
    assert report["calibration"] == coco["info"]["calibration"] == calibration
    assert report["warnings"] == []
    file.write_text('{"circle": 1.0, "square": 0.05}')
    _, report = run_labelling(scene, class_thresholds=str(file))
    floor, cap = report["warnings"]
    assert "the threshold 0.05 is not above the teacher's score floor" in floor
    assert report["images_cut_by_cap"] == report["images_at_cap"] > 0 and "hit the cap" in cap
    file.write_text('{"circle": 1.0, "square": 1.0}')
    with pytest.raises(UserError, match=f"--class-thresholds {file} keeps none"):
        run_labelling(scene, class_thresholds=str(file))


@pytest.mark.slow
def test_too_few_detections_and_the_cap_are_said(scene):
    opts = ["MODEL.RETINANET.SCORE_THRESH_TEST", "0.5", "TEST.DETECTIONS_PER_IMAGE", "4"]
    coco, report = run_labelling(scene, labeled_json=None, target_mean=50.0, opts=opts)
    assert report["instances"] == report["detections"] == len(coco["annotations"])
    under_floor, cap = report["warnings"]
    assert "under the teacher's score floor 0.5" in under_floor
    assert f"{report['images_cut_by_cap']} images hit the cap of 4" in cap
    assert report["images_at_cap"] == report["images_cut_by_cap"] > 0
    _, report = run_labelling(scene, threshold=0.3, opts=opts)
    assert "not above the teacher's score floor" in report["warnings"][0]
    # A cap that cuts below the threshold does no harm.
    opts = ["TEST.DETECTIONS_PER_IMAGE", "30"]
    _, report = run_labelling(scene, target_mean=1.0, opts=opts)
    assert report["images_at_cap"] > 0 and report["images_cut_by_cap"] == 0
    assert report["warnings"] == []


@pytest.mark.slow
def test_a_teacher_that_finds_nothing(scene):
    with pytest.raises(UserError, match="finds nothing above its score floor 0.9999"):
        run_labelling(scene, opts=["MODEL.RETINANET.SCORE_THRESH_TEST", "0.9999"])
    with pytest.raises(UserError, match="--threshold 1.0 keeps none"):
        run_labelling(scene, threshold=1.0)


def test_a_missing_shard_is_named(scene):
    job = prepare(**scene)
    model, cfg = load_detector(job.config_file, job.weights, "cpu")
    shards = plan_shards(model, cfg, job)
    label_shards(model, cfg, job, shards)
    (Path(job.shards) / "shard_1.npz").unlink()
    with pytest.raises(UserError, match="shard_1.npz is missing: .* all machines share"):
        merge_shards(job, cfg, len(shards))
    assert not Path(scene["output"]).exists()
