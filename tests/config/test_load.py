"""The keys, their values, and configs that are refused."""

import functools
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg

from sad.config.defaults import add_sad_config, detector_name, distills
from sad.config.detector_keys import keys_of, value_of
from sad.config.identity import settings
from sad.config.load import config_path, get_sad_cfg
from sad.preflight.values import check_config
from sad.utils.errors import UserError
from toy import REPOSITORY

NETWORKS = REPOSITORY / "configs" / "networks"
# Those of networks are parts of configs, see tests/pipeline/test_networks.py.
CONFIGS = sorted({*(REPOSITORY / "configs").rglob("*.yaml")} - {*NETWORKS.rglob("*.yaml")})
CONFIGS.remove(REPOSITORY / "configs" / "tables.yaml")  # which config is which row
SAD = REPOSITORY / "projects" / "SAD" / "sad"
SOURCES = [*SAD.rglob("*.py")]
SOURCES.remove(SAD / "preflight" / "values.py")  # names, uses nothing


def leaves(node: CfgNode, prefix=()) -> set[str]:
    keys = set()
    for key, value in node.items():
        path = (*prefix, key)
        keys |= leaves(value, path) if isinstance(value, CfgNode) and value else {".".join(path)}
    return keys


def new_keys() -> set[str]:
    cfg = get_cfg()
    before = leaves(cfg)
    add_sad_config(cfg)
    return leaves(cfg) - before


def test_every_key_is_read_somewhere():
    """Its last part stands in the sources, other than as an assignment in add_sad_config."""
    text = "\n".join(path.read_text() for path in SOURCES)
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    code = re.sub(r'""".*?"""', "", code, flags=re.DOTALL)
    code = re.sub(r"^ *cfg(\.\w+)+ = ", "", code, flags=re.MULTILINE)
    keys = new_keys()
    assert len(keys) > 20
    unread = {
        key for key in keys if not re.search(rf"""(\.|\["|"){key.rpartition(".")[2]}\b""", code)
    }
    assert unread == set()


