"""The class term of regions: which of them it takes the mean over, and what it logs."""

import pytest
import torch
from detectron2.utils.events import EventStorage

from regions_made import regions_of_image
from sad.losses.regions import CLASS_LOSSES
from sad.terms.roi_class_term import ROIClassTerm
from sad.terms.term import Outputs, Targets, Term
from term_options import term_options

CLASSES = [[0, 1, 2], [2, 0]]  # of two images; 2 is background
BOX = [0, 0, 8, 8]


def make_term(is_sigmoid=False, **changes) -> ROIClassTerm:
    term = ROIClassTerm(term_options("ROI_CLASS", **changes), max_iter=10)
    term.sigmoid = is_sigmoid
    return term


def targets(classes=CLASSES) -> Targets:
    regions = [regions_of_image((32, 32), [BOX] * len(x), x) for x in classes]
    return Targets([], torch.empty(len(classes), 0), [0, 1], [], 2, regions=regions)


def logits(seed) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    return Outputs(roi_logits=[torch.randn(len(x), 3, generator=generator) for x in CLASSES])


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, [0, 1, 4]),
        ({"PROPOSALS": "all"}, [0, 1, 2, 3, 4]),
        ({"PROPOSALS": "all", "LOSS": "kl", "TEMPERATURE": 2.0}, [0, 1, 2, 3, 4]),
        ({"LOSS": "l2"}, [0, 1, 4]),
    ],
)
@pytest.mark.parametrize("is_sigmoid", [False, True])
def test_mean_over_the_chosen_regions(changes, rows, is_sigmoid):
    term, ours, theirs = make_term(is_sigmoid, **changes), logits(0), logits(1)
    with EventStorage() as storage:
        found = term(ours, theirs, targets()) / term.divisor(theirs, targets())
    x, z = (torch.cat(outputs.roi_logits)[rows] for outputs in (ours, theirs))
    loss = CLASS_LOSSES[changes.get("LOSS", "bce")]
    expected = loss(x, z, sigmoid=is_sigmoid, temperature=changes.get("TEMPERATURE", 1.0)).mean()
    assert found.item() == pytest.approx(expected.item())
    assert storage.latest()["roi_class/num_learned"][0] == len(rows) / 2  # an image
    kl = CLASS_LOSSES["kl"](x, z, sigmoid=is_sigmoid, temperature=1.0).mean()
    assert storage.latest()["roi_class/kl"][0] == pytest.approx(kl.item())


def test_batch_without_foreground_is_a_zero_of_the_graph():
    ours = Outputs(roi_logits=[x.requires_grad_() for x in logits(0).roi_logits])
    with EventStorage() as storage:
        loss = make_term()(ours, logits(1), targets([[2, 2, 2], [2, 2]]))
    assert "roi_class/kl" not in storage.latest()
    loss.backward()
    assert loss == 0 and all(not x.grad.any() for x in ours.roi_logits)


def test_keys_without_a_say():
    for changes, idle in (({}, {"TEMPERATURE"}), ({"LOSS": "kl"}, set())):
        node = term_options("ROI_CLASS", **changes)
        assert ROIClassTerm.idle_keys(node).keys() - Term.idle_keys(node).keys() == idle
