"""scripts/draw_method.py draws README's picture."""

import subprocess
import sys

from PIL import Image

from toy import REPOSITORY


def test_it_draws_the_committed_picture_again(tmp_path):
    script = REPOSITORY / "scripts" / "draw_method.py"
    command = [sys.executable, str(script), "--output", str(tmp_path / "method.png")]
    subprocess.run(command, check=True)
    drawn, committed = (
        Image.open(path) for path in (tmp_path / "method.png", REPOSITORY / "docs" / "method.png")
    )
    assert drawn.size == committed.size
    assert len(drawn.convert("RGB").getcolors(2**20)) > 1000  # the scenes are in it