@pytest.mark.parametrize(
    "path",
    [SAD / "config" / "defaults.py", *sorted((SAD / "terms").glob("*term.py"))],
    ids=lambda path: path.stem,
)
def test_every_key_has_a_comment_above(path):
    """A run of keys may share one."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r" *(cfg|node)\.[A-Z]\S* = (?!CN\(\))", line):
            while re.match(r" *(cfg|node)\.", lines[number]):
                number -= 1
            assert lines[number].strip().startswith("#"), line


def test_defaults_are_the_papers_values():
    cfg = get_sad_cfg()
    assert cfg.SAD.DISTILL.TERMS == ("class",)
    distill = cfg.SAD.DISTILL.CLASS
    assert (distill.LOSS, distill.FORM, distill.NORMALIZER) == ("adl", "kl", "teacher_power")
    assert (distill.GAMMA, distill.BETA, distill.NORMALIZER_POWER) == (2.0, 1.5, 1.8)
    assert cfg.SOLVER.LR_DROPS == (0.7, 0.9)
    assert cfg.SAD.LOADER.MIX == "alternate"
    assert cfg.SAD.TARGETS.LABELED == cfg.SAD.TARGETS.UNLABELED == ("hard", "soft")


def test_detectron2_defaults_are_left_alone():
    stock = get_cfg()
    cfg = get_sad_cfg()
    assert leaves(cfg) - leaves(stock) == new_keys()
    assert cfg.SOLVER.STEPS == ()  # as SOLVER.LR_DROPS says when the rate drops
    for key in leaves(stock) - {"SOLVER.STEPS"}:
        ours, theirs = cfg, stock
        for part in key.split("."):
            ours, theirs = ours[part], theirs[part]
        assert ours == theirs, key
    assert leaves(get_cfg()) == leaves(stock)  # the global defaults hold no key of ours


@functools.cache
def shipped(path: Path) -> CfgNode:
    return get_sad_cfg(str(path))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_shipped_config(path):
    cfg = shipped(path)
    check_config(cfg)
    parents = [parent.name for parent in path.parents]
    if cfg.SAD.TEACHER.CONFIG_FILE:
        assert cfg.MODEL.META_ARCHITECTURE == "Distiller"
        teacher = shipped(REPOSITORY / cfg.SAD.TEACHER.CONFIG_FILE)
        assert detector_name(teacher) == detector_name(cfg)
        # Its own teacher, if it had one, has given it boxes alone.
        assert teacher.MODEL.META_ARCHITECTURE == detector_name(cfg) or not distills(teacher)
        of_classes = keys_of(cfg).num_classes
        assert value_of(teacher, of_classes) == value_of(cfg, of_classes)
        made_elsewhere = "detectron2://"  # of the model zoo
        assert cfg.SAD.TEACHER.WEIGHTS.startswith((teacher.OUTPUT_DIR, made_elsewhere))
    if "Base" not in path.name and "configs" in parents:
        # A run directory of its own.
        others = [shipped(other).OUTPUT_DIR for other in CONFIGS if other != path]
        assert cfg.OUTPUT_DIR not in others
        assert not Path(cfg.OUTPUT_DIR).is_absolute()


def test_saved_config_loads_again(tmp_path, toy):
    """config.yaml of a run directory describes the run."""
    cfg = toy.cfg("SAD.yaml", "SAD.DISTILL.CLASS.WEIGHT", 0.25)
    (tmp_path / "config.yaml").write_text(cfg.dump())
    again = get_sad_cfg(str(tmp_path / "config.yaml"))
    check_config(again)
    assert yaml.safe_load(again.dump()) == yaml.safe_load(cfg.dump())


def test_options_win_over_the_yaml(toy):
    cfg = get_sad_cfg(
        toy.path("SAD.yaml"), ["SAD.DISTILL.CLASS.LOSS", "kl", "SAD.LOADER.RATIO", "(1, 4)"]
    )
    assert cfg.SAD.DISTILL.CLASS.LOSS == "kl"
    assert cfg.SAD.LOADER.RATIO == (1, 4)
    assert not cfg.is_frozen()


def test_what_an_option_leaves_without_a_say_goes_back_to_its_default(toy, tmp_path, log):
    """So that one option tries another loss, and the run's config.yaml is taken as well."""
    path = tmp_path / "SAD.yaml"
    path.write_text(
        f"_BASE_: {toy.path('SAD.yaml')}\n"
        "SAD: {DISTILL: {CLASS: {BETA: 0.5, GAMMA: 1.0, WEIGHT: 2.0}},\n"
        "      LOADER: {MIX: ratio, RATIO: [1, 3]}}\n"
    )
    check_config(get_sad_cfg(str(path)))
    assert log == []
    cfg = get_sad_cfg(str(path), ["SAD.DISTILL.CLASS.LOSS", "fdl", "SAD.LOADER.MIX", "union"])
    term = cfg.SAD.DISTILL.CLASS
    assert (term.LOSS, term.BETA, term.GAMMA, term.WEIGHT) == ("fdl", 1.5, 1.0, 2.0)
    assert cfg.SAD.LOADER.RATIO == (1, 1)
    named = [key for message in log for key in re.findall(r"^\S+", message)]
    assert sorted(named) == ["SAD.DISTILL.CLASS.BETA", "SAD.LOADER.RATIO"]
    (tmp_path / "config.yaml").write_text(cfg.dump())
    check_config(get_sad_cfg(str(tmp_path / "config.yaml")))
    off = get_sad_cfg(str(path), ["SAD.DISTILL.TERMS", "()"]).SAD.DISTILL
    assert (off.TERMS, off.CLASS.BETA, off.CLASS.GAMMA) == ((), 0.5, 1.0)
    other = get_sad_cfg(str(path), ["SAD.DISTILL.TERMS", "['feature']"])
    assert other.SAD.DISTILL.CLASS.WEIGHT == 0.5
    assert any(message.startswith("SAD.DISTILL.CLASS.WEIGHT") for message in log)
    check_config(other)


