"""What each kind of error costs: AP50 with its errors mended, less AP50 as it is (TIDE's dAP)."""

import numpy as np

from .bootstrap import ClassMatches, weighted_ap
from .error_kinds import CLASS, KINDS, PLACE, Errors


def error_costs(labels: list[dict], found: list[dict], errors: Errors, categories) -> dict:
    """
    A detection of the wrong class or place is mended where nothing else has found its object: of
    several that mean one object the best score is right then, and the others are taken out. All
    other wrong detections are taken out, and missed objects need not be found.

    Args:
        labels, found, categories: see `sad.evaluation.matching.match_boxes`; all detections, and
            images in the order of the annotations' set.
        errors: of these, see `find_errors`.
    Returns:
        "AP50" as it is, and {kind or "missed": what it costs}, all in points of AP50.
    """
    state = _State(labels, found, errors, categories)
    base = state.ap50()
    mended = {name: state.mended(place) for place, name in enumerate(KINDS)}
    costs = {name: state.ap50(*changed) for name, changed in mended.items()}
    costs["missed"] = state.ap50(needed=~errors.missed)
    return {"AP50": base, **{name: ap - base for name, ap in costs.items()}}


class _State:
    def __init__(self, labels, found, errors: Errors, categories):
        self.errors = errors
        place_of = {category["id"]: place for place, category in enumerate(categories)}
        self.number = len(categories)
        self.scores = np.array([box["score"] for box in found], float)
        self.classes = np.array([place_of[box["category_id"]] for box in found], int)
        self.classes_of_objects = np.array([place_of[x["category_id"]] for x in labels], int)
        self.counts = np.array([not label.get("iscrowd", 0) for label in labels], bool)
        self.ignored = ~errors.right & (errors.kind < 0)

    def mended(self, kind: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(kept, right, classes) of the detections, (M,) each, without errors of a kind."""
        of_kind = self.errors.kind == kind
        kept, right, classes = ~of_kind, self.errors.right.copy(), self.classes.copy()
        if kind in (PLACE, CLASS):
            by_score = np.argsort(-self.scores, kind="stable")
            candidates = by_score[of_kind[by_score]]
            targets = self.errors.target[candidates]
            free = ~self.errors.found[targets]
            targets, first = np.unique(targets[free], return_index=True)
            best = candidates[free][first]
            kept[best] = right[best] = True
            classes[best] = self.classes_of_objects[targets]
        return kept, right, classes

    def ap50(self, kept=None, right=None, classes=None, needed=None) -> float:
        """In percent: the mean over the classes that have objects."""
        kept = np.ones(len(self.scores), bool) if kept is None else kept
        right = self.errors.right if right is None else right
        classes = self.classes if classes is None else classes
        needed = self.counts if needed is None else self.counts & needed
        by_score = np.argsort(-self.scores, kind="stable")
        by_score = by_score[kept[by_score]]
        matches = []
        for place in range(self.number):
            own = by_score[classes[by_score] == place]
            objects = np.array([np.count_nonzero(needed & (self.classes_of_objects == place))])
            image = np.zeros(len(own), int)  # the whole set as one image
            matches.append(ClassMatches(objects, image, right[None, own], self.ignored[None, own]))
        ap = weighted_ap(matches, np.ones((1, 1), int))[0, 0]
        present = np.bincount(self.classes_of_objects[self.counts], minlength=self.number) > 0
        # Where nothing needs to be found any more, nothing is missed.
        return 100 * float(np.nan_to_num(ap[present], nan=1.0).mean()) if present.any() else 0.0
