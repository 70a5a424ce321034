#!/usr/bin/env python3
"""One table of what `sad distill` reached, from its folders: docs/tables/own_data.md and .json.

    python scripts/own_data_table.py --row "bins, lite0=output/bins0,output/bins1,output/bins2"

The folders of a row differ in --seed alone. What the json knows already stays, so that folders need
not be kept. A row may come run by run: `sad report` on some of the runs of `sad distill`, under the
names that these have there, makes a folder that is taken, too.
"""

import argparse
import json
from pathlib import Path

import sad_command  # noqa: F401
from sad.study.own_data import add_reports, markdown
from sad.utils.errors import UserError, exit_on_user_error
from sad.utils.files import atomic_write, write_json

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "tables" / "own_data"


@exit_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--row", action="append", default=[], metavar="NAME=DIR,DIR,...")
    parser.add_argument("--output", default=str(OUTPUT), help="without the ending")
    args = parser.parse_args()
    groups = {}
    for row in args.row:
        name, _, folders = row.partition("=")
        if not (name and folders):
            raise UserError(f"--row {row!r} is not of the form NAME=DIR,DIR,...")
        groups[name] = folders.split(",")
    known = Path(f"{args.output}.json")
    rows = add_reports(json.loads(known.read_text()) if known.exists() else {}, groups)
    if not rows:
        raise UserError(f"{known} has no rows yet: give one with --row NAME=DIR,DIR,...")
    write_json(str(known), rows, indent=1)
    with atomic_write(f"{args.output}.md") as file:
        file.write(markdown(rows))
    print(f"wrote {args.output}.md and .json")


if __name__ == "__main__":
    main()
