"""What is to be labelled, by which classes and up to which mean; bad input is named before it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from labelling import SIZES, run_labelling
from sad.data.subset import choose_share
from sad.pseudo_labels.job import prepare
from sad.utils.errors import UserError


def test_nothing_is_labelled_where_no_image_can_be_read(scene, tmp_path):
    (tmp_path / "two").mkdir()
    for number in range(2):
        (tmp_path / "two" / f"{number}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"2 of 2 images cannot be read.*0\.png"):
        prepare(**{**scene, "image_root": str(tmp_path / "two"), "image_json": None})
    assert not Path(scene["output"].removesuffix(".json") + "_labelling").exists()


@pytest.mark.slow
@pytest.mark.parametrize("image_json", [True, False])
def test_images_that_are_labelled_are_not_labelled_again(scene, tmp_path, image_json):
    """By the labelled json's names for them below the image folder; nor are copies of these."""
    changes = {} if image_json else {"image_json": None}
    content = json.loads(Path(scene["labeled_json"]).read_text())
    content["images"][0]["file_name"] = "4.png"
    one = {**content, "images": content["images"][:1]}
    Path(scene["labeled_json"]).write_text(json.dumps(one))
    shutil.copy(tmp_path / "images" / "4.png", tmp_path / "images" / "7.png")
    pseudo_labels, report = run_labelling(scene, threshold=0.3, **changes)
    assert (report["images_listed"], report["images_left_out"]) == (7, 2)
    names = {image["file_name"] for image in pseudo_labels["images"]}
    assert names and not names & {"4.png", "7.png"}
    for image in content["images"]:
        image["file_name"] = f"{image['id'] - 10}.png"
    Path(scene["labeled_json"]).write_text(json.dumps(content))
    with pytest.raises(UserError, match="9 of 9 images of .* no unlabelled image is left"):
        prepare(**{**scene, **changes})
    labelled = {"image_json": scene["labeled_json"]}  # is itself to be labelled
    assert prepare(**{**scene, **labelled}).left_out == 0


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"image_root": "nowhere"}, "image folder nowhere does not exist"),
        ({"image_json": "nowhere.json"}, "nowhere.json cannot be opened"),
        ({"weights": "nowhere.pth"}, "weights nowhere.pth do not exist"),
        ({"config_file": "nowhere.yaml"}, "nowhere.yaml"),
        ({"labeled_json": None}, "no labelled set is given"),
        ({"opts": ["MODEL.RETINANET.NUM_CLASSES", "3"]}, "of another shape"),
        ({"class_names": ["square", "circle"]}, "in another order, the first of them 'circle'"),
    ],
)
def test_bad_input_is_named_before_inference(scene, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        prepare(**{**scene, **changes})


@pytest.mark.slow
def test_bad_files_are_named_before_inference(scene, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in .*empty"):
        prepare(**{**scene, "image_root": str(tmp_path / "empty"), "image_json": None})
    with pytest.raises(UserError, match="9 of 9 images cannot be read.*no such file"):
        prepare(**{**scene, "image_root": str(tmp_path / "empty")})
    whole = Path(scene["labeled_json"]).read_text()
    Path(scene["labeled_json"]).write_text(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="labeled.json is no whole json"):
        prepare(**scene)
    other = {**json.loads(whole), "categories": [{"id": 2, "name": "a"}, {"id": 5, "name": "b"}]}
    Path(scene["labeled_json"]).write_text(json.dumps(other))
    (tmp_path / "annotated.json").write_text(whole)
    with pytest.raises(UserError, match="the teacher and .*labeled.json have other classes.*'a'"):
        prepare(**scene)
    Path(scene["labeled_json"]).write_text(whole)
    (tmp_path / "annotated.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match="the teacher and .*annotated.json have other classes"):
        prepare(**{**scene, "image_json": str(tmp_path / "annotated.json")})
    Path(scene["labeled_json"]).write_text(json.dumps({**json.loads(whole), "annotations": []}))
    with pytest.raises(UserError, match="no boxes to calibrate .* with: there are no annotations"):
        prepare(**scene)


@pytest.mark.slow
def test_classes_are_those_of_the_teacher_whatever_ids_the_labels_have(scene, tmp_path):
    """A json that was exported anew, with other ids: the names decide, as training has them."""
    before, _ = run_labelling(scene)
    labeled = json.loads(Path(scene["labeled_json"]).read_text())
    labeled["categories"] = [{"id": 1, "name": "square"}, {"id": 2, "name": "circle"}]
    for annotation in labeled["annotations"]:
        annotation["category_id"] = 1
    (tmp_path / "anew.json").write_text(json.dumps(labeled))
    after, _ = run_labelling(scene, labeled_json=str(tmp_path / "anew.json"))

    def named(coco):
        names = {category["id"]: category["name"] for category in coco["categories"]}
        return [(a["bbox"], names[a["category_id"]]) for a in coco["annotations"]]

    assert named(after) == named(before)
    assert after["categories"] == labeled["categories"][::-1]  # circle, square


@pytest.mark.slow
def test_weights_that_do_not_name_their_classes(scene, tmp_path):
    before, _ = run_labelling(scene)
    content = torch.load(scene["weights"])
    del content["class_names"]
    torch.save(content, scene["weights"])
    with pytest.raises(UserError, match="do not name their classes: give --class-names"):
        prepare(**scene)
    with pytest.raises(UserError, match="3 class names for 2 classes"):
        prepare(**scene, class_names=["a", "b", "c"])
    for names in (["circle", "square"], [scene["labeled_json"]]):
        after, _ = run_labelling(scene, class_names=names)
        assert after["annotations"] == before["annotations"]
    with pytest.raises(UserError, match="the teacher and .*labeled.json have other classes"):
        prepare(**scene, class_names=["circle", "triangle"])


@pytest.mark.slow
def test_names_of_the_weights_are_enough(scene):
    """A folder and a threshold by hand: no json says the classes."""
    coco, _ = run_labelling(scene, image_json=None, labeled_json=None, threshold=0.6)
    assert coco["categories"] == [{"id": 1, "name": "circle"}, {"id": 2, "name": "square"}]


def test_the_mean_is_that_of_the_share_of_the_labels_that_is_used(scene):
    """DATASETS.LABELED_SHARE with a registered labelled set."""
    job = prepare(**scene, labeled_share=(0.34, 5))
    labels = json.loads(Path(scene["labeled_json"]).read_text())
    chosen = {image["id"] for image in choose_share(labels["images"], 0.34, 5, key="id")}
    assert job.calibration["labeled_images"] == len(chosen) == 3
    count = sum(label["image_id"] in chosen for label in labels["annotations"])
    assert job.calibration["labeled_instances"] == count
    assert job.calibration["target_mean"] == count / 3


def test_a_folder_of_somebody_else_is_left_alone(scene):
    """The detections go to <output>_labelling, which may be where the user's images are."""
    folder = Path(scene["output"].removesuffix(".json") + "_labelling")
    folder.mkdir(parents=True)
    (folder / "images.npy").write_bytes(b"of an interrupted run")
    (folder / "cells.png").write_bytes(b"the user's")
    with pytest.raises(UserError, match="_labelling.*holds cells.png"):
        prepare(**scene)
    assert (folder / "cells.png").read_bytes() == b"the user's"
    (folder / "cells.png").unlink()
    assert len(prepare(**scene).images) == len(SIZES)
