#!/usr/bin/env bash
# Set up all that Edgebed needs, and say what is done: Debian packages (as root), a virtual environment in .venv with
# the versions pinned in requirements.lock, the CPU build of torch, and the command .venv/bin/edgebed.
# Asks nothing. Running it again does nothing until this script or the lock changes.
set -euo pipefail
cd "$(dirname "$0")/.."

# mnexec, ip and tc, ping and so on: what emulation calls. The rest of Edgebed runs without them, in simulation.
readonly PACKAGES=(mininet iproute2 iputils-ping net-tools ethtool)
readonly OPTIONAL=(iperf3)
readonly VENV=.venv
readonly STAMP=$VENV/edgebed-setup

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 3
}

fingerprint() { cat scripts/setup.sh scripts/torch_cpu.sh requirements.lock pyproject.toml | cksum; }

installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

has_debian() { command -v dpkg >/dev/null && command -v apt-get >/dev/null; }

# apt_install PACKAGE...: the package lists are fetched once, and only when something is missing.
apt_updated=no
apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  if [[ $apt_updated == no ]]; then
    say "fetching the package lists"
    apt-get update -qq
    apt_updated=yes
  fi
  say "installing Debian packages: $*"
  apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Packages of the list that are not installed; nothing where there is no dpkg.
missing_of() {
  local package
  has_debian || return 0
  for package in "$@"; do installed "$package" || echo "$package"; done
}

system_packages() {
  local missing package
  if ! has_debian; then
    say "no apt-get here: emulation needs iproute2, ping, ethtool and Mininet's mnexec; simulation needs none of them"
    return 0
  fi
  mapfile -t missing < <(missing_of "${PACKAGES[@]}")
  if ((${#missing[@]} == 0)); then
    return 0
  fi
  if ((EUID != 0)); then
    say "not root, so simulation only; for emulation, as root: apt-get install --no-install-recommends ${missing[*]}"
    return 0
  fi
  apt_install "${missing[@]}"
  for package in $(missing_of "${OPTIONAL[@]}"); do
    apt_install "$package" || say "$package cannot be had; only comparisons use it"
  done
}

# The first Python that is new enough and can make virtual environments.
find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
      "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

python_found() {
  if python=$(find_python); then
    return 0
  fi
  if has_debian && ((EUID == 0)); then
    # Debian 12's own Python is 3.11; Ubuntu 22.04's is 3.10, with 3.11 beside it.
    apt_install python3 python3-venv
    python=$(find_python) || { apt_install python3.11 python3.11-venv && python=$(find_python); } ||
      fail "no Python 3.11 or newer in this distribution; install one and run again with PYTHON=/path/to/python3"
    return 0
  fi
  fail "needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv); name another with PYTHON=..."
}

environment() {
  local requirement
  if [[ -e $VENV ]] && ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    say "$VENV is broken (its Python is gone): making it anew"
    rm -rf "$VENV"
  fi
  if [[ ! -e $VENV ]]; then
    say "making $VENV with $("$python" --version)"
    "$python" -m venv "$VENV"
  fi
  # shellcheck source=scripts/torch_cpu.sh
  . scripts/torch_cpu.sh
  requirement=$(grep '^torch==' requirements.lock)
  if ! "$VENV/bin/python" -m pip freeze | grep -q "^${requirement}\b"; then
    say "installing $requirement (CPU build, some 200 MB)"
    install_torch "$VENV/bin/python" "$requirement"
  fi
  say "installing $(grep -c == requirements.lock) pinned packages"
  # torch came first, so nothing here can bring its CUDA build.
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.lock
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --config-settings editable_mode=compat -e .
}

up_to_date() {
  [[ -f $STAMP && $(cat "$STAMP") == "$(fingerprint)" ]] && { ((EUID != 0)) || [[ -z $(missing_of "${PACKAGES[@]}") ]]; }
}

if up_to_date; then
  exit 0
fi
started=$SECONDS
python=
system_packages
python_found
environment
fingerprint >"$STAMP"
say "done in $((SECONDS - started)) s; next: make doctor"
