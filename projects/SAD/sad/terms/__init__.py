"""What the student learns from the teacher: the terms that SAD.DISTILL.TERMS may name."""

from collections.abc import Collection

from .box_term import BoxTerm
from .class_term import ClassTerm
from .feature_term import FeatureTerm
from .roi_box_term import ROIBoxTerm
from .roi_class_term import ROIClassTerm

TERMS = {
    "class": ClassTerm,
    "box": BoxTerm,
    "feature": FeatureTerm,
    "roi_class": ROIClassTerm,
    "roi_box": ROIBoxTerm,
}


def needed(names: Collection[str]) -> frozenset[str]:
    """The fields of the teacher's Outputs that these terms need."""
    return frozenset().union(*(TERMS[name].need for name in names))
