#!/usr/bin/env bash
# A whole `vagrant up`, where no box can be fetched and the processor lends no virtualisation: as root, on a Debian.
#
#   sudo make vagrant-up          some 20 minutes on two cores; about 6 GB below /var/tmp, gone afterwards
#
# Two trees are made from Debian's packages with mmdebstrap. One becomes the box: a Debian with a kernel, an SSH server
# and what scripts/provision.sh installs, at this machine's own speed. The other has vagrant, libvirt and QEMU; entered
# by chroot with mounts, processes and a network of its own, it does what a user does - vagrant box add, vagrant up,
# vagrant ssh - with QEMU translating each instruction. In the guest scripts/provision.sh runs again, as `vagrant up`
# has it do, and finds nothing missing: the guest has no way out to a package registry.
#
# EDGEBED_SHARE=DIR: a folder of this machine that is seen while the box is provisioned, for instance one with wheels
# that pip's configuration names. EDGEBED_LOG=FILE: keep what vagrant says.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly SUITE=${SUITE:-bookworm}
readonly BOX=edgebed/emulated
readonly LEFT_OUT=(.git .venv .vagrant .cache build runs __pycache__ .mypy_cache .ruff_cache .pytest_cache .hypothesis)
readonly IN_THE_BOX=(systemd-sysv udev dbus linux-image-cloud-amd64 initramfs-tools openssh-server sudo
  rsync iproute2 kmod)
readonly OUTSIDE=(vagrant vagrant-libvirt libvirt-daemon-system qemu-system-x86 qemu-utils dnsmasq-base iptables
  iproute2 rsync openssh-client ca-certificates)
readonly DISK=8G

say() { printf 'vagrant-up: %s (%d s)\n' "$*" "$SECONDS" >&2; }

fail() {
  say "$*"
  exit 3
}

copy_checkout() {
  mkdir -p "$1"
  tar --create "${LEFT_OUT[@]/#/--exclude=./}" . | tar --extract --directory "$1"
}

# What this machine's pip and certificates need to reach a package index, if anything; taken out again afterwards.
readonly SETTINGS=(/etc/pip.conf "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf" /usr/local/share/ca-certificates)

# In mounts of its own: install in the tree of the box what provision.sh installs.
provision() {
  local tree=$1 file
  mount --bind "$tree" "$tree"
  mount -t proc proc "$tree/proc"
  mount --rbind /sys "$tree/sys"
  mount --rbind /dev "$tree/dev"
  for file in "${SETTINGS[@]}"; do
    if [[ -e $file ]]; then
      mkdir -p "$tree$(dirname "$file")"
      cp -rLT "$file" "$tree$file"
    fi
  done
  if [[ -n ${EDGEBED_SHARE:-} ]]; then
    mkdir -p "$tree$EDGEBED_SHARE"
    mount --bind "$EDGEBED_SHARE" "$tree$EDGEBED_SHARE"
  fi
  chroot "$tree" /home/vagrant/edgebed/scripts/provision.sh /home/vagrant/edgebed vagrant
  rm -rf "$tree/etc/pip.conf" "$tree$HOME/.config" "$tree$HOME/.pip" "$tree/etc/resolv.conf"
}

# A user with the key that vagrant itself replaces at the first `vagrant up`, and the network as DHCP has it.
furnish() {
  local tree=$1 key=$2
  chroot "$tree" useradd --create-home --shell /bin/bash vagrant
  echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$tree/etc/sudoers.d/vagrant"
  install -d -m 700 "$tree/home/vagrant/.ssh"
  install -m 600 "$key" "$tree/home/vagrant/.ssh/authorized_keys"
  printf '[Match]\nName=e*\n[Network]\nDHCP=yes\n' >"$tree/etc/systemd/network/80-dhcp.network"
  chroot "$tree" systemctl --quiet enable systemd-networkd ssh
  chroot "$tree" chown -R vagrant: /home/vagrant
  echo edgebed >"$tree/etc/hostname"
  printf '127.0.0.1 localhost\n' >"$tree/etc/hosts"
}

