"""What the student learns from the teacher: the terms that SAD.DISTILL.TERMS may name."""

from .box_term import BoxTerm
from .class_term import ClassTerm
from .feature_term import FeatureTerm

TERMS = {"class": ClassTerm, "box": BoxTerm, "feature": FeatureTerm}
