"""What makes two runs the same experiment, and what may change between them."""

import hashlib
import json
import re
import shutil

import pytest
import yaml

from sad.config.identity import check_same_run, describe_run, training_settings
from sad.engine.schedule import derive_schedule
from sad.utils.errors import UserError

RUN = {"SOLVER.GAMMA": 0.2, "SOLVER.MAX_ITER": 50, "the sha256 of SAD.TEACHER.WEIGHTS": "ab"}


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({**RUN, "SOLVER.GAMMA": 0.1}, "SOLVER.GAMMA 0.2 before, 0.1 now"),
        ({**RUN, "the sha256 of a": "ef"}, "the sha256 of a nothing before, ef now"),
        (
            {**RUN, "the sha256 of SAD.TEACHER.WEIGHTS": "cd"},
            "the sha256 of SAD.TEACHER.WEIGHTS ab before, cd now",
        ),
    ],
)
def test_another_experiment_is_refused(now, named):
    with pytest.raises(UserError, match=f"--resume .* differs: {named} .*OUTPUT_DIR"):
        check_same_run(RUN, now)


def test_a_fading_term_fixes_the_length_where_the_run_has_it(toy, log):
    fades = ("SAD.DISTILL.FEATURE.DECAY_TO", 0.0)
    alone = ("MODEL.META_ARCHITECTURE", "RetinaNet", "DATASETS.UNLABELED", ())
    for opts in (("SAD.DISTILL.TERMS", ()), alone):
        check_longer(toy, *fades, *opts)
    assert sum(line.startswith("Going on with another SOLVER.MAX_ITER") for line in log) == 2
    fading = (*fades, "SAD.DISTILL.TERMS", ("class", "feature"))
    with pytest.raises(UserError, match="FEATURE.DECAY_TO is 0.0.* cannot be made longer"):
        check_longer(toy, *fading)


def check_longer(toy, *opts) -> None:
    longer = (*opts, "SOLVER.MAX_ITER", 90)
    check_same_run(*(describe_run(toy.cfg("SAD.yaml", *each)) for each in (opts, longer)))


def test_a_teachers_rpn_makes_regions_also_by_its_keys_of_testing():
    key = "the teacher's MODEL.RPN.POST_NMS_TOPK_TEST"
    with pytest.raises(UserError, match=f"differs: {key} 20 before, 5 now"):
        check_same_run({key: 20}, {key: 5})


def test_longer_runs_and_other_machines_are_warned_of(log):
    check_same_run(RUN, RUN)
    assert log == []
    check_same_run(RUN, {**RUN, "SOLVER.MAX_ITER": 60})
    check_same_run(RUN | {"number of ranks": 2}, RUN | {"number of ranks": 4})
    assert log == [
        "Going on with another SOLVER.MAX_ITER: 50 before, 60 now",
        "Going on with another number of ranks: 2 before, 4 now",
    ]


@pytest.mark.parametrize(
    ("key", "value", "before"),
    [
        *(("SOLVER.BASE_LR", 0.01, 0.02), ("SOLVER.WARMUP_ITERS", 5, 3)),
        *(("SOLVER.CLIP_FULL_MODEL_NORM", 0.5, 1.0), ("DATALOADER.MAX_UNREADABLE", 0.5, 0.01)),
        *(("DATASETS.MAX_BOXES_OUTSIDE", 0.5, 0.1), ("SOLVER.STEPS", (5,), [7, 9])),
        ("CUDNN_BENCHMARK", True, False),
        *(("TEST.AUG.MAX_SIZE", 3000, 4000), ("SAD.DISTILL.CLASS.FUSED", False, True)),
        *(("TEST.DETECTIONS_PER_IMAGE", 5, 100), ("DATASETS.TEST", (), ["toy_labeled"])),
        *(("INPUT.MIN_SIZE_TEST", 32, 64), ("INPUT.MAX_SIZE_TEST", 200, 96)),
        *((f"MODEL.RETINANET.{key}", new, old) for key, new, old in (
            ("SCORE_THRESH_TEST", 0.1, 0.001), ("NMS_THRESH_TEST", 0.6, 0.5),
            ("TOPK_CANDIDATES_TEST", 50, 1000))),
        ("SAD.TEACHER.CLASS_NAMES", ("light", "dark"), []),
    ],
)  # fmt: skip
def test_what_weights_do_not_depend_on_or_is_advised_may_change(toy, log, key, value, before):
    """With a warning that has both values, also where one is the default."""
    check_changed(toy, key, value)
    now = list(value) if isinstance(value, tuple) else value
    warning = f"Going on with another {key}: {before} before, {now} now"
    assert log == [warning]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("SOLVER.CHECKPOINTS_TO_KEEP", 3), ("DATALOADER.NUM_WORKERS", 3)),
        *(("SAD.WATCH.TO", ("wandb",)), ("SAD.WATCH.PICTURES", 3)),
        *(("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2), ("INPUT.MASK_FORMAT", "bitmask")),
    ],
)
def test_what_else_a_run_does_and_other_models_are_no_part_of_it(toy, log, key, value):
    check_changed(toy, key, value)
    assert log == []


