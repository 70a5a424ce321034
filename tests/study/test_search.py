"""Searches over made-up APs: what is tried, what wins, and how grids grow."""

import pytest

from sad.study import search
from sad.study.experiments import Experiment
from sad.study.tables import read_tables
from toy import REPOSITORY


class MadeUpLab:
    """Runs nothing; the AP is a function of an experiment's config."""

    def __init__(self, ap):
        self.ap = ap

    def run_all(self, experiments):
        return {experiment: {"AP": self.ap(experiment)} for experiment in experiments}


@pytest.fixture(scope="module")
def spec():
    return read_tables(str(REPOSITORY / "configs" / "tables.yaml"))["sweep"]["digits"]


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def grid_search(ap, values):
    """(best value, values tried in the order of their names)."""
    found = {}
    trials = {"arm": lambda value: value}
    best = search.search_grids(MadeUpLab(ap), trials, values, found)
    return best["arm"], sorted(found)


@pytest.mark.parametrize(
    ("top", "best", "tried"),
    [
        (1.0, 1.0, [0.333, 1.0, 3.0]),
        (8.0, 9.0, [0.333, 1.0, 3.0, 9.0, 27.0]),
        (0.1, 0.11, [0.036, 0.11, 0.333, 1.0, 3.0]),
        # It ends somewhere, be the best weight 0 or infinity.
        (1e9, 81.0, [0.333, 1.0, 3.0, 9.0, 27.0, 81.0]),
    ],
)
def test_a_grid_that_ends_at_its_best_is_made_longer(top, best, tried):
    assert grid_search(lambda value: -abs(value - top), [0.333, 1.0, 3.0]) == (best, tried)


@pytest.mark.slow
def test_tar_takes_the_rate_of_the_plain_student_and_the_parts_best_weights(spec):
    wanted = {"feature": 9.0, "roi_class": 3.3, "roi_box": 1.0}

    def ap(experiment):
        cfg = experiment.cfg
        if cfg.MODEL.META_ARCHITECTURE != "Distiller":
            return -abs(cfg.SOLVER.BASE_LR - 0.1)
        distill = cfg.SAD.DISTILL
        return -sum(abs(distill[x.upper()].WEIGHT - wanted[x]) for x in distill.TERMS)

    of_parts = {part: spec["TAR"]["arms"][part] for part in spec["TAR"]["parts"]}
    fewer = {**spec["TAR"], "arms": of_parts, "joint": ["FasterRCNN/TAR"]}
    found = search.search_arms(MadeUpLab(ap), "digits", fewer)
    plain = {e.cfg.SOLVER.BASE_LR for e in found if e.config == "FasterRCNN/student"}
    assert plain == {0.02, 0.05, 0.1, 0.2}
    for experiment in found:
        cfg = experiment.cfg
        assert experiment.seed == 0 and list(cfg.DATASETS.TEST) == ["digits_tune"]
        if experiment.teacher:  # which is trained at that rate, too
            assert cfg.SOLVER.BASE_LR == experiment.teacher.cfg.SOLVER.BASE_LR == 0.1
            assert list(experiment.teacher.cfg.DATASETS.TEST) == ["digits_minival"]
    weights = [
        tuple(e.cfg.SAD.DISTILL[x].WEIGHT for x in ("FEATURE", "ROI_CLASS", "ROI_BOX"))
        for e in found
        if e.config == "FasterRCNN/TAR"
    ]
    assert sorted(weights) == [(3.0, 1.1, 0.33), (9.0, 3.3, 1.0), (27.0, 9.9, 3.0)]


@pytest.mark.slow
def test_the_rate_of_the_yaml_goes_without_saying(spec):
    """So that its teacher is the one that the table has."""
    fewer = {**spec["TAR"], "arms": {"FasterRCNN/boxes": {"ROI_BOX": 1.0}}, "joint": []}

    own = Experiment("digits", "FasterRCNN/student").cfg.SOLVER.BASE_LR

    def ap(experiment):
        return -abs(experiment.cfg.SOLVER.BASE_LR - own)

    found = search.search_arms(MadeUpLab(ap), "digits", fewer)
    assert {e.teacher.name for e in found if e.teacher} == {"FasterRCNN/teacher"}


def test_every_arm_has_the_weights_of_its_terms(spec):
    """Of TAR for dense detectors the boxes are searched beside the features as they were found."""
    arms = {**spec["TAR"]["arms"], **spec["TAR-dense"]["arms"]}
    joint = {term for part in spec["TAR"]["parts"] for term in arms[part]}
    arms |= dict.fromkeys(spec["TAR"]["joint"], joint)
    for config, weights in arms.items():
        cfg = Experiment("digits", config).cfg
        found = {"FEATURE"} if {*weights} == {"BOX"} else set()
        assert {term.upper() for term in cfg.SAD.DISTILL.TERMS} == {*weights, *found}, config


@pytest.mark.slow
def test_arms_without_a_plain_student_keep_their_rates(spec):
    def ap(experiment):
        distill = experiment.cfg.SAD.DISTILL
        return -distill.FEATURE.WEIGHT - distill.BOX.WEIGHT

    found = search.search_arms(MadeUpLab(ap), "digits", spec["TAR-dense"])
    rates = {e.config: e.cfg.SOLVER.BASE_LR for e in found}
    of_retinanet = dict.fromkeys(("student_features_TAR", "student_TAR"), 0.2)
    assert rates == of_retinanet | dict.fromkeys(("fcos_features_TAR", "fcos_TAR"), 0.4)
    assert len(found) == 4 * (3 + search.MOST_WIDENINGS)


@pytest.mark.slow
def test_sad_takes_the_other_rate_at_the_best_weight(spec):
    def ap(experiment):
        cfg = experiment.cfg
        return cfg.SAD.DISTILL.CLASS.WEIGHT if cfg.SOLVER.BASE_LR == 0.2 else 0

    found = search.search_families(MadeUpLab(ap), "digits", spec["SAD"])
    assert len(found) == 5 * (3 + 1) + 2
    names = {experiment.name for experiment in found}
    assert "student_KL TEST=digits_tune BASE_LR=0.1 WEIGHT=8.0" in names
    assert {n for n in names if n.startswith("student ")} == {
        "student TEST=digits_tune BASE_LR=0.2", "student TEST=digits_tune BASE_LR=0.1",
    }  # fmt: skip
