#!/usr/bin/env bash
# Run a make target, or any command, in a Linux with netem, HTB and bridges, whatever this machine's own kernel has:
#
#   scripts/vm.sh scenario NAME=smoke SHAPER=netem        make scenario NAME=smoke SHAPER=netem SLOW_DOWN=4, in there
#   scripts/vm.sh -- .venv/bin/python -m pytest tests/vm  any command
#
# User-mode Linux: the kernel is an ordinary process, root or not, that boots in seconds on this machine's own files.
# What is written in there (runs/, reports) is written here. Output, Ctrl-C and the exit code pass through; 3 means that
# it could not be booted. EDGEBED_VM_MB sets its memory (default 2000).
#
# Its one processor is slow: at their own speed nodes would wait for it most of the time, and the run be degraded. So the
# targets scenario and smoke take four times as long; SLOW_DOWN=1 behind them lets them go at their own.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PACKAGES=(user-mode-linux kmod)
readonly MEMORY_MB=${EDGEBED_VM_MB:-2000}
readonly SLOW_DOWN=4
readonly PATIENCE_S=30 # for what runs inside to end in order, once it was interrupted

say() { printf 'vm: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 3
}

kernel_installed() {
  local install="apt-get install --no-install-recommends ${PACKAGES[*]}"
  [[ $(uname -s) == Linux ]] || fail "user-mode Linux needs a Linux to run on, not $(uname -s). Try: vagrant up"
  PATH=$PATH:/usr/sbin:/sbin
  if command -v linux.uml >/dev/null && command -v modprobe >/dev/null; then return; fi
  command -v apt-get >/dev/null || fail "no linux.uml here, and no apt-get to install it: it comes from Debian's and" \
    "Ubuntu's package user-mode-linux. Try: vagrant up"
  ((EUID == 0)) || fail "user-mode Linux is not installed. Try, as root: $install"
  say "installing ${PACKAGES[*]}"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}" >/dev/null; } ||
    fail "could not install it. Try: $install"
}

# Its memory is a file, and only what it touches takes any. /dev/shm is quickest; a container's may hold 64 MB.
memory_found() {
  local available_mb
  [[ $MEMORY_MB =~ ^[0-9]+$ ]] || fail "EDGEBED_VM_MB is a number of megabytes, not '$MEMORY_MB'"
  available_mb=$(awk '/^MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)
  ((available_mb >= MEMORY_MB)) || fail "it wants $MEMORY_MB MB of memory and $available_mb MB are available. Try:" \
    "close something, or EDGEBED_VM_MB=1200 make vm (four devices learn in that)"
  shm_mb=$(df --output=avail -m /dev/shm 2>/dev/null | tail -n 1) || shm_mb=0
  ((shm_mb >= MEMORY_MB)) || export TMPDIR=/tmp
}

# One processor: the kernel and what runs in it take turns, and a turn between two processors takes ten times as long.
# In real time where that is allowed and another processor is left: woken late, its clock and its links would be late.
processor() {
  local last
  last=$(taskset -cp $$ | grep -o '[0-9]*$')
  pinned=(taskset -c "$last")
  if (($(nproc) > 1)) && chrt --rr 1 true 2>/dev/null; then pinned+=(chrt --rr 1); fi
}

# User-mode Linux 6.1 dies at boot on a processor with AMX, unless scripts/vm_ptrace.c stands between.
registers_kept() {
  local install="apt-get install --no-install-recommends gcc libc6-dev"
  if ! grep -qw amx_tile /proc/cpuinfo; then return; fi
  command -v cc >/dev/null || fail "this processor has AMX, for which scripts/vm_ptrace.c must be compiled. Try: $install"
  cc -O2 -shared -fPIC -o "$exchange/ptrace.so" scripts/vm_ptrace.c || fail "scripts/vm_ptrace.c could not be compiled." \
    "Try: $install"
  loaded=(env "LD_PRELOAD=$exchange/ptrace.so")
}

hidden() { [[ $1/ == /dev/* || $1/ == /proc/* || $1/ == /run/* || $1/ == /sys/* ]]; }

boot() {
  # Out of reach of the terminal's Ctrl-C, which is typed into its console instead; it dies with this script.
  setsid setpriv --pdeathsig TERM "${pinned[@]}" "${loaded[@]}" linux.uml "mem=${MEMORY_MB}M" uml_dir="$exchange" \
    root=/dev/root rootfstype=hostfs rootflags=/ rw quiet init="$PWD/scripts/vm_init.sh" \
    con=null con0=null,fd:1 con1=fd:3,fd:4 "EDGEBED_VM=$exchange" \
    <"$exchange/keys" 3<"$exchange/keys" 4> >(trap '' INT TERM HUP; exec cat) >"$exchange/boot.log" 2>&1 &
  machine=$!
}

interrupted=0
# shellcheck disable=SC2317 # a trap calls it
interrupt() {
  if ((++interrupted == 1)); then
    say "interrupted: what runs inside has $PATIENCE_S s to end in order; once more ends it at once"
    printf '\003' >&9
    { timeout "$PATIENCE_S" tail -f --pid="$machine" /dev/null || kill "$machine"; } >/dev/null 2>&1 8>&- 9>&- &
  else
    kill "$machine" 2>/dev/null || true
  fi
}

# shellcheck disable=SC2317 # a trap calls it
tidy() {
  if [[ -n ${machine:-} ]]; then kill "$machine" 2>/dev/null || true; fi
  rm -rf "$exchange"
}

(($#)) || fail "what should run in there? For example: make vm TARGET='scenario NAME=smoke SHAPER=netem'"
kernel_installed
memory_found
processor
if hidden "$PWD"; then fail "$PWD is not seen in there, which has /dev, /proc, /run and /sys of its own. Move Edgebed"; fi
exchange=$(mktemp -d /tmp/edgebed-vm-XXXXXX)
trap tidy EXIT
trap interrupt INT TERM HUP
loaded=()
registers_kept
case $1 in
  --) shift ;;
  scenario | smoke) set -- make "SLOW_DOWN=$SLOW_DOWN" "$@" ;;
  *) set -- make "$@" ;;
esac
printf '%s\0' "$@" >"$exchange/command"
# Whether a person watches: then what runs inside has a terminal of the same size, and else a pipe.
exec 8>&1
if [[ -t 1 ]]; then printf '%s\n' "${TERM:-dumb}" "$(stty size <&8)" >"$exchange/terminal"; fi
mkfifo "$exchange/keys"
exec 9<>"$exchange/keys"
boot
while kill -0 "$machine" 2>/dev/null; do wait "$machine" || true; done
machine=
if [[ ! -s $exchange/code ]]; then
  if ((interrupted)); then exit 130; fi
  tail -n 20 "$exchange/boot.log" >&2
  fail "it ended before the command did; above is what it said last. In a container it needs --cap-add SYS_PTRACE"
fi
exit "$(<"$exchange/code")"
