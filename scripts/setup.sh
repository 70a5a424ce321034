#!/usr/bin/env bash
# Makes .venv in the repository root: the versions of requirements.txt, Detectron2 and this project.
# Every file is checked against a recorded sha256 before it is unpacked.
# A second run finds everything in place and needs no network; one that was cut short is resumed.
# Another interpreter: PYTHON=/usr/bin/python3.12 bash scripts/setup.sh
# (pip by itself takes 92 s for the whole list on 2 idle cores from an empty cache.)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock=requirements.txt
stamp=.venv/.setup-done           # what .venv was made from; written last
unfinished=.venv/.setup-unfinished # there while .venv may hold half a package
log=.venv/setup.log
downloads=.venv/.downloads # not /tmp, which may be small, and where a killed pip leaves gigabytes

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

pip() {
  mkdir -p "$downloads"
  TMPDIR="$PWD/$downloads" PYTHONUNBUFFERED=1 \
    .venv/bin/python -m pip --disable-pip-version-check "$@" 2>&1
}

# One sentence for a failed pip, with pip's own last error in it.
fail_pip() {
  local reason
  if grep -q 'connection broken by' "$log" && grep -q 'from versions: none' "$log"; then
    reason="the package index could not be reached"
  elif grep -q 'DO NOT MATCH THE HASHES' "$log"; then
    reason=$(awk '/DO NOT MATCH THE HASHES/ { getline; print $1; exit }' "$log")
    reason="the index offers another file of $reason than the one whose hash is recorded"
  else
    reason=$(grep '^ERROR: ' "$log" | grep -v '^ERROR: Exception:$' | tail -n 1) || true
    if [ -z "$reason" ]; then reason=$(tail -n 1 "$log"); fi
    reason=${reason#ERROR: }
  fi
  fail "$1 (${reason%.}); mend that or try again; all of pip's words are in $log"
}

# Everything the result depends on; the place too, since a virtual environment cannot be moved.
state() {
  .venv/bin/python --version
  pwd
  sha256sum "$lock" scripts/detectron2_e9f7e2ba.sha256 setup.py
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

make_venv() {
  local python candidates=(python3 python3.11 python3.12 python3.13 python3.14)
  if [ -n "${PYTHON:-}" ]; then candidates=("$PYTHON"); fi
  for python in "${candidates[@]}"; do
    if is_recent "$python"; then break; fi
    python=
  done
  [ -n "$python" ] ||
    fail "Python 3.11 or newer is needed and ${PYTHON:-python3} is older or not there; install one and name it: PYTHON=/usr/bin/python3.11 bash scripts/setup.sh"

  mkdir -p .venv
  touch "$unfinished"
  "$python" -m venv .venv >"$log" 2>&1 ||
    fail "$python could not make .venv (on Debian and Ubuntu it needs the package python3-venv; its words are in $log)"
  # Three old packages come as source only. They are built with the setuptools of the lock, not
  # with whichever is the newest of the day.
  pip install --require-hashes -r <(sed -n '/^setuptools==/,/[^\\]$/p' "$lock") >"$log" ||
    fail_pip "setuptools could not be installed"
  rm "$unfinished"
}

install_lock() {
  local total line package="" count=0 told=0
  total=$(grep -c '^[^#]*==' "$lock")
  pip install --require-hashes --no-build-isolation --use-pep517 -r "$lock" | tee "$log" | {
    # `read` gives up after a second (status over 128) so that the clock goes on in a long download.
    while IFS= read -r -t 1 line || (($? > 128)); do
      case $line in
        Collecting* | Processing* | "Requirement already satisfied: "*"(from -r "*) ((count += 1)) ;;
        *Downloading\ *) package=": ${line#*Downloading }" ;;
        "Installing collected packages"*)
          touch "$unfinished"
          package=", unpacking"
          ;;
      esac
      if [ -t 1 ]; then
        printf '\r\033[K  %.76s' "$SECONDS s, $count of $total packages$package"
      elif ((SECONDS >= told + 15)); then
        echo "  $SECONDS s, $count of $total packages$package"
        told=$SECONDS
      fi
    done
    if [ -t 1 ]; then printf '\r\033[K'; fi
  } || fail_pip "$lock could not be installed"
  rm -f "$unfinished"
}

trap 'echo "Stopped; run it again to go on." >&2; exit 130' INT TERM

# Two at once would spoil each other: the second waits, and then finds the work done.
exec 9<scripts/setup.sh
flock --nonblock 9 || {
  echo "Another set-up is running; waiting for it."
  flock 9
}

if [ -f "$stamp" ] && [ "$(state 2>/dev/null)" = "$(cat "$stamp")" ]; then exit 0; fi

[ "$(uname -sm)" = "Linux x86_64" ] ||
  fail "$lock is for Linux on x86-64 and this is $(uname -sm); bring your own PyTorch and Detectron2, then: pip install -e ."

if [ -f "$unfinished" ]; then
  echo "An earlier set-up was stopped while it wrote to .venv, which is now made anew."
  rm -rf .venv
fi
if ! [ -x .venv/bin/python ]; then make_venv; fi
is_recent .venv/bin/python ||
  fail "Python 3.11 or newer is needed and the one in .venv is older; remove .venv and run this again"
rm -rf "$stamp" "$downloads"

echo "Installing $lock into .venv (once; 2.5 GB to fetch, 6 GB on disk, 9 GB while it runs)"
install_lock
.venv/bin/python scripts/install_detectron2.py
pip install --no-build-isolation --no-deps -e . >"$log" ||
  fail_pip "this project could not be installed into .venv"

rm -rf "$downloads"
state >"$stamp.new"
mv "$stamp.new" "$stamp"
echo "Set up in $SECONDS s."
