"""The keys by their dotted names, and what a config describes."""

from detectron2.config import CfgNode, get_cfg

from sad.config.defaults import add_sad_config, defaults, detector_name, distills, flat
from sad.terms import TERMS


def config(*opts):
    cfg = get_cfg()
    add_sad_config(cfg)
    cfg.merge_from_list(opts)
    return cfg


def test_leaves_are_named_from_the_root():
    node = CfgNode({"A": {"B": {"C": 1}, "D": (2,)}, "E": "f", "EMPTY": {}})
    assert list(flat(node)) == [("A.B.C", 1), ("A.D", (2,)), ("E", "f")]


def test_defaults_are_those_of_a_new_config():
    assert defaults() == dict(flat(config()))
    stock = dict(flat(get_cfg()))
    assert stock.keys() < defaults().keys()


def test_every_term_has_a_section_with_its_factor():
    distill = config().SAD.DISTILL
    sections = {name for name in distill if isinstance(distill[name], CfgNode)}
    assert sections == {name.upper() for name in TERMS}
    assert all("WEIGHT" in distill[name] for name in sections)


DISTILLER = ("MODEL.META_ARCHITECTURE", "Distiller")
FCOS_STUDENT = ("SAD.STUDENT.META_ARCHITECTURE", "FCOS")


def test_a_teacher_is_wanted_by_a_distiller_with_terms_alone():
    assert distills(config(*DISTILLER))
    assert not distills(config(*DISTILLER, "SAD.DISTILL.TERMS", ()))
    assert not distills(config("MODEL.META_ARCHITECTURE", "RetinaNet"))


def test_the_detector_is_the_student_or_the_model_itself():
    assert detector_name(config(*DISTILLER)) == "RetinaNet"
    assert detector_name(config(*DISTILLER, *FCOS_STUDENT)) == "FCOS"
    assert (
        detector_name(config("MODEL.META_ARCHITECTURE", "RetinaNet", *FCOS_STUDENT)) == "RetinaNet"
    )
