#!/usr/bin/env bash
# Semi-supervised adaptive distillation on the digit scenes, from nothing to a table and a page.
set -euo pipefail

usage="usage: bash scripts/quickstart.sh [--output DIR] [--seed N]

Sets up .venv if need be, then takes about ten minutes on two cores. The same command goes on where
it was stopped. The scenes go to \$DETECTRON2_DATASETS (default datasets), all else to DIR (default
output/quickstart)."

output=output/quickstart
seed=0
while (($#)); do
  case $1 in
    -h | --help) echo "$usage" && exit ;;
    --output) output=${2:-} ;;
    --seed) seed=${2:-} ;;
    *) echo "error: unknown argument $1; try --help" >&2 && exit 2 ;;
  esac
  shift $(($# > 1 ? 2 : 1))
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
.venv/bin/python scripts/make_digits.py
exec .venv/bin/python scripts/distill.py --configs configs/digits --unlabeled digits_unlabeled \
  --output "$output" --seed "$seed"
