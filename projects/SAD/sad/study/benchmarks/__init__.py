"""What scripts/benchmark.py measures: a module per section, each with `run(options)`.

A section compares arms: functions that do the same work in different ways, or parts of it. They
take turns in one process, so that whatever else the machine does meets all alike, and each figure
is a ratio of two of them.
"""
