"""The examples of docs/extending.md, applied to a copy of the package: each trains."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from toy import REPOSITORY

PAGE = (REPOSITORY / "docs" / "extending.md").read_text()


def apply_page(package) -> None:
    """Each block of code: a new file, lines at the head of one, or in one of its registries."""
    file = None
    for where, code in re.findall(r"```python\n# ([^\n]+)\n(.*?)```", PAGE, flags=re.DOTALL):
        if registry := re.match(r"in (\w+) of the same file", where):
            opening = f"\n{registry[1]} = {{"
            assert opening in file.read_text()
            file.write_text(file.read_text().replace(opening, f"{opening}{code.strip()}"))
            continue
        file = package / where
        if not file.exists():
            file.write_text(code)
        elif code.startswith("from "):
            file.write_text(code + file.read_text())
        else:  # a function, which stands before what names it
            text = file.read_text()
            last = text.rindex("\n# SAD.DISTILL.")
            file.write_text(f"{text[:last]}\n{code}\n{text[last:]}")


EXAMPLES = {
    "loss": ["SAD.DISTILL.CLASS.LOSS", "squared_probabilities"],
    "term": ["SAD.DISTILL.TERMS", "['class','attention']", "SAD.DISTILL.ATTENTION.WEIGHT", "2.0"],
    "detector": [
        *("SAD.STUDENT.META_ARCHITECTURE", "LinearRetinaNet"),
        *("SAD.TEACHER.CONFIG_FILE", "linear.yaml", "MODEL.RETINANET.BBOX_REG_LOSS_TYPE", "giou"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_trains(toy, tmp_path, name):
    package = tmp_path / "SAD"
    shutil.copytree(REPOSITORY / "projects" / "SAD", package)
    apply_page(package)
    teacher = f"_BASE_: {toy.path('teacher.yaml')}\nMODEL: {{META_ARCHITECTURE: LinearRetinaNet}}\n"
    (tmp_path / "linear.yaml").write_text(teacher)
    command = [sys.executable, str(package / "train_net.py"), "--config-file", toy.path("SAD.yaml")]
    options = ["OUTPUT_DIR", str(tmp_path / "out"), "SOLVER.MAX_ITER", "3", *EXAMPLES[name]]
    done = subprocess.run(
        [*command, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text().splitlines()[0])
    assert metrics["loss_distill_class"] > 0
    assert ("loss_distill_attention" in metrics) == (name == "term")
    assert "bbox/AP" in metrics or (tmp_path / "out" / "model_final.pth").exists()
