# shellcheck shell=bash
# Sourced by setup.sh, lock.sh and wheels.sh: install or fetch torch's CPU build, whatever pip would choose by itself.
# Plain `pip install torch` on Linux brings gigabytes of CUDA libraries that no emulated device can use.

# chosen_by_pip PYTHON REQUIREMENT: the version that pip would install, without installing it.
chosen_by_pip() {
  "$1" -m pip install --dry-run --no-deps --ignore-installed --quiet --report - "$2" |
    "$1" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])'
}

# with_uv PYTHON: install uv, which knows where CPU builds are.
with_uv() {
  "$1" -m pip install --quiet "$(grep -h '^uv\b' requirements.lock requirements.txt 2>/dev/null | head -n 1)"
}

# install_torch PYTHON REQUIREMENT: install e.g. "torch==2.13.0" into PYTHON's environment.
install_torch() {
  local python=$1 requirement=$2 found
  found=$(chosen_by_pip "$python" "$requirement")
  if [[ $found == *+cpu || $(uname -s) == Darwin ]]; then
    "$python" -m pip install --quiet "$requirement"
  else
    with_uv "$python"
    "$python" -m uv pip install --quiet --python "$python" --torch-backend=cpu "$requirement"
  fi
}

# download_torch PYTHON REQUIREMENT FOLDER: fetch the wheel for Python 3.11 on this machine's architecture.
download_torch() {
  local python=$1 requirement=$2 folder=$3 found
  found=$(chosen_by_pip "$python" "$requirement")
  if [[ $found == *+cpu ]]; then
    "$python" -m pip download --quiet --no-deps --only-binary :all: --python-version 3.11 --dest "$folder" "$requirement"
  else
    with_uv "$python"
    "$python" -m uv pip compile --quiet --no-deps --torch-backend=cpu --python-version 3.11 --format pylock.toml \
      <(echo "$requirement") | "$python" scripts/locked_wheel.py "$folder"
  fi
}