# The tree as a disk that the kernel beside it boots: no boot loader, no partitions.
pack() {
  local tree=$1 outside=$2 box=$2/box
  mkdir "$box"
  cp -L "$tree/vmlinuz" "$tree/initrd.img" "$box"
  mke2fs -q -t ext4 -d "$tree" "$box/disk" "$DISK"
  chroot "$outside" qemu-img convert -O qcow2 /box/disk /box/box.img
  rm "$box/disk"
  printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %d}\n' "${DISK%G}" >"$box/metadata.json"
  cat >"$box/Vagrantfile" <<'END'
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.kernel = "/box/vmlinuz"
    libvirt.initrd = "/box/initrd.img"
    libvirt.cmd_line = "root=/dev/vda rw console=ttyS0 quiet"
  end
end
END
  tar --create --directory "$box" --file "$box/edgebed.box" metadata.json Vagrantfile box.img
  rm "$box/box.img"
}

# In mounts, processes and a network of its own: what a user does.
inside() {
  local tree=$1
  mount --bind "$tree" "$tree"
  mount -t proc proc "$tree/proc"
  mount -t sysfs sysfs "$tree/sys"
  mount --rbind /dev "$tree/dev"
  mount -t tmpfs tmpfs "$tree/run"
  ip link set lo up
  mkdir -p "$tree/run/lock"
  chroot "$tree" virtlogd --daemon
  chroot "$tree" libvirtd --daemon
  chroot "$tree" env HOME=/root EDGEBED_BOX=$BOX EDGEBED_QEMU_DRIVER=qemu /edgebed/scripts/vagrant_up.sh --as-user
}

# In there: with a box by hand, for want of a registry, and from then on as anywhere.
as_user() {
  local said
  vagrant box add --name "$EDGEBED_BOX" /box/edgebed.box
  rm /box/edgebed.box
  said=$SECONDS
  vagrant up --provider=libvirt
  say "vagrant up took $((SECONDS - said)) s"
  vagrant ssh -c 'uname -r; nproc; sudo modprobe sch_netem && echo netem is there; cd edgebed && sudo .venv/bin/edgebed doctor' ||
    say "doctor finds something missing"
  vagrant ssh -c 'cd edgebed && make plan NAME=smoke'
  vagrant destroy --force
}

case ${1:-} in
  --provision) provision "$2" && exit ;;
  --inside) inside "$2" && exit ;;
  --as-user) as_user && exit ;;
esac
((EUID == 0)) || fail "needs root, for chroot. Try: sudo make vagrant-up"
command -v mmdebstrap >/dev/null || fail "needs mmdebstrap. Try: apt-get install --no-install-recommends mmdebstrap"
folder=$(mktemp -d /var/tmp/edgebed-vagrant-XXXXXX)
trap 'rm -rf --one-file-system "$folder"' EXIT
say "making a $SUITE tree with vagrant, libvirt and QEMU"
mmdebstrap --quiet --variant=minbase --include="$(IFS=,; echo "${OUTSIDE[*]}")" "$SUITE" "$folder/outside"
printf 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nnamespaces = []\ncgroup_controllers = []\n' \
  >>"$folder/outside/etc/libvirt/qemu.conf"
echo 'auth_unix_rw = "none"' >>"$folder/outside/etc/libvirt/libvirtd.conf"
copy_checkout "$folder/outside/edgebed"
say "making the box: another tree, provisioned at this machine's speed"
mmdebstrap --quiet --variant=minbase --include="$(IFS=,; echo "${IN_THE_BOX[*]}")" "$SUITE" "$folder/inside"
furnish "$folder/inside" "$folder"/outside/usr/share/rubygems-integration/all/gems/vagrant-*/keys/vagrant.pub
copy_checkout "$folder/inside/home/vagrant/edgebed"
chroot "$folder/inside" chown -R vagrant: /home/vagrant
unshare --mount --pid --fork --kill-child "$0" --provision "$folder/inside"
pack "$folder/inside" "$folder/outside"
rm -rf --one-file-system "$folder/inside"
say "vagrant up, with QEMU translating every instruction"
unshare --mount --pid --net --fork --kill-child "$0" --inside "$folder/outside" 2>&1 | tee ${EDGEBED_LOG:+"$EDGEBED_LOG"}
say "done"
