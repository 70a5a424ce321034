"""The metrics that a run writes down, read again."""

import contextlib
import json
import math

METRICS = ("AP", "AP50", "AP75")


def read_metrics(path: str) -> list[dict]:
    """Detectron2's metrics.json: its last line last, the others by iteration.

    A run that was interrupted and resumed writes some iterations twice, the later line counts. A
    line that the interruption cut short is left out; the next may hang on it without a line break.
    What an earlier, longer run wrote beyond the end is left out too. Where nothing was found, for
    which Detectron2 writes NaN, AP, AP50 and AP75 are 0.
    """
    lines = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line[max(0, line.rfind("{")) :]))
    by_iteration = {}
    for line in lines:
        found = {key: _number(key, value) for key, value in line.items()}
        by_iteration[line["iteration"]] = by_iteration.get(line["iteration"], {}) | found
    return [by_iteration[i] for i in sorted(by_iteration) if i <= lines[-1]["iteration"]]


def _number(key: str, value: float) -> float:
    is_ap = key.endswith(tuple(f"bbox/{metric}" for metric in METRICS))
    return 0.0 if is_ap and math.isnan(value) else value
