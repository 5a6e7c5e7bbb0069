#!/usr/bin/env bash
# scripts/wheels.sh FOLDER [ARCHITECTURE]: fill a folder with the wheels that node_image/Dockerfile installs, in the
# versions of node_image/requirements.txt, and pip's own. torch is the CPU build. Does nothing where they are there.
# ARCHITECTURE is x86_64 (as this machine's, if not given) or aarch64.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly FOLDER=$1
readonly ARCHITECTURE=${2:-$(uname -m)}
readonly PYTHON=.venv/bin/python
readonly REQUIREMENTS=node_image/requirements.txt
readonly STAMP=$FOLDER/filled-from
# shellcheck source=scripts/torch_cpu.sh
. scripts/torch_cpu.sh

fingerprint() { { cat "$REQUIREMENTS" && echo "$ARCHITECTURE"; } | cksum; }

if [[ -f $STAMP && $(cat "$STAMP") == "$(fingerprint)" ]]; then
  exit 0
fi
rm -rf "$FOLDER"
mkdir -p "$FOLDER"
download=("$PYTHON" -m pip download --quiet --no-deps --only-binary :all: --python-version 3.11 --dest "$FOLDER")
if [[ $ARCHITECTURE != "$(uname -m)" ]]; then
  # Another machine's wheels: torch's for aarch64 are CPU builds wherever they come from.
  download+=(--platform "manylinux_2_28_$ARCHITECTURE" --platform "manylinux2014_$ARCHITECTURE")
  "${download[@]}" -r "$REQUIREMENTS"
else
  download_torch "$PYTHON" "$(grep '^torch==' "$REQUIREMENTS")" "$FOLDER"
  "${download[@]}" -r <(grep -v '^torch==' "$REQUIREMENTS")
fi
"${download[@]}" "pip==$("$PYTHON" -c 'import pip; print(pip.__version__)')"
fingerprint >"$STAMP"