def test_what_is_without_a_say_in_the_yaml_or_among_the_options_stays(toy, tmp_path):
    path = tmp_path / "SAD.yaml"
    distill = "SAD: {DISTILL: {CLASS: {LOSS: kl, GAMMA: 1.0}}}"
    path.write_text(f"_BASE_: {toy.path('SAD.yaml')}\n{distill}\n")
    opts = ["SAD.DISTILL.CLASS.LOSS", "kl", "SAD.DISTILL.CLASS.GAMMA", "1.0"]
    for cfg in (
        get_sad_cfg(str(path)),
        get_sad_cfg(str(path), opts[:2]),
        get_sad_cfg(toy.path("SAD.yaml"), opts),
    ):
        with pytest.raises(UserError, match=r"SAD\.DISTILL\.CLASS\.GAMMA is 1\.0"):
            check_config(cfg)


REFUSED = {
    "unknown key": ("SAD: {DISTIL: {LOSS: adl}}", "SAD.DISTIL"),
    "unknown leaf": ("SAD: {DISTILL: {LAMBDA: 1}}", "SAD.DISTILL.LAMBDA"),
    "wrong type": ("SAD: {DISTILL: {CLASS: {GAMMA: two}}}", "SAD.DISTILL.CLASS.GAMMA"),
    "string for a list": ("SAD: {TARGETS: {LABELED: hard}}", "SAD.TARGETS.LABELED"),
    "value for a section": ("SAD: 3", "SAD"),
    "no yaml": ("SAD: [", "line 1"),
    "a list": ("[1, 2]", ""),
    "empty": ("", ""),
    "python tag": ("SEED: !!python/object/apply:os.mkdir ['pwned']", "python/object/apply"),
    "python tag in the base": ("_BASE_: tagged.yaml", "python/object/apply"),
    "python tag in a base of the base": ("_BASE_: [middle.yaml]", "tagged.yaml"),
    "python name": ("SEED: !!python/name:os.system", "such tags run Python and are refused"),
    "python object": ("SEED: !!python/object/new:os.mkdir [pwned]", "python/object/new:os.mkdir"),
    "missing base": ("_BASE_: absent.yaml", "absent.yaml"),
    "base of itself": ("_BASE_: a.yaml", "its _BASE_ leads back to itself"),
    "bases in a circle": ("_BASE_: circle.yaml", "its _BASE_ leads back to itself"),
}


