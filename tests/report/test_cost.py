"""What a model costs, from a real (toy) run."""

import pytest
import torch
from detectron2.data import DatasetCatalog

from sad.modeling.build import load_detector
from sad.report.cost import measure
from sad.report.runs import read_runs


@pytest.mark.slow
def test_costs_are_those_of_the_model(runs):
    run = read_runs([("student", str(runs / "student"))])[0]
    model, cfg = load_detector(run.path("config.yaml"), run.path("model_final.pth"), "cpu")
    records = DatasetCatalog.get(run.test_set)[:2]
    (cost,) = measure([(model, cfg)], records)
    multiply_adds = 0

    def count(module, inputs, output):
        nonlocal multiply_adds
        multiply_adds += module.weight.numel() * output.shape[-2] * output.shape[-1]

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    (again,) = measure([(model, cfg)], records[:1])  # FLOPs once, warm-up once, timed once
    # The convolutions by hand; the rest of fvcore's count is normalisation and upsampling.
    assert 0.95 < multiply_adds / 3 / 1e9 / cost["gflops"] <= 1
    assert again["gflops"] == cost["gflops"]
    weights = torch.load(run.path("model_final.pth"), weights_only=True)["model"]
    learned = [v.numel() for k, v in weights.items() if k.endswith((".weight", ".bias"))]
    assert cost["parameters"] * 1e6 == pytest.approx(sum(learned))
    assert cost["ms"] > 0 and len(cost["detections"]) == 2
