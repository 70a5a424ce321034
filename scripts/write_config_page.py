"""Write docs/config.md from the comments and defaults of `sad.config.defaults` and `sad.terms`:

python scripts/write_config_page.py
"""

import argparse
import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

import sad_command  # noqa: F401
from sad.config import defaults as source
from sad.terms import TERMS
from sad.terms.term import Term

PAGE = Path(__file__).resolve().parents[1] / "docs" / "config.md"
HEAD = """\
# Configuration

Every key that this project adds to Detectron2's, or gives another default. Set a key in a yaml, or
as a KEY VALUE pair at the end of a command: `SAD.LOADER.MIX union`. A key that would have no effect
beside the others is refused. Where a KEY VALUE pair is what makes a key of the yaml idle, that key
is left out with a warning. "Eq." and "Table" are those of the paper, see [Method](method.md).

This page is written by `python scripts/write_config_page.py`. Its texts are the comments in
`config/defaults.py` and `terms/`.
"""


def commented(function, prefix: str = "") -> list[tuple[list[str], str]]:
    """(keys that share a comment, the comment), in the order of a function that assigns keys."""
    code = textwrap.dedent(inspect.getsource(function))
    lines, found, end = code.splitlines(), [], 0
    for node in ast.parse(code).body[0].body:
        above = [line.strip() for line in lines[end : node.lineno - 1]]
        end = node.end_lineno
        if not isinstance(node, ast.Assign):
            continue
        name = prefix + ast.unparse(node.targets[0]).partition(".")[2]
        if above or not found:
            found.append(([], " ".join(line.removeprefix("#").strip() for line in above if line)))
        found[-1][0].append(name)
    return found


def documented() -> Iterator[tuple[list[str], str]]:
    """Those of all keys; a term's own comment comes before that of all terms."""
    for names, comment in commented(source.add_sad_config):
        yield names, comment
        if names[-1] != "SAD.DISTILL.TERMS":
            continue
        for name, term in TERMS.items():
            section = f"SAD.DISTILL.{name.upper()}."
            own = commented(term.add_keys, section) if "add_keys" in vars(term) else []
            said = {key for keys, _ in own for key in keys}
            shared = commented(Term.add_keys, section)
            yield from own
            yield from ((keys, text) for keys, text in shared if not said & set(keys))


def config_page() -> str:
    values, pages = source.defaults(), {}  # section -> its lines
    for names, comment in documented():
        keys = [name for name in names if name in values]
        if not keys and any(key.startswith(f"{names[-1]}.") for key in values):
            if comment:  # of a section
                pages[names[-1]] = [comment, ""]
            continue
        keys = keys or names  # a section that users fill
        lines = pages.setdefault(keys[0].rpartition(".")[0], [])
        if not any(line.startswith("|") for line in lines):
            lines += ["| key | default | what it does |", "|---|---|---|"]
        short = ", ".join(f"`{key.rpartition('.')[2]}`" for key in keys)
        default = ", ".join(f"`{values.get(key, {})!r}`" for key in keys)
        lines.append(f"| {short} | {default} | {comment} |")
    parts = (f"\n## {name}\n\n" + "\n".join(lines) + "\n" for name, lines in pages.items())
    return HEAD + "".join(parts)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(config_page())


if __name__ == "__main__":
    main()
