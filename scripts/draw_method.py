"""Draw docs/method.png, the picture of the method: python scripts/draw_method.py

Its two images are digit scenes, rendered here: no data set is needed.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.patheffects import withStroke

import sad_command  # noqa: F401
from sad.digit_scenes.dataset import SceneOptions, render_scene
from sad.utils.drawing import INK, PALE, RUN_COLORS

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "method.png"
TEACHER, HARD, STUDENT, _, SOFT, *_ = RUN_COLORS
WIDTH, HEIGHT = 12.0, 5.9  # inches, which are the units of all positions, from the lower left


def draw_method() -> Figure:
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=150, facecolor="white")
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")

    box(axes, 0.15, 0.6, 2.85, 5.15, color="#F2F2F2", filled=True)
    scene(axes, 0.65, 3.35, "labeled", 11, "Labelled images", "drawn by people", "-")
    scene(axes, 0.65, 0.75, "unlabeled", 12, "Unlabelled images", "found by the teacher", "--")
    box(axes, 3.7, 4.3, 2.2, 1.2, "Teacher", "large, trained first,\nthen frozen", TEACHER, True)
    box(axes, 3.95, 2.55, 1.95, 1.0, "Student", "small, being trained", STUDENT, True)
    box(axes, 3.7, 0.85, 2.2, 1.0, "Hard targets", "boxes and classes", HARD)
    box(axes, 6.75, 4.4, 1.9, 1.0, "Soft targets", "class scores", SOFT)
    box(axes, 6.75, 3.05, 1.9, 0.55, "Class scores", color=STUDENT)
    box(axes, 6.75, 2.2, 1.9, 0.55, "Boxes", color=STUDENT)
    box(axes, 9.55, 3.85, 2.3, 1.0, "Distillation loss", "scores like the teacher's", SOFT)
    losses = "focal loss: right class?\nbox loss: right place?"
    box(axes, 9.55, 1.6, 2.3, 1.3, "Detection losses", losses, HARD)

    line(axes, [(3.0, 3.05), (3.9, 3.05)], PALE)  # both networks see the same pixels
    line(axes, [(3.35, 3.05), (3.35, 4.9), (3.65, 4.9)], PALE)
    line(axes, [(3.0, 1.35), (3.65, 1.35)], HARD)
    line(axes, [(5.9, 4.9), (6.7, 4.9)], SOFT)
    line(axes, [(5.9, 3.32), (6.7, 3.32)], STUDENT)
    line(axes, [(6.3, 3.32), (6.3, 2.47), (6.7, 2.47)], STUDENT)
    line(axes, [(8.65, 4.9), (9.1, 4.9), (9.1, 4.6), (9.5, 4.6)], SOFT)
    line(axes, [(8.65, 3.32), (9.1, 3.32), (9.1, 4.1), (9.5, 4.1)], STUDENT)
    line(axes, [(9.1, 3.32), (9.1, 2.65), (9.5, 2.65)], STUDENT)
    line(axes, [(8.65, 2.47), (8.88, 2.47), (8.88, 2.25), (9.5, 2.25)], STUDENT)
    line(axes, [(5.9, 1.35), (9.1, 1.35), (9.1, 1.85), (9.5, 1.85)], HARD)

    steps = (
        "Train the teacher on the labelled images.",
        "Let it label the others, once.",
        "Train the student on all, and use it alone.",
    )
    for number, (x, step) in enumerate(zip((0.2, 4.5, 7.85), steps, strict=True), start=1):
        axes.text(x, 0.2, number, color=INK, fontsize=13, fontweight="bold")
        axes.text(x + 0.25, 0.2, step, color=INK, fontsize=12)
    return figure


def scene(axes, x, y, split, index, title, source, style):
    """A digit scene with its boxes, and what it stands for above it."""
    size = 1.8
    image, objects = render_scene(SceneOptions(), split, index)
    axes.imshow(image, extent=(x, x + size, y, y + size), interpolation="bicubic", zorder=2)
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="auto")  # imshow has fitted them to itself
    scale = size / len(image)
    for thing in objects:
        left, top, width, height = (scale * value for value in thing.box())
        patch = Rectangle((x + left, y + size - top - height), width, height, zorder=3)
        patch.set(fill=False, edgecolor=HARD, lw=2, ls=style)
        patch.set_path_effects([withStroke(linewidth=3.5, foreground=INK, alpha=0.6)])
        axes.add_patch(patch)
    axes.text(x, y + size + 0.3, title, color=INK, fontsize=13, fontweight="bold")
    axes.text(x, y + size + 0.08, f"boxes {source}", color=PALE, fontsize=11)


def box(axes, x, y, width, height, title="", note="", color=INK, filled=False):
    shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.1")
    shape.set(facecolor=color if filled else "white", edgecolor=color, lw=2, zorder=2)
    axes.add_patch(shape)
    style = {"ha": "center", "zorder": 3, "linespacing": 1.3}
    x, y, rows = x + width / 2, y + height / 2, note.count("\n") + bool(note)
    ink, pale = ("white", "white") if filled else (INK, PALE)
    axes.text(
        x, y + 0.11 * rows, title, va="center", fontsize=13, fontweight="bold", color=ink, **style
    )
    axes.text(x, y + 0.11 * rows - 0.15, note, va="top", fontsize=11, color=pale, **style)


def line(axes, points, color):
    """An arrow with corners."""
    axes.plot(*zip(*points[:-1], strict=True), color=color, lw=2, solid_joinstyle="round", zorder=1)
    style = {"arrowstyle": "-|>", "mutation_scale": 16, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(*points[-2:], **style, color=color, lw=2, zorder=1))


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    draw_method().savefig(PICTURE)


if __name__ == "__main__":
    main()
