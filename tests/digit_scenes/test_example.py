"""A digit scene to try a detector on."""

import numpy as np
import pytest
from PIL import Image

from sad.digit_scenes.example import example_scene


def test_the_same_scene_each_time_with_light_digits_on_a_photograph():
    scene = example_scene()
    assert scene.shape == (128, 128, 3) and scene.dtype == np.uint8
    assert (scene == example_scene()).all()
    assert scene.max() > 200 and scene.std() > 30


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_it_is_written(tmp_path, ending):
    path = tmp_path / f"scene.{ending}"
    scene = example_scene(path)
    written = np.asarray(Image.open(path), int)
    assert np.abs(written - scene).mean() < (12 if ending == "jpg" else 1e-9)
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_none_of_the_data_set(tmp_path):
    from sad.digit_scenes.render import SceneOptions, render_scene

    ours = example_scene()
    assert all((render_scene(SceneOptions(), "minival", n)[0] != ours).any() for n in range(3))