@pytest.mark.parametrize(
    ("config", "key", "value"),
    [
        ("SAD.yaml", "MODEL.ROI_BOX_HEAD.NUM_FC", 2),
        ("SAD.yaml", "MODEL.RPN.NMS_THRESH", 0.5),
        ("SAD.yaml", "MODEL.ROI_HEADS.NUM_CLASSES", 2),
        ("SAD.yaml", "MODEL.PROPOSAL_GENERATOR.NAME", "RRPN"),
        ("rcnn_student.yaml", "MODEL.RETINANET.NUM_CONVS", 3),
    ],
)
def test_what_a_yaml_inherits_of_other_detectors_is_no_part_of_it(
    toy, tmp_path, config, key, value
):
    content = value
    for part in reversed(key.split(".")):
        content = {part: content}
    path = tmp_path / "inherits.yaml"
    path.write_text(yaml.dump({"_BASE_": toy.path(config), **content}))
    assert describe_run(derive_schedule(toy.cfg(str(path)), 1)) == describe_run(
        derive_schedule(toy.cfg(config), 1)
    )


def test_pictures_of_a_student_alone_may_change(toy, log):
    check_changed(toy, "VIS_PERIOD", 5, "student.yaml")
    assert log == ["Going on with another VIS_PERIOD: 0 before, 5 now"]


@pytest.mark.parametrize(
    ("key", "value", "before"),
    [
        *(("SOLVER.GAMMA", 0.5, "0.1"), ("SOLVER.WEIGHT_DECAY", 0.5, "0.0001")),
        *(("SOLVER.IMS_PER_BATCH", 4, "2"), ("INPUT.MIN_SIZE_TRAIN", (32,), r"\[48, 64\]")),
        *(("TEST.PRECISE_BN.ENABLED", True, "False"), ("SAD.DISTILL.CLASS.LOSS", "kl", "adl")),
        *(("DATALOADER.ASPECT_RATIO_GROUPING", False, "True"), ("MODEL.FPN.NORM", "BN", "")),
        *(("SEED", 3, "0"), ("MODEL.RETINANET.IOU_THRESHOLDS", [0.3, 0.5], r"\[0.4, 0.5\]")),
    ],
)
def test_what_weights_depend_on_is_refused(toy, key, value, before):
    now = re.escape(str(list(value) if isinstance(value, tuple) else value))
    with pytest.raises(UserError, match=f"differs: {key} {before} before, {now} now "):
        check_changed(toy, key, value)


def check_changed(toy, key: str, value, config="SAD.yaml") -> None:
    before, now = (
        describe_run(derive_schedule(toy.cfg(config, *opts), 1)) for opts in ((), (key, value))
    )
    check_same_run(before, now)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("MODEL.RPN.NMS_THRESH", 0.5), ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 8)),
        *(("MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.5), ("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", 2)),
    ],
)
def test_what_a_faster_rcnn_depends_on_is_refused(toy, key, value):
    with pytest.raises(UserError, match=f"differs: {re.escape(key)} "):
        check_changed(toy, key, value, "rcnn_student.yaml")


@pytest.mark.parametrize(
    ("key", "value", "warned"),
    [
        *(("MODEL.RPN.PRE_NMS_TOPK_TEST", 9, 1), ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.5, 1)),
        ("MODEL.ROI_MASK_HEAD.NUM_CONV", 3, 0),
    ],
)
def test_what_it_does_not_depend_on_may_change(toy, log, key, value, warned):
    check_changed(toy, key, value, "rcnn_student.yaml")
    assert len(log) == warned


STOP = ("SOLVER.EARLY_STOP.PATIENCE", 2)


