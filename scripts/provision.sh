#!/usr/bin/env bash
# Make a fresh Debian 12 or newer, or Ubuntu 22.04 or newer, ready for Edgebed. As root, in that machine:
#
#   scripts/provision.sh [FOLDER [USER]]
#
# FOLDER is a checkout of Edgebed (default: the one that this file is in); USER owns it and what is made in it (default:
# its present owner). Vagrant, cloud-init and people call it; running it again does what is missing.
set -euo pipefail

say() { printf 'provision: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 3
}

((EUID == 0)) || fail "needs root: it installs packages. Try: sudo $0 $*"
command -v apt-get >/dev/null || fail "no apt-get here: this is for Debian and Ubuntu. Elsewhere: scripts/setup.sh"
folder=$(readlink -f "${1:-$(dirname "$(readlink -f "$0")")/..}")
[[ -x $folder/scripts/setup.sh ]] || fail "$folder is no checkout of Edgebed: it has no scripts/setup.sh"
owner=${2:-$(stat -c %U "$folder")}
id "$owner" >/dev/null 2>&1 || fail "there is no user $owner here"

export DEBIAN_FRONTEND=noninteractive
# What `make setup` takes for granted: make itself, and certificates for fetching packages.
missing=()
for package in make ca-certificates; do
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if ((${#missing[@]})); then
  say "installing ${missing[*]}"
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# netem is a module of this kernel, and on cloud images it may be in a package of its own. Edgebed works without it.
netem_available() { modprobe --quiet sch_netem 2>/dev/null; }

if ! netem_available; then
  for package in "linux-modules-extra-$(uname -r)" kmod; do
    if apt-cache show "$package" >/dev/null 2>&1; then
      apt-get install -y -qq --no-install-recommends "$package" >/dev/null || true
    fi
  done
  netem_available || say "this kernel has no netem: links are made by delay_line, the default, or in \`make vm\`"
fi

"$folder/scripts/setup.sh"
chown -R "$owner:" "$folder/.venv"
say "ready; next: cd $folder && sudo make scenario NAME=smoke"
