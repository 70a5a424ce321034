"""What is in data sets, as the content of inspection.json."""

from collections import Counter

import numpy as np

from .examine import UNLABELED, Inspection
from .findings import Finding
from .image_findings import image_findings
from .label_findings import TINY, label_findings
from .labeled_set import LabeledSet
from .training_size import describe_size, shorter_side

QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)


def summarize(seen: Inspection) -> dict:
    """The content of inspection.json: findings (warnings first), sets, classes, unlabeled,
    training, anchors and similar.
    """
    found = [*image_findings(seen), *label_findings(seen)]
    if not any(finding.level == "warning" for finding in found):
        found.append(Finding("nothing_suspicious", "good", "Nothing suspicious was found."))
    order = ["warning", "good", "info"]
    found.sort(key=lambda finding: order.index(finding.level))
    return {
        "findings": [finding._asdict() for finding in found],
        "sets": {one.name: _describe(seen, one) for one in seen.sets},
        "classes": [
            {"name": name} | {one.name: one.count_of(name) for one in seen.sets}
            for name in seen.class_names
        ],
        UNLABELED: {"images": len(seen.unlabeled), "sizes": _sizes(seen, UNLABELED)},
        "training": seen.cfg
        and {
            "size": describe_size(seen.cfg),
            "shorter_side": shorter_side(seen.cfg),
            "longest_side": seen.cfg.INPUT.MAX_SIZE_TRAIN,
        },
        "anchors": seen.anchors,
        "similar": [
            {
                "identical": identical,
                "images": [{"set": seen.set_of[at], "path": seen.paths[at]} for at in group],
            }
            for group, identical in zip(seen.groups, seen.identical, strict=True)
        ],
    }


def _describe(seen: Inspection, one: LabeledSet) -> dict:
    per_image = np.bincount(one.image_of, minlength=len(one.images))
    sides = seen.sides[one.name]
    widths, heights = (one.boxes[:, 2:] - one.boxes[:, :2]).T
    return {
        "labels": one.source.labels or one.source.json_file,
        "images_in": one.source.image_root,
        "images": len(one.images),
        "boxes": len(one.boxes),
        "negatives": len(one.negatives),
        "crowds": one.crowds,
        "boxes_per_image": quantiles(per_image),
        "sizes": _sizes(seen, one.name),
        "aspect_ratios": quantiles(one.sizes[:, 0] / one.sizes[:, 1]),
        "box_sides": quantiles(one.sides),
        "box_sides_in_training": quantiles(sides) if seen.cfg else None,
        "box_aspect_ratios": quantiles(heights / widths),
        "tiny": int((sides < TINY).sum()),
        "mended": {what: list(where) for what, where in one.source.mended.items()},
        "left_out": {what: list(where) for what, where in one.source.left_out.items()},
    }


def quantiles(values: np.ndarray) -> dict[str, float] | None:
    """{"0": least, ..., "0.5": median, ..., "1": most}; None where there are no values."""
    if not len(values):
        return None
    found = np.quantile(values, QUANTILES).tolist()
    return {f"{q:g}": round(value, 4) for q, value in zip(QUANTILES, found, strict=True)}


def _sizes(seen: Inspection, name: str) -> list[dict]:
    """Heights and widths of a set's images that can be read, the most frequent first."""
    sizes = Counter(
        look.size
        for look, of_image in zip(seen.looks, seen.set_of, strict=True)
        if of_image == name and look.size
    )
    return [{"height": h, "width": w, "images": n} for (h, w), n in sizes.most_common()]
