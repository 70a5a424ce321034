"""What was run, from real configs."""

from types import SimpleNamespace

from sad.report.settings import describe_settings


def described(toy, *names_and_opts):
    runs = [SimpleNamespace(cfg=toy.cfg(name, *opts)) for name, *opts in names_and_opts]
    return describe_settings(runs)


def test_what_differs_and_nothing_else(toy):
    told = described(
        toy,
        ("teacher.yaml",),
        ("student.yaml", "SOLVER.MAX_ITER", 20, "OUTPUT_DIR", "elsewhere"),
        ("SAD.yaml", "SAD.DISTILL.CLASS.LOSS", "kl"),
    )
    assert told["differing"] == {
        "DATASETS.UNLABELED": ["[]", "[]", "['toy_pseudo_labels']"],
        "MODEL.FPN.OUT_CHANNELS": ["16", "8", "8"],
        "MODEL.RESNETS.RES2_OUT_CHANNELS": ["16", "8", "8"],
        "MODEL.RESNETS.STEM_OUT_CHANNELS": ["16", "8", "8"],
        "SAD.DISTILL.CLASS.LOSS": [None, None, "kl"],
        "SOLVER.MAX_ITER": ["10", "20", "10"],
    }
    teacher, student, distilled = told["runs"]
    assert student["iterations"] == 20 and teacher["images per step"] == 2
    assert teacher["detector"] == distilled["detector"] == "RetinaNet"
    assert teacher["learns from"] == "labels"
    sources = "labels, pseudo-labels, the teacher's class (kl, weight 0.5)"
    assert distilled["learns from"] == sources


def test_one_run_differs_from_none(toy):
    assert described(toy, ("student.yaml",))["differing"] == {}


def test_long_values_are_cut(toy):
    sizes = str([list(range(8, 40))])
    told = described(
        toy, ("student.yaml",), ("student.yaml", "MODEL.ANCHOR_GENERATOR.SIZES", sizes)
    )
    assert len(told["differing"]["MODEL.ANCHOR_GENERATOR.SIZES"][1]) == 60


def test_soft_targets_alone_and_two_stages(toy):
    told = described(
        toy,
        (
            "SAD.yaml",
            "SAD.TARGETS.UNLABELED",
            "('soft',)",
            "DATASETS.UNLABELED",
            "('toy_unlabeled',)",
        ),
        ("TAR.yaml",),
    )
    soft, two_stages = (run["learns from"] for run in told["runs"])
    assert soft == "labels, the teacher's class (adl, weight 0.5)"
    assert two_stages.startswith("labels, pseudo-labels, the teacher's feature (")
    assert told["runs"][1]["detector"] == "GeneralizedRCNN"
