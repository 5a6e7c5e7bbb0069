#!/usr/bin/env bash
# The first process in the machine of vm.sh: what a boot would do, in a second; then the one command; then off.
set -uo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
readonly EXCHANGE=$EDGEBED_VM

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /dev/shm /run/tmp /run/modules/lib/modules
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 none /sys/fs/cgroup
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
ln -s /proc/self/fd /dev/fd
ip link set lo up

# Where modprobe looks for a kernel's modules; Debian keeps these elsewhere.
ln -s "/usr/lib/uml/modules/$(uname -r)" /run/modules/lib/modules/
modprobe --dirname /run/modules --all sch_netem sch_htb sch_tbf bridge veth tun

cd "$(dirname "$0")/.." || exit
mapfile -d '' -t command <"$EXCHANGE/command"
export HOME=/root TERM=dumb TMPDIR=/run/tmp
# A console of its own, so that a Ctrl-C typed there reaches the command; no echo, and lines end as they were written.
stty -F /dev/tty1 -echo -opost
if [[ -e $EXCHANGE/terminal ]]; then
  { read -r TERM && read -r rows columns; } <"$EXCHANGE/terminal"
  stty -F /dev/tty1 opost -onlcr rows "$rows" columns "$columns"
else
  # Not the command's own stdout, or it would draw for a person.
  command=(bash -c 'set -o pipefail; "$@" 2>&1 | (trap "" INT; exec cat)' edgebed "${command[@]}")
fi
setsid --ctty --wait "${command[@]}" </dev/tty1 >/dev/tty1 2>&1
echo $? >"$EXCHANGE/code"
exec .venv/bin/python -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)' # power off
