"""Look into data sets and write what was found."""

import os
from collections.abc import Mapping, Sequence

from ..utils.files import atomic_write, make_folder, write_json
from .examine import examine
from .labeled_set import DataSet
from .page import write_page
from .summary import summarize

JSON, PAGE = "inspection.json", "inspection.html"


def inspect_data(
    sets: Mapping[str, DataSet],
    output: str,
    *,
    unlabeled: Sequence[str] = (),
    cfg=None,
    fixed_camera: bool = False,
    command: str = "",
) -> dict:
    """Write inspection.json and inspection.html to the folder `output`.

    Args:
        sets: by name, such as train, val and test; the first is the one to train on.
        unlabeled: paths of images without labels.
        cfg: the config of a detector. Without one nothing is said of training size and anchors.
        fixed_camera: whether only files of the same bytes are the same image.
        command: what makes the page again, for the page.
    Returns:
        the content of inspection.json, see `sad.inspection.summary.summarize`.
    Raises:
        UserError: labels cannot be read, or the folder cannot be written to.
    """
    seen = examine(sets, unlabeled, cfg, fixed_camera=fixed_camera)
    make_folder(output, "--output")
    summary = summarize(seen)
    page = write_page(seen, summary, command)
    write_json(os.path.join(output, JSON), summary, indent=2)
    with atomic_write(os.path.join(output, PAGE), "wb") as file:
        file.write(page.encode())  # as UTF-8, as the page says, whatever the locale
    return summary
