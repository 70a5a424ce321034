#!/usr/bin/env bash
# Sets up if need be, then lint and tests. `--all` includes the tests marked slow; every other
# argument goes to pytest, e.g. `bash scripts/test.sh tests/losses -k gradient`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

select=(-m "not slow")
arguments=()
for argument in "$@"; do
  if [ "$argument" = --all ]; then select=(); else arguments+=("$argument"); fi
done

bash scripts/setup.sh
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .

exec .venv/bin/python -m pytest -p no:cacheprovider --durations=10 --numprocesses auto --maxprocesses 4 \
  --dist worksteal "${select[@]}" "${arguments[@]}"
