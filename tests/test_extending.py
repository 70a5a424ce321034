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
REGISTRIES = {
    "DISTILLATION_LOSSES": "sad/losses/distillation.py",
    "TERMS": "sad/terms/__init__.py",
    "ADAPTERS": "sad/modeling/adapters/__init__.py",
}


def apply_page(package) -> None:
    """What the page's code blocks say: a file each, or a function, and lines in the registries."""
    blocks = re.findall(r"```python\n# ([^\n]+)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 6
    for (module, code), (registry, line) in zip(blocks[::2], blocks[1::2], strict=True):
        registry = registry.removeprefix("in ")
        path = package / REGISTRIES[registry]
        text = path.read_text()
        if module == REGISTRIES[registry]:
            text = text.replace(f"\n{registry} = {{", f"\n{code}\n\n{registry} = {{")
        else:
            (package / module).write_text(code)
            name = re.search(r"(\w+)(\(\))?,$", line.strip())[1]
            text = f"from .{module.rpartition('/')[2].removesuffix('.py')} import {name}\n{text}"
        path.write_text(text.replace(f"\n{registry} = {{", f"\n{registry} = {{{line}"))


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
