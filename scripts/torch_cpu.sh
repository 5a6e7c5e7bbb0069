# shellcheck shell=bash
# Sourced by setup.sh and lock.sh: install torch's CPU build, whatever pip would choose by itself.
# Plain `pip install torch` on Linux brings gigabytes of CUDA libraries that no emulated device can use.

# install_torch PYTHON REQUIREMENT: install e.g. "torch==2.13.0" into PYTHON's environment.
install_torch() {
  local python=$1 requirement=$2 found
  # What pip would install, without installing: the report names version and file.
  found=$("$python" -m pip install --dry-run --no-deps --ignore-installed --quiet --report - "$requirement" |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])')
  if [[ $found == *+cpu || $(uname -s) == Darwin ]]; then
    "$python" -m pip install --quiet "$requirement"
  else
    "$python" -m pip install --quiet "$(grep -h '^uv\b' requirements.lock requirements.txt 2>/dev/null | head -n 1)"
    "$python" -m uv pip install --quiet --python "$python" --torch-backend=cpu "$requirement"
  fi
}
