"""A table on disk: its numbers, its text and its picture."""

from pathlib import Path

from ..utils.files import atomic_write, write_json


def write_files(path: Path, content: dict, text: str, figure) -> str:
    """Write .json, .md and .png beside each other.

    Args:
        path: without a suffix.
        content: its `title` is that of the picture.
        text: the markdown.
        figure: matplotlib's.
    Returns:
        the text
    """
    write_json(path.with_suffix(".json"), content, indent=1)
    with atomic_write(path.with_suffix(".md")) as file:
        file.write(text + f"\n![{content['title']}]({path.name}.png)\n")
    with atomic_write(path.with_suffix(".png"), "wb") as file:
        figure.savefig(file, format="png", pil_kwargs={"optimize": True})
    return text
