#!/usr/bin/env bash
# Semi-supervised adaptive distillation on the digit scenes, from nothing to a table and a picture.
set -euo pipefail

usage="usage: bash scripts/quickstart.sh [--output DIR] [--seed N]

Sets up .venv if need be, then takes about ten minutes on two cores. The same command goes on where
it was stopped. The scenes go to \$DETECTRON2_DATASETS (default datasets), all else to DIR (default
output/quickstart)."

fail() {
  printf 'error: %s\n' "$1" >&2
  exit "${2:-2}"
}

root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
command="bash scripts/quickstart.sh${*:+ $*}"
output=$root/output/quickstart
seed=0
while (($#)); do
  case $1 in
    -h | --help) echo "$usage" && exit ;;
    --output) output=${2:-} ;;
    --seed) seed=${2:-} ;;
    *) fail "unknown argument $1; try --help" ;;
  esac
  [ -n "${2:-}" ] || fail "$1 needs a value"
  shift 2
done
[[ $seed =~ ^[0-9]+$ ]] || fail "--seed $seed is no whole number"
output=$(realpath -m --relative-base="$root" "$output")
if [ -n "${DETECTRON2_DATASETS:-}" ]; then
  DETECTRON2_DATASETS=$(realpath -m "$DETECTRON2_DATASETS")
  export DETECTRON2_DATASETS
fi
cd "$root"

bash scripts/setup.sh
python=.venv/bin/python
export PYTHONUNBUFFERED=1
log=$output/log.txt
mkdir -p "$output"
exec 9>"$output/.lock" # held by every process started below, so also by one that outlives this
flock -n 9 || fail "another quickstart is at work in $output; let it end or give another --output"

heading() { printf '\n[%d/6] %s\n' "$1" "$2"; }

# What a command says, boiled down to one line on how far it is.
progress() {
  local line text="" total="?" told=-99
  while IFS= read -r line; do
    if [[ $line =~ over\ ([0-9]+)\ iterations ]]; then
      total=${BASH_REMATCH[1]}
      continue
    elif [[ $line =~ eta:\ ([0-9:]+)\ .*iter:\ ([0-9]+)\ .*total_loss:\ ([^ ]+) ]]; then
      text="iteration $((BASH_REMATCH[2] + 1)) of $total, loss ${BASH_REMATCH[3]}, ${BASH_REMATCH[1]} left"
    elif [[ $line =~ Inference\ done\ ([0-9]+)/([0-9]+).*ETA=([0-9:]+) ]]; then
      text="evaluating, image ${BASH_REMATCH[1]} of ${BASH_REMATCH[2]}, ${BASH_REMATCH[3]} left"
    elif [[ $line =~ ([0-9]+)/([0-9]+)\ \[[0-9:]+\<([0-9:]+) ]]; then # tqdm
      text="image ${BASH_REMATCH[1]} of ${BASH_REMATCH[2]}, ${BASH_REMATCH[3]} left"
    else
      continue
    fi
    if [ -t 1 ]; then
      printf '\r\033[K      %s' "$text"
    elif ((SECONDS - told >= 15)); then
      told=$SECONDS
      echo "      $text"
    fi
  done
  if [ -t 1 ]; then printf '\r\033[K'; fi
}

# Run a command: all its words go to $log; if it fails, their end is shown and its exit code kept.
work() {
  local status=0
  # A process group of its own: it ends as a whole when this script is told to.
  set -m
  ("$@" 2>&1 | stdbuf -oL tr '\r' '\n' | tee -a "$log" | progress) &
  job=$!
  set +m
  wait "$job" || status=$?
  job=""
  if ((status)); then
    tail -n 20 "$log" >&2
    fail "this step failed; all it said is in $log" "$status"
  fi
}

stop() {
  if [ -n "$job" ]; then
    kill -TERM -- "-$job" 2>/dev/null || true
    wait "$job" 2>/dev/null || true
  fi
  printf '\nStopped. The same command goes on from here.\n' >&2
  exit "$1"
}
job=""
trap 'stop 130' INT
trap 'stop 143' TERM
trap 'stop 129' HUP

# A config file and those it is based on.
config_files() {
  local base
  base=$(sed -n 's/^_BASE_: *//p' "$1")
  [ -z "$base" ] || config_files "$(dirname "$1")/$base"
  echo "$1"
}

# Everything a result depends on: seed, scenes, config and the files it is made from.
made_from() { # made_from CONFIG [FILE ...]
  local config=$1
  shift
  {
    echo "$seed"
    config_files "$config" | xargs cat
    cat "$datasets"/digits/annotations/*.json "$@"
  } | sha256sum
}

average_precision() { tail -n 1 "$1/metrics.json" 2>/dev/null | sed -n 's/.*"bbox\/AP": \([^,]*\),.*}$/\1/p'; }
is_finished() { [ -f "$1/model_final.pth" ] && [ -n "$(average_precision "$1")" ]; }

train() { # train NAME CONFIG FILES [KEY VALUE ...]: FILES, or "", is what else it is made from
  local run=$output/$1 config=$2 from
  # shellcheck disable=SC2086
  from=$(made_from "$config" $3)
  if [ -e "$run" ] && [ "$(cat "$run.made_from" 2>/dev/null)" != "$from" ]; then
    fail "$run comes from another seed, config, teacher or other scenes; remove it or give another --output"
  fi
  echo "$from" >"$run.made_from"
  if is_finished "$run"; then
    echo "      finished earlier"
  else
    work $python projects/SAD/train_net.py --config-file "$config" --resume \
      OUTPUT_DIR "$run" SEED "$seed" TEST.EVAL_PERIOD 500 "${@:4}"
  fi
  printf '      AP %.1f\n' "$(average_precision "$run")"
}

datasets=${DETECTRON2_DATASETS:-datasets}
teacher=$output/teacher
pseudo_labels=$output/pseudo_labels.json

heading 1 "Make the digit scenes"
work $python scripts/make_digits.py
echo "      $datasets/digits"

heading 2 "Train the teacher on the labelled images"
train teacher configs/digits/teacher.yaml ""

heading 3 "Train the student alone on the labelled images"
train student configs/digits/student.yaml ""

heading 4 "Let the teacher label the unlabelled images"
from=$(made_from configs/digits/teacher.yaml "$teacher/model_final.pth")
if [ -f "$pseudo_labels" ] && [ "$(cat "$pseudo_labels.made_from" 2>/dev/null)" = "$from" ]; then
  echo "      finished earlier"
else
  work $python scripts/label_unlabeled.py --config-file configs/digits/teacher.yaml \
    --weights "$teacher/model_final.pth" --dataset digits_unlabeled \
    --labeled-dataset digits_labeled --output "$pseudo_labels"
  echo "$from" >"$pseudo_labels.made_from"
fi
echo "      $pseudo_labels"

heading 5 "Train the student with SAD on labelled and unlabelled images"
train SAD configs/digits/SAD.yaml "$teacher/model_final.pth $pseudo_labels" \
  SAD.TEACHER.WEIGHTS "$teacher/model_final.pth" \
  DATASETS.REGISTER.digits_pseudo_labels.JSON "$(realpath "$pseudo_labels")"

heading 6 "Compare the three"
work $python scripts/report.py --output "$output" --command "$command" \
  --title "Semi-supervised adaptive distillation on digit scenes" \
  --run "teacher=$teacher" --run "student alone=$output/student" --run "SAD student=$output/SAD"
echo
grep '^|' "$output/report.md"
printf '\nDone in %d min %02d s. Look at %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$output/report.png"
