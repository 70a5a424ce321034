"""What the teacher finds, against its own forward pass image by image."""

import numpy as np
import pytest
import torch

from sad.calibration.teacher_boxes import find_boxes
from sad.data.mapper import ReadingMapper
from sad.modeling.build import load_detector
from sad.pseudo_labels.detections import scores
from sad.pseudo_labels.views import NO_OTHERS, Views
from sad.utils.errors import UserError


@pytest.fixture(scope="module")
def teacher(teacher_files):
    return load(teacher_files, 0.3)


def load(teacher_files, floor: float):
    files = teacher_files["teacher_config"], teacher_files["teacher_weights"]
    return load_detector(*files, "cpu", ["MODEL.RETINANET.SCORE_THRESH_TEST", floor])


def images(toy) -> list[dict]:
    entries = toy.json("image_info.json")["images"]
    folder = toy.root / "unlabeled"
    return [{**entry, "file_name": str(folder / entry["file_name"])} for entry in entries]


def test_boxes_and_averaged_maps(toy, teacher):
    model, cfg = teacher
    found = find_boxes(model, cfg, images(toy), 4, NO_OTHERS, "images")
    assert not found.unreadable and len(found.images) == 6
    mapper = ReadingMapper(cfg, is_train=False)
    for position, image in enumerate(images(toy)):
        item = mapper(image)
        with torch.no_grad():
            (alone,) = model([item])
            maps = model.backbone(model.preprocess_image([item]).tensor)
        own = found.detections[found.detections["image"] == position]
        alone = alone["instances"]  # of which labelling drops slivers at the border
        expected = alone.scores[alone.pred_boxes.nonempty(threshold=0.02)].numpy()
        assert len(own) == len(expected) > 0
        assert np.abs(np.sort(scores(own)) - np.sort(expected)).max() < 1e-5
        assert (np.diff(scores(own)) <= 0).all()
        means = torch.cat([level.mean((2, 3))[0] for level in maps.values()]).numpy()
        assert np.allclose(found.features[position], means, atol=1e-5)
    assert not model.backbone._forward_hooks


def test_more_views_change_boxes_but_no_maps(toy, teacher):
    one, more = (
        find_boxes(*teacher, images(toy), 2, views, "images")
        for views in (NO_OTHERS, Views((0.5,), False))
    )
    assert np.array_equal(one.features, more.features)
    assert not np.array_equal(scores(one.detections), scores(more.detections))


def test_unreadable_images_are_left_out(toy, teacher, tmp_path):
    some = images(toy)
    (tmp_path / "broken.png").write_bytes(b"no image")
    some[0] = {**some[0], "file_name": str(tmp_path / "absent.png")}
    some[3] = {**some[3], "file_name": str(tmp_path / "broken.png")}
    found = find_boxes(*teacher, some, 2, NO_OTHERS, "images")
    assert list(found.unreadable) == [some[0]["file_name"], some[3]["file_name"]]
    assert found.images == [some[1], some[2], some[4], some[5]]
    whole = find_boxes(*teacher, images(toy), 2, NO_OTHERS, "images")
    assert np.array_equal(found.features, whole.features[[1, 2, 4, 5]])
    for new, old in enumerate((1, 2, 4, 5)):
        boxes = [x.detections[x.detections["image"] == n] for x, n in ((found, new), (whole, old))]
        assert np.array_equal(boxes[0]["box"], boxes[1]["box"])


def test_nothing_to_read_and_nothing_found(toy, teacher, teacher_files, tmp_path):
    absent = [{**image, "file_name": str(tmp_path / "absent.png")} for image in images(toy)]
    with pytest.raises(UserError, match="none of the 6 images can be read.*absent.png"):
        find_boxes(*teacher, absent, 2, NO_OTHERS, "images")
    with pytest.raises(UserError, match="finds nothing in the images .* above 0.9999"):
        find_boxes(*load(teacher_files, 0.9999), images(toy), 2, NO_OTHERS, "images")