@pytest.mark.parametrize(("text", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_yaml(text, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tagged.yaml").write_text("SEED: !!python/object/apply:os.mkdir ['pwned']")
    (tmp_path / "middle.yaml").write_text("_BASE_: tagged.yaml")
    (tmp_path / "circle.yaml").write_text("_BASE_: a.yaml")
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=r"a\.yaml") as error:
        get_sad_cfg(str(tmp_path / "a.yaml"))
    assert named in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", ["retinanet_R_50_FPN_1x.yaml", "retinanet_R_101_FPN_3x.yaml"])
def test_detectron2s_own_retinanet_yamls_evaluate_python(name):
    """Ours has their values: only the anchor sizes are rounded, to 1e-4 pixels."""
    stock = model_zoo.get_config_file(f"COCO-Detection/{name}")
    sentence = r"python/object/apply:eval.*run Python and are refused.*configs/Base-RetinaNet\.yaml"
    with pytest.raises(UserError, match=sentence):
        get_sad_cfg(stock)
    theirs = get_cfg()
    theirs.merge_from_file(stock)
    ours = get_sad_cfg(str(REPOSITORY / "configs" / "Base-RetinaNet.yaml"))
    np.testing.assert_allclose(
        ours.MODEL.ANCHOR_GENERATOR.SIZES, theirs.MODEL.ANCHOR_GENERATOR.SIZES, atol=1e-4
    )
    for key in ("BACKBONE", "FPN", "RETINANET"):
        assert {**ours.MODEL[key], **theirs.MODEL[key]} == ours.MODEL[key]


def test_missing_yaml():
    with pytest.raises(UserError, match=r"nowhere/a\.yaml"):
        get_sad_cfg("nowhere/a.yaml")


@pytest.mark.parametrize(
    ("opts", "named"),
    [
        (["SAD.DISTILL.LAMDA", "1"], "SAD.DISTILL.LAMDA"),
        (["SAD.DISTILL.CLASS.GAMMA"], "SAD.DISTILL.CLASS.GAMMA"),  # no value
        (["SAD.DISTILL.CLASS.GAMMA", "two"], "SAD.DISTILL.CLASS.GAMMA"),
        (["SOLVER.IMS_PER_BATCH", "8.5"], "SOLVER.IMS_PER_BATCH"),
    ],
)
def test_refused_options(opts, named, toy):
    with pytest.raises(UserError) as error:
        get_sad_cfg("", opts)
    assert named in str(error.value)
    with pytest.raises(UserError) as error:
        get_sad_cfg(toy.path("SAD.yaml"), opts)
    assert named in str(error.value)
    # The yaml is not to blame.
    assert "the options" in str(error.value)


@pytest.mark.parametrize(
    ("name", "key", "own"),
    [
        ("rcnn_student.yaml", "MODEL.RETINANET.NUM_CLASSES", "MODEL.ROI_HEADS.NUM_CLASSES"),
        ("TAR.yaml", "MODEL.RETINANET.SCORE_THRESH_TEST", "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        ("TAR.yaml", "MODEL.RETINANET.NUM_CONVS", ""),
        ("student.yaml", "MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES"),
        ("SAD.yaml", "MODEL.RPN.IN_FEATURES", "MODEL.RETINANET.IN_FEATURES"),
    ],
)
def test_an_option_of_another_detector_is_refused(name, key, own, toy):
    value = value_of(get_cfg(), key)
    with pytest.raises(UserError, match=key) as error:
        get_sad_cfg(toy.path(name), [key, value])
    assert own in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "model = dict(num_classes=2)",
        "from a import b\n\nmodel = b(\n    a={1: 2},\n)\n",
        "",
        "x: 1",
    ],
)
def test_python_in_the_place_of_a_yaml(tmp_path, text):
    """Detectron2's LazyConfig, under its own name and as anything's _BASE_."""
    (tmp_path / "lazy.py").write_text(text)
    with pytest.raises(UserError, match=r"lazy\.py: it is Python .*a yaml is wanted"):
        get_sad_cfg(str(tmp_path / "lazy.py"))


@pytest.mark.parametrize("text", ["", "SOLVER", "- SOLVER", "3", "_BASE_: base.py"])
def test_yaml_without_keys(tmp_path, text):
    (tmp_path / "base.py").write_text("model = dict(num_classes=2)")
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UserError, match=r"a\.yaml: .*holds no keys, and a yaml is wanted"):
        get_sad_cfg(str(tmp_path / "a.yaml"))


def test_the_order_of_terms_makes_no_other_experiment():
    one, other = (
        get_sad_cfg("", ["SAD.DISTILL.TERMS", terms])
        for terms in (("class", "box"), ["box", "class"])
    )
    assert settings(one) == settings(other)


# --- the project's own yamls from any folder -----------------------------------------------------


def test_a_yaml_of_the_project_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    expected = get_sad_cfg("configs/digits/SAD.yaml")
    monkeypatch.chdir(tmp_path)
    cfg = get_sad_cfg("configs/digits/SAD.yaml")
    assert cfg == expected and cfg.SAD.TEACHER.CONFIG_FILE == "configs/digits/teacher.yaml"
    get_sad_cfg(cfg.SAD.TEACHER.CONFIG_FILE)


def test_a_yaml_in_the_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "configs" / "digits" / "SAD.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("SEED: 5")
    assert get_sad_cfg("configs/digits/SAD.yaml").SEED == 5
    assert config_path("configs/digits/SAD.yaml") == "configs/digits/SAD.yaml"
    assert Path(config_path("configs/digits/student.yaml")).samefile(
        REPOSITORY / "configs" / "digits" / "student.yaml"
    )


@pytest.mark.parametrize(
    "name", ["configs/digits/absent.yaml", "digits/SAD.yaml", "configs", "", "https://a/b.yaml"]
)
def test_other_names_stay_as_they_are(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert config_path(name) == name
