"""Rows of a table and claims about them, judged."""

from sad.study import tables

CLAIM = {"text": "more is more", "more": "a", "less": "b"}


def aps(*values):
    return {seed: {"AP": v, "AP50": v + 20, "AP75": v + 5} for seed, v in enumerate(values)}


def judge(*differences, **claim):
    results = {"a": aps(*(40 + d for d in differences)), "b": aps(*[40] * len(differences))}
    return tables.judge({**CLAIM, **claim}, results)


ROWS = [
    {
        "name": "first",
        "config": "x/one",
        "coco": "C",
        "paper": [28.8, 45.8, 30.6],
        "results": aps(40, 42, 47),
    },
    {"name": "second", "config": "x/two", "coco": None, "paper": [], "results": {}},
]
JUDGED = tables.judge_family(
    {
        "same sign": judge(1.0, 0.5, 2.0),  # p 0.118
        "held": judge(1.0, 1.2, 0.9),  # p 0.0073
        "surely": judge(1.0, 1.01, 1.02),  # p 0.00003
        "no": judge(1.0),
        "none": None,
    }
)
CLAIMS = [{"text": text, "judged": judged} for text, judged in JUDGED.items()]
