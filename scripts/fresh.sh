#!/usr/bin/env bash
# Run scripts/provision.sh on a fresh Debian and then a scenario: a tree made by mmdebstrap, entered by chroot with
# mounts and processes of its own, so that nothing of it is left. As root. EDGEBED_SHARE=DIR: a folder of this machine
# that is seen in there too, for instance one with wheels that pip's configuration names.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly SUITE=${SUITE:-bookworm}
readonly LEFT_OUT=(.git .venv .vagrant .cache runs __pycache__ .mypy_cache .ruff_cache .pytest_cache .hypothesis)

say() { printf 'fresh: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 3
}

# What this machine's pip and certificates need to reach a package index, if anything.
carry_settings() {
  local tree=$1 file
  for file in /etc/pip.conf "$HOME/.config/pip/pip.conf" /usr/local/share/ca-certificates; do
    if [[ -e $file ]]; then
      mkdir -p "$tree$(dirname "$file")"
      cp -rL "$file" "$tree$file"
    fi
  done
}

# In namespaces of its own: the mounts and processes end with it. The tree is a mount itself, as / usually is.
inside() {
  local tree=$1
  mount --bind "$tree" "$tree"
  mount -t proc proc "$tree/proc"
  mount --rbind /sys "$tree/sys"
  mount --rbind /dev "$tree/dev"
  if [[ -n ${EDGEBED_SHARE:-} ]]; then
    mkdir -p "$tree$EDGEBED_SHARE"
    mount --bind "$EDGEBED_SHARE" "$tree$EDGEBED_SHARE"
  fi
  chroot "$tree" /edgebed/scripts/provision.sh
  say "once more: it should find nothing to do"
  chroot "$tree" /edgebed/scripts/provision.sh
  chroot "$tree" make -C /edgebed scenario NAME=smoke ARGS=--allow-degraded
}

if [[ ${1:-} == --inside ]]; then
  inside "$2"
  exit
fi
((EUID == 0)) || fail "needs root, for chroot. Try: sudo make fresh"
command -v mmdebstrap >/dev/null || fail "needs mmdebstrap. Try: apt-get install --no-install-recommends mmdebstrap"
tree=$(mktemp -d /var/tmp/edgebed-fresh-XXXXXX)
trap 'rm -rf --one-file-system "$tree"' EXIT
started=$SECONDS
say "making a $SUITE tree"
mmdebstrap --quiet --variant=minbase "$SUITE" "$tree"
carry_settings "$tree"
mkdir "$tree/edgebed"
tar --create "${LEFT_OUT[@]/#/--exclude=./}" . | tar --extract --directory "$tree/edgebed"
unshare --mount --pid --fork --kill-child "$0" --inside "$tree"
say "done in $((SECONDS - started)) s"