def test_what_is_evaluated_counts_where_it_may_end_the_run(toy, log):
    """And only there."""
    without = training_settings(toy.cfg("SAD.yaml", "TEST.EVAL_PERIOD", 5))
    assert without == training_settings(toy.cfg("SAD.yaml"))
    before = describe_run(toy.cfg("SAD.yaml", *STOP, "TEST.EVAL_PERIOD", 5))
    check_same_run(before, describe_run(toy.cfg("SAD.yaml", *STOP, "TEST.EVAL_PERIOD", 6)))
    assert log == ["Going on with another TEST.EVAL_PERIOD: 5 before, 6 now"]
    other = ("TEST.EVAL_PERIOD", 5, "DATASETS.TEST", ("toy_pseudo_labels",))
    with pytest.raises(UserError, match=r"SOLVER\.EARLY_STOP\.PATIENCE 2 before, 0 now"):
        check_same_run(before, describe_run(toy.cfg("SAD.yaml")))
    cfg = toy.cfg("student.yaml", *STOP, *other)
    assert "the sha256 of toy_pseudo_labels's annotations" in describe_run(cfg)
    cfg = toy.cfg("student.yaml", *other)
    assert "the sha256 of toy_pseudo_labels's annotations" not in describe_run(cfg)


def test_a_teachers_test_sizes_are_no_part_of_a_run(toy, tmp_path, log):
    run = describe_run(toy.cfg("SAD.yaml"))
    teacher = tmp_path / "teacher.yaml"
    teacher.write_text(
        f"_BASE_: {toy.path('teacher.yaml')}\n"
        "MODEL: {RETINANET: {SCORE_THRESH_TEST: 0.3, FOCAL_LOSS_GAMMA: 2.0}}\n"
    )
    check_same_run(run, describe_run(toy.cfg("SAD.yaml", "SAD.TEACHER.CONFIG_FILE", str(teacher))))
    assert len(log) == 1 and "the teacher's MODEL.RETINANET.SCORE_THRESH_TEST: 0.001" in log[0]
    teacher.write_text(teacher.read_text() + "INPUT: {FORMAT: RGB}\n")
    now = describe_run(toy.cfg("SAD.yaml", "SAD.TEACHER.CONFIG_FILE", str(teacher)))
    with pytest.raises(UserError, match=r"the teacher's INPUT\.FORMAT BGR before, RGB now"):
        check_same_run(run, now)


def test_what_an_experiment_is(toy, tmp_path):
    """Settings, annotations and teacher; not where they lie."""
    run = describe_run(toy.cfg("SAD.yaml"))
    digest = hashlib.sha256((toy.root / "teacher.pth").read_bytes()).hexdigest()
    assert run["the sha256 of SAD.TEACHER.WEIGHTS"] == digest
    assert run["the teacher's MODEL.FPN.OUT_CHANNELS"] == 16 and run["number of ranks"] == 1
    moved = shutil.copy(toy.root / "teacher.pth", tmp_path / "moved.pth")
    assert describe_run(toy.cfg("SAD.yaml", "SAD.TEACHER.WEIGHTS", str(moved))) == run
    boxes = toy.json("pseudo_labels.json")
    boxes["annotations"].pop()
    (tmp_path / "other.json").write_text(json.dumps(boxes))
    other = ("DATASETS.REGISTER.toy_pseudo_labels.JSON", str(tmp_path / "other.json"))
    changed = describe_run(toy.cfg("SAD.yaml", *other))
    toy.cfg("SAD.yaml")  # registers the set as it was
    keys = {key for key in run if run[key] != changed[key]}
    assert keys == {"the sha256 of toy_pseudo_labels's annotations"}


def test_whether_answers_are_kept_is_part_of_a_run_and_not_where(toy, tmp_path):
    folder = ("SAD.TEACHER.CACHE.DIR", str(tmp_path))
    run = describe_run(toy.cfg("SAD.yaml", *folder))
    elsewhere = ("SAD.TEACHER.CACHE.DIR", "elsewhere", "SAD.TEACHER.CACHE.LEAVE_FREE_GB", 1.0)
    check_same_run(run, describe_run(toy.cfg("SAD.yaml", *elsewhere)))
    with pytest.raises(UserError, match=r"SAD\.TEACHER\.CACHE\.DIR False before, True now"):
        check_same_run(describe_run(toy.cfg("SAD.yaml")), run)
    coarser = describe_run(toy.cfg("SAD.yaml", *folder, "SAD.TEACHER.CACHE.FLOOR", 0.01))
    with pytest.raises(UserError, match=r"SAD\.TEACHER\.CACHE\.FLOOR 0\.0 before, 0\.01 now"):
        check_same_run(run, coarser)
