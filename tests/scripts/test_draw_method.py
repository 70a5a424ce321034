"""scripts/draw_method.py draws README's picture."""

import importlib.util

from PIL import Image

from toy import REPOSITORY


def test_it_draws_the_committed_picture_again(tmp_path):
    path = REPOSITORY / "scripts" / "draw_method.py"
    spec = importlib.util.spec_from_file_location("draw_method", path)
    spec.loader.exec_module(script := importlib.util.module_from_spec(spec))
    script.draw_method().savefig(tmp_path / "method.png")
    drawn = Image.open(tmp_path / "method.png")
    assert drawn.size == Image.open(script.PICTURE).size
    assert len(drawn.convert("RGB").getcolors(2**20)) > 1000  # the scenes are in it
