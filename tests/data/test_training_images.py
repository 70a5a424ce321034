"""Which labelled and unlabelled images a run trains on, and which sets it refuses."""

import pytest

from sad.data.loader import build_mixed_loader
from sad.utils.errors import UserError
from samples import loaded


def test_images_without_ground_truth_are_left_out(toy, register):
    content = toy.json("labeled.json")
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 10]
    register("labeled_with_empty", content)
    cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("labeled_with_empty",))
    assert len(build_mixed_loader(cfg).dataset) == 5
    cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("labeled_with_empty",),
                  "DATALOADER.FILTER_EMPTY_ANNOTATIONS", False)  # fmt: skip
    assert len(build_mixed_loader(cfg).dataset) == 6


def test_images_whose_annotations_cannot_be_used_are_no_negatives(toy, register, log):
    content = toy.json("labeled.json")
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 60]
    for annotation in content["annotations"]:
        annotation["iscrowd"] = int(annotation["image_id"] == 10)
        if annotation["image_id"] == 20:
            annotation["bbox"][2] = 0
    register("odd_labels", content)
    for filters, image_ids in ((True, {30, 40, 50}), (False, {30, 40, 50, 60})):
        cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("odd_labels",),
                      "DATALOADER.FILTER_EMPTY_ANNOTATIONS", filters)  # fmt: skip
        dataset = build_mixed_loader(cfg).dataset
        assert {image["image_id"] for image in dataset.items} == image_ids
    assert sum("2 of 6 labelled images" in message for message in log) == 2
    assert sum("1 of 6 labelled images" in message for message in log) == 2


def test_instances_of_each_class_are_said(toy, register, log):
    content = toy.json("labeled.json")
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 2]
    register("light_alone", content)
    build_mixed_loader(toy.cfg("SAD.yaml", "DATASETS.TRAIN", ("light_alone",)))
    tables = [message.splitlines() for message in log if "Distribution of instances" in message]
    assert [table[-3].split() for table in tables] == [["light", "6"], ["light", "5"]]
    assert [table[-2].split() for table in tables] == [["dark", "0"], ["dark", "5"]]
    (warning,) = (message for message in log if "1 of 2 classes are without any" in message)
    assert "training labels: dark" in warning


def test_classes_of_two_sets_differ(toy, register):
    content = toy.json("pseudo_labels.json")
    content["categories"][1]["name"] = "gray"
    register("other_classes", content)
    with pytest.raises(UserError) as error:
        build_mixed_loader(toy.cfg("SAD.yaml", "DATASETS.UNLABELED", ("other_classes",)))
    for part in ("toy_labeled", "other_classes", "'dark'", "'gray'"):
        assert part in str(error.value)


def test_classes_of_two_labeled_sets_differ(toy, register):
    content = toy.json("labeled.json")
    content["categories"][1]["name"] = "gray"
    register("other_classes", content)
    cfg = toy.cfg("student.yaml", "DATASETS.TRAIN", ("toy_labeled", "other_classes"))
    with pytest.raises(UserError, match="other_classes.*'gray'"):
        build_mixed_loader(cfg)


def test_number_of_classes(toy):
    with pytest.raises(UserError, match=r"NUM_CLASSES is 3, it must be 2: data set toy_labeled"):
        build_mixed_loader(toy.cfg("SAD.yaml", "MODEL.RETINANET.NUM_CLASSES", 3))


def test_pseudo_labels_without_boxes(toy):
    with pytest.raises(UserError, match=r"hard targets.*toy_unlabeled.*label_unlabeled\.py"):
        build_mixed_loader(toy.cfg("SAD.yaml", "DATASETS.UNLABELED", ("toy_unlabeled",)))


def test_pseudo_labels_without_boxes_are_left_out_as_labelled_images_are(toy, register, log):
    content = toy.json("pseudo_labels.json")
    first = content["images"][0]["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != first]
    register("some_empty", content, images="unlabeled")
    numbers = []
    for opts in (
        (),
        ("DATALOADER.FILTER_EMPTY_ANNOTATIONS", False),
        ("SAD.TARGETS.UNLABELED", ("soft",)),
    ):
        cfg = toy.cfg("SAD.yaml", "DATASETS.UNLABELED", ("some_empty",), *opts)
        numbers.append(build_mixed_loader(cfg).batch_sampler.num_unlabeled)
    assert numbers == [4, 6, 6]  # another has none from the start
    assert sum("unlabelled images (some_empty) have no box" in line for line in log) == 2


def test_soft_targets_need_no_boxes(toy):
    cfg = toy.cfg("SAD.yaml", "DATASETS.UNLABELED", ("toy_unlabeled",),
                  "SAD.TARGETS.UNLABELED", ("soft",), "SAD.LOADER.MIX", "union")  # fmt: skip
    samples = [sample for batch in loaded(cfg, 6) for sample in batch]
    by_origin = {sample["origin"]: sample for sample in samples}
    assert by_origin["unlabeled"]["hard_targets"] is False
    assert by_origin["unlabeled"]["soft_targets"] is True
    assert by_origin["labeled"]["hard_targets"] is True


def test_no_labeled_set(toy):
    with pytest.raises(UserError, match=r"DATASETS\.TRAIN"):
        build_mixed_loader(toy.cfg("student.yaml", "DATASETS.TRAIN", ()))


def test_labeled_set_without_a_single_box(toy, register):
    register("no_boxes", {**toy.json("labeled.json"), "annotations": []})
    with pytest.raises(UserError, match="no_boxes"):
        build_mixed_loader(toy.cfg("student.yaml", "DATASETS.TRAIN", ("no_boxes",)))
