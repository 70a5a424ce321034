"""Losses as anchors grow: the arms, the count of terms, and what is written."""

import argparse
import json
import shutil

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator

from sad.config.load import get_sad_cfg
from sad.study import imbalance, table_pictures, tables
from sad.study.experiments import Lab
from toy import REPOSITORY


@pytest.fixture(scope="module")
def spec():
    return tables.read_tables(str(REPOSITORY / "configs" / "tables.yaml"))["imbalance"]


@pytest.mark.slow
def test_every_arm_gets_the_same_weights_on_the_same_set(spec, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for benchmark, test in spec["benchmarks"].items():
        found = imbalance.experiments(spec, benchmark)
        assert len(found) == 1 + 6 * 3
        assert len({experiment.name for experiment in found.values()}) == len(found)
        for (arm, weight), experiment in found.items():
            cfg = experiment.cfg
            assert list(cfg.DATASETS.TEST) == [test] and cfg.SOLVER.MAX_ITER >= 2000
            if weight is None:
                assert cfg.MODEL.META_ARCHITECTURE == "RetinaNet"
                continue
            distill = cfg.SAD.DISTILL.CLASS
            assert distill.WEIGHT == weight
            assert distill.LOSS == {"plain KL": "kl", "FDL": "fdl"}.get(arm, "adl")
            if distill.LOSS == "adl":
                assert arm == f"ADL gamma {distill.GAMMA:g} beta {distill.BETA:g}"


def test_anchors_and_classes_grow(spec, monkeypatch):
    """3,024 x 10, 3,024 x 80 and 19,206 x 80 terms per image."""
    monkeypatch.chdir(REPOSITORY)
    terms = []
    for benchmark in spec["benchmarks"]:
        cfg = get_sad_cfg(f"configs/{benchmark}/student.yaml")
        side = cfg.INPUT.MIN_SIZE_TEST
        strides = [8 * 2**level for level in range(len(cfg.MODEL.RETINANET.IN_FEATURES))]
        generator = build_anchor_generator(cfg, [ShapeSpec(stride=stride) for stride in strides])
        maps = [torch.empty(1, 1, -(-side // s), -(-side // s)) for s in strides]
        anchors = sum(len(boxes) for boxes in generator(maps))
        terms.append((anchors, cfg.MODEL.RETINANET.NUM_CLASSES))
    assert terms == [(3024, 10), (3024, 80), (19206, 80)]


SPEC = {"benchmarks": {"toy": "toy_labeled"}, "seed": 0, "plain": "teacher",
        "distilled": "student_ADL", "weights": [1.0], "arms": {"KL": {"LOSS": "kl"}}}  # fmt: skip


@pytest.fixture
def trained(toy, tmp_path, monkeypatch):
    """The folder of a teacher that is trained already, in a repository of its own."""
    configs = tmp_path / "configs" / "toy"
    configs.mkdir(parents=True)
    (configs / "teacher.yaml").write_text(f"_BASE_: {toy.root}/teacher.yaml\n")
    (configs / "student_ADL.yaml").write_text(
        f"_BASE_: {toy.root}/SAD.yaml\n"
        "DATASETS:\n  UNLABELED: []\n"
        "SAD:\n  TEACHER:\n    CONFIG_FILE: configs/toy/teacher.yaml\n"
    )
    monkeypatch.chdir(tmp_path)
    lab = Lab(tmp_path, tmp_path / "output", tmp_path / "results.json", "")
    run = lab.directory(imbalance.experiments(SPEC, "toy")["KL", 1.0].teacher)
    run.mkdir(parents=True)
    shutil.copy(toy.root / "teacher.pth", run / "model_final.pth")
    (run / "metrics.json").write_text(json.dumps({"iteration": 1, "bbox/AP": 1.0}))
    return run


@pytest.mark.slow
def test_count_of_terms(trained, tmp_path):
    """Terms are at most as many as anchors and classes; a silent teacher finds them all easy."""
    lab = Lab(tmp_path, tmp_path / "output", tmp_path / "results.json", "")
    experiment = imbalance.experiments(SPEC, "toy")["KL", 1.0]
    counted = imbalance.count_terms(lab, experiment)
    assert counted["terms"] > 1000 and 0 < counted["foreground"] < counted["terms"] / 20
    assert 0 <= counted["easy"] < counted["terms"]
    assert counted["easy_per_foreground"] == pytest.approx(counted["easy"] / counted["foreground"])
    # The random teacher's scores lie far above RetinaNet's prior; one that believes in nothing:
    weights = torch.load(trained / "model_final.pth", weights_only=True)
    weights["model"]["head.cls_score.bias"] -= 200
    torch.save(weights, trained / "model_final.pth")
    silent = imbalance.count_terms(lab, experiment)
    assert silent["easy"] == silent["terms"] == counted["terms"]
    assert silent["foreground"] == counted["foreground"]


@pytest.mark.slow
def test_what_is_known_is_written_without_training(trained, tmp_path):
    """One arm of two is known: it can be drawn, and a second time needs no teacher either."""
    args = argparse.Namespace(
        output=tmp_path / "output", results=tmp_path / "results", tables=tmp_path, jobs=1
    )
    args.results.mkdir()
    wanted = imbalance.experiments(SPEC, "toy")
    known = {
        arm: {
            "0": {"AP": ap, "digest": wanted[arm, weight].digest, "data": wanted[arm, weight].data}
        }
        for arm, weight, ap in (("student alone", None, 20.0), ("KL", 1.0, 24.0))
    }
    results = args.results / "toy_tune.json"
    results.write_text(json.dumps(known))
    imbalance.Imbalance(args, SPEC, root=tmp_path, command="").run("toy")
    content = json.loads((tmp_path / "imbalance.json").read_text())
    assert content["benchmarks"]["toy"]["arms"]["KL"] == {"1.0": 24.0}
    shutil.rmtree(tmp_path / "output")
    again = imbalance.Imbalance(args, SPEC, root=tmp_path, command="")
    again.run("toy")
    assert not (tmp_path / "output").exists()
    results.write_text(json.dumps({"student alone": known["student alone"]}))
    assert "| student alone | 20.0 |" in again.write()
    assert again.terms["toy"]["easy_per_foreground"] > 0


def test_what_is_written():
    arms = {"student alone": {None: 20.0}, "KL": {0.5: 24.0, 2.0: 25.5}}
    terms = {"terms": 30240, "easy": 30000, "foreground": 30, "easy_per_foreground": 1000}
    content = {"title": "T", "command": "c", "benchmarks": {
        "small": {"terms": terms, "arms": arms}, "large": {"terms": None, "arms": {}}}}  # fmt: skip
    text = tables.imbalance_markdown(content)
    assert "| KL | 25.5 (0.5: 24.0, 2: 25.5) | not run here |" in text
    assert "| easy terms per foreground anchor | 1,000 |  |" in text
    (axes,) = table_pictures.imbalance_picture(content).axes
    drawn = {line.get_label(): (*line.get_xdata(), *line.get_ydata()) for line in axes.lines}
    assert drawn == {"student alone": (1000, 0.0), "KL": (1000, 5.5)}
