"""Yaml files that say why each value is what it is."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

WIDTH = 100


class Setting(NamedTuple):
    key: str  # dotted, as on a command line
    value: Any
    why: str = ""  # a comment of one line


def as_settings(content: dict, prefix: str = "") -> list[Setting]:
    """The leaves of a yaml, without reasons."""
    found = []
    for key, value in content.items():
        if isinstance(value, dict) and value:
            found += as_settings(value, f"{prefix}{key}.")
        else:
            found.append(Setting(prefix + key, value))
    return found


def to_yaml(settings: Iterable[Setting], header: str, base: str = "") -> str:
    """A yaml with each reason above its key; of two settings of one key the later one counts.

    Args:
        header: the comment at the top; lines are kept.
        base: the file it is based on.
    """
    tree = {}
    for setting in settings:
        *sections, key = setting.key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[key] = setting
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += [f"_BASE_: {_text(base)}"] if base else []
    return "\n".join([*lines, *_lines(tree, 0)]) + "\n"


def _lines(tree: dict, depth: int) -> Iterable[str]:
    indent = "  " * depth
    for key, node in tree.items():
        if isinstance(node, dict):
            yield f"{indent}{key}:"
            yield from _lines(node, depth + 1)
            continue
        if node.why:
            yield f"{indent}# {node.why}"
        yield f"{indent}{key}: {_text(node.value)}"


def _text(value: Any) -> str:
    """A value in one line, quoted where yaml would take it for something else."""
    value = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
