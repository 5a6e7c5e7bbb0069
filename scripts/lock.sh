#!/usr/bin/env bash
# Write requirements.lock anew: install requirements.txt into an empty virtual environment and freeze what came.
# Run it after changing requirements.txt, or to move to newer versions; then run `make check test` and read the diff.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --upgrade pip
# shellcheck source=scripts/torch_cpu.sh
. scripts/torch_cpu.sh
install_torch "$scratch/venv/bin/python" "$(grep '^torch==' requirements.txt)"
"$scratch/venv/bin/python" -m pip install --quiet -r requirements.txt
{
  echo "# Written by scripts/lock.sh from requirements.txt ($("$scratch/venv/bin/python" --version)); edit that file instead."
  # torch's local version (+cpu) names a build, which is chosen at installation; pip itself is no dependency.
  "$scratch/venv/bin/python" -m pip freeze --all | sed -e '/^pip==/d' -e 's/^\(torch==[^+]*\)+.*/\1/'
} >"$scratch/requirements.lock"
mv "$scratch/requirements.lock" requirements.lock
echo "requirements.lock: $(grep -c == requirements.lock) pinned packages"
