"""The content of a report.json, whole and small, its pictures those of the toy problem."""

import numpy as np

from sad.evaluation.error_kinds import KINDS

NAMES = ("teacher", "alone", "longer", "SAD")


def details(seed=0, classes=2) -> dict:
    rng = np.random.default_rng(seed)
    thresholds = np.linspace(0.01, 0.99, 99).round(2).tolist()
    rates = {name: rng.random(99).tolist() for name in ("precision", "recall", "f1")}
    curve = np.linspace(1, 0, 101).tolist()
    return {
        "precision_recall": {
            "recall": np.linspace(0, 1, 101).tolist(),
            "precision": {"0.5": curve, "0.75": curve},
        },
        "by_threshold": {"thresholds": thresholds, **rates},
        "threshold": 0.4,
        "precision": 0.5,
        "recall": 0.25,
        "f1": 1 / 3,
        "confusion": rng.integers(0, 9, (classes + 1, classes + 1)).tolist(),
        "errors": {
            x: n for n, x in enumerate(["right", *KINDS, "ignored", "found", "meant", "missed"])
        },
        "costs": {"AP50": 60.0, **{x: n / 2 for n, x in enumerate([*KINDS, "missed"])}},
    }


def curves(seed=0, teaches=False) -> dict:
    rng = np.random.default_rng(seed)
    loss = [list(range(20, 201, 20)), rng.random(10).tolist()]
    ratios = {"class": loss, "box": loss} if teaches else {}
    return {"AP": [[100, 200], [3.0, 40.0]], "class_loss": loss, "total_loss": loss} | {
        "ratios": ratios
    }


def run(name: str, number: int) -> dict:
    return {
        "name": name,
        "directory": f"runs/{name}",
        "weights": "model_final.pth",
        "AP": 40.0 + number,
        "AP50": 60.0,
        "AP75": 45.0,
        "class_AP": {"light": 51.04, "dark": None},
        "AP_by_size": {"small": 30.0, "medium": 50.0, "large": None},
        "minutes": 61.26,
        "parameters": 123.418,
        "gflops": 0.0538327,
        "ms": 117.26 + number,
        "curves": curves(number, name == "SAD"),
        "details": details(number),
    }


def pair(to: str) -> dict:
    of_metric = {"difference": 1.25, "low": 0.5, "high": 2.0}
    return {"to": to, "AP": of_metric, "AP50": of_metric}


def gain() -> dict:
    return {
        "distilled": "SAD",
        "baseline": "alone",
        "teacher": "teacher",
        "differences": [pair("alone"), pair("longer"), pair("teacher")],
        "resamples": 1000,
        "seed": 0,
        "no_interval": "",
        "verdict": "helped",
        "gap": 4.0,
        "share_of_gap": 0.5,
        "use": "SAD",
    }


def picture(path, size=(64, 48), gained=0, lost=0, runs=4) -> dict:
    found = {"boxes": [[1.0, 2, 20, 30]], "classes": [1], "scores": [0.5], "right": [False]}
    return {
        "file_name": str(path),
        "width": size[0],
        "height": size[1],
        "labels": [{"box": [4.0, 4, 30, 30], "class": 0}, {"box": [20.0, 9, 40, 40], "class": 1}],
        "runs": [found | {"missed": [1]} for _ in range(runs)],
        "gained": gained,
        "lost": lost,
    }


# What a report says of itself and of how it was measured.
MADE = {
    "title": "Title",
    "command": "make it",
    "notes": ["Chosen on the same set."],
    "test_set": "some_set",
    "test_images": 1000,
    "timed_images": 50,
    "machine": {"device": "CPU", "cpu": "X", "cores": 2, "torch_threads": 1, "torch": "2.4"},
}


def report(pictures=(), names=NAMES) -> dict:
    """Of so many runs, the last the distilled one."""
    return {
        **MADE,
        "classes": {"light": 1200, "dark": 0},
        "runs": [run(name, number) for number, name in enumerate(names)],
        "no_details": {},
        "settings": {
            "runs": [{"detector": "RetinaNet", "seed": number} for number in range(len(names))],
            "differing": {"SOLVER.MAX_ITER": [str(number) for number in range(len(names))]},
        },
        "gain": gain(),
        "pictures": {
            "from": 1000,
            "number": 2,
            "thresholds": {name: 0.3 + number / 10 for number, name in enumerate(names)},
            "agreement": {"both": 5, "first": 3, "second": 1, "neither": 1},
            "images": list(pictures),
        },
        "pseudo_labels": {
            "labels": {
                "threshold": 0.4,
                "instances": 1234,
                "images_kept": 56,
                "score_histogram": {"edges": [0, 0.5, 1], "counts": [100, 20]},
                "measured": None,
            },
            "held_out": {
                "images": 12,
                "thresholds": [0.1, 0.5, 0.9],
                "precision": [0.2, 0.6, None],
                "recall": [0.9, 0.6, 0.1],
            },
        },
        "uncertainty": {"students": ["SAD"], "images": [], "reason": ""},
    }
