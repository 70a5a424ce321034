"""Tiles cover the image, and what is found in them is what is there."""

import numpy as np
import pytest

from sad.predict.detections import Detections
from sad.predict.tiles import OVERLAP, find_in_tiles, merge, tiles


def rectangles(images):
    """An ideal detector of up to four bright rectangles in an image, by their grey (200, 210...).

    It sees an image at no more than 100 pixels, as detectors do, and there nothing below 8 pixels.
    """
    results = []
    for image in images:
        boxes, labels = [], []
        scale = min(1, 100 / max(image.shape[:2]))
        for label in range(4):
            rows, columns = np.nonzero(image[..., 0] == 200 + 10 * label)
            if len(rows):
                box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                if min(box[2] - box[0], box[3] - box[1]) * scale >= 8:
                    boxes.append(box)
                    labels.append(label)
        found = np.array(boxes, np.float32).reshape(-1, 4)
        scores = np.linspace(0.9, 0.8, len(boxes)).astype(np.float32)
        results.append(Detections(found, scores, np.array(labels, np.int64), list("abcd")))
    return results


def image_of(height, width, boxes):
    image = np.zeros((height, width, 3), np.uint8)
    for label, (x0, y0, x1, y1) in enumerate(boxes):
        image[y0:y1, x0:x1] = 200 + 10 * label
    return image


@pytest.mark.parametrize(("height", "width"), [(500, 900), (101, 100), (90, 350), (100, 5000)])
def test_tiles_cover_the_image_and_overlap(height, width):
    found = tiles(height, width, 100)
    covered = np.zeros((height, width), int)
    for x0, y0, x1, y1 in found:
        assert (x1 - x0, y1 - y0) == (min(width, 100), min(height, 100))
        covered[y0:y1, x0:x1] += 1
    assert covered.min() == 1
    for starts in ({x0 for x0, *_ in found}, {y0 for _, y0, *_ in found}):
        steps = np.diff(sorted(starts))
        assert (steps <= 100 * (1 - OVERLAP)).all() and (steps > 0).all()


def test_an_image_no_larger_than_a_tile_has_none():
    assert tiles(100, 100, 100) == tiles(20, 30, 100) == []


def test_small_objects_are_found_where_the_whole_image_does_not_show_them():
    boxes = [(10, 10, 25, 25), (70, 80, 92, 100), (290, 180, 300, 200)]
    image = image_of(200, 300, boxes)
    assert rectangles([image])[0].boxes.tolist() == []
    found = find_in_tiles(rectangles, image, 100, 3, 0.5)
    assert [tuple(found.boxes[found.labels == n][0]) for n in range(3)] == boxes
    assert len(found) == 3 and (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("offset", range(0, 76, 5))
def test_a_box_of_any_place_is_found_once_and_whole(offset):
    """Smaller than the overlap: wherever a border is, some tile sees all of it."""
    box = (100 + offset, 40 + offset, 123 + offset, 63 + offset)
    found = find_in_tiles(rectangles, image_of(300, 400, [box]), 100, 4, 0.5)
    assert found.boxes.tolist() == [list(box)]


def test_a_large_object_is_found_as_a_whole_and_not_in_pieces():
    box = (40, 30, 260, 190)
    found = find_in_tiles(rectangles, image_of(200, 300, [box]), 100, 4, 0.5)
    assert found.boxes.tolist() == [list(box)]


def test_an_object_at_the_images_border_is_kept():
    boxes = [(0, 0, 20, 20), (280, 180, 300, 200)]
    found = find_in_tiles(rectangles, image_of(200, 300, boxes), 100, 4, 0.5)
    assert sorted(map(tuple, found.boxes.tolist())) == boxes


def test_tiles_go_to_the_detector_in_batches():
    counts = []
    image = image_of(200, 300, [])
    find_in_tiles(lambda x: counts.append(len(x)) or rectangles(x), image, 100, 5, 0.5)
    number = len(tiles(200, 300, 100))
    assert counts == [1, *[5] * (number // 5), *([number % 5] if number % 5 else [])]


def test_merging_keeps_the_best_of_a_class():
    one = Detections(
        np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32),
        np.array([0.5, 0.9], np.float32), np.array([1, 1]), ["a", "b"])  # fmt: skip
    other = Detections(
        np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32),
        np.array([0.7, 0.6], np.float32), np.array([0, 1]), ["a", "b"])  # fmt: skip
    merged = merge([one, other], 0.5)
    assert merged.scores.tolist() == np.array([0.9, 0.7, 0.6], np.float32).tolist()
    assert merged.labels.tolist() == [1, 0, 1] and merged.class_names == ["a", "b"]
    assert len(merge([one[:0], other[:0]], 0.5)) == 0
