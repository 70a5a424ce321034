"""The metrics that a run writes down, read again."""

import contextlib
import json

METRICS = ("AP", "AP50", "AP75")


def read_metrics(path: str) -> list[dict]:
    """Detectron2's metrics.json: its last line last, the others by iteration.

    A run that was interrupted and resumed writes some iterations twice, the later line counts. A
    line that the interruption cut short is left out; the next may hang on it without a line break.
    What an earlier, longer run wrote beyond the end is left out too.
    """
    lines = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            with contextlib.suppress(json.JSONDecodeError):
                lines.append(json.loads(line[max(0, line.rfind("{")) :]))
    by_iteration = {}
    for line in lines:
        by_iteration[line["iteration"]] = by_iteration.get(line["iteration"], {}) | line
    return [by_iteration[i] for i in sorted(by_iteration) if i <= lines[-1]["iteration"]]
