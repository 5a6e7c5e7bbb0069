"""Boards for tests: real sshd servers, each in namespaces of its own, linked by veth to a lab that the test stands in.

A board has its own network, processes, mounts and monotonic clock, and is killed whole: that is what a reboot or a
power cut looks like from outside. Nothing of it is in the machine's own namespaces, so nothing can be left behind.
"""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from node_image.kernel import die_with_parent, inside_network_of
from tests.host import VARIABLE

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin") or ""
PATIENCE_S = 20.0
SECONDS_AHEAD = 100_000  # a board's monotonic clock before ours, times its number: no two clocks agree


def missing() -> str:
    """Why there can be no such boards here; empty where there can."""
    if os.geteuid() != 0:
        return "boards of tests need root"
    if not SSHD:
        return "sshd is missing (apt-get install --no-install-recommends openssh-server)"
    return "" if Path("/proc/self/ns/time").exists() else "this kernel has no time namespaces"


@dataclass
class SshBoard:
    """One board: `ctl` is the interface that SSH comes in by, `data` the other."""

    name: str
    number: int
    folder: Path
    lab: "Lab"
    store: Path = field(init=False)
    client_key: Path = field(init=False)
    login_noise: str = ""  # what its users' shells print before anything else
    path: str = "/usr/bin:/bin:/usr/sbin:/sbin"
    store_bytes: int | None = None  # size of the file system that its store is on
    _process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.store = self.folder / "store"
        self.store.mkdir()
        self.client_key = self.folder / "key"
        for key in ("key", "host_key"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))
        (self.folder / "authorized_keys").write_text((self.folder / "key.pub").read_text())

    @property
    def address(self) -> str:
        """Where its SSH server listens."""
        return f"10.99.{self.number}.2"

    @property
    def data_address(self) -> str:
        """Its address on the other interface."""
        return f"10.98.{self.number}.2"

    def entry(self, **changes: Any) -> dict[str, Any]:
        """Its item of an inventory."""
        own = {
            "name": self.name,
            "host": self.address,
            "user": "root",
            "key": str(self.client_key),
            "profile": "raspberry_pi_4",
            "data": {"interface": "data"},
            "store": str(self.store),
            "python": sys.executable,
        }
        return {key: value for key, value in {**own, **changes}.items() if value is not None}

    def boot(self) -> None:
        """Start it; returns when its SSH server answers."""
        (self.folder / "boot_id").write_text(f"{secrets.token_hex(8)}\n")
        (self.folder / "sshd_config").write_text(self._config())
        (self.folder / "noise").write_text(self.login_noise)
        (self.folder / "login").write_text(self._login())
        (self.folder / "login").chmod(0o755)
        ahead = str(SECONDS_AHEAD * self.number)
        with (self.folder / "log").open("ab") as log:
            starting = self.lab.starter.submit(
                subprocess.Popen,
                [
                    *(
                        "unshare",
                        "--net",
                        "--mount",
                        "--pid",
                        "--fork",
                        "--kill-child=SIGKILL",
                        "--mount-proc",
                        "--time",
                    ),
                    *("--monotonic", ahead, "--boottime", ahead, "sh", "-euc", BOOT, "board"),
                    *(str(self.folder), str(self.store), str(self.store_bytes or 0)),
                    *(f"{self.address}/24", f"{self.data_address}/24", SSHD),
                ],
                stdin=subprocess.PIPE,
                stderr=log,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
            self._process = starting.result()
        pid = str(self._process.pid)
        own = Path("/proc/self/ns/net").stat().st_ino
        wait(lambda: Path(f"/proc/{pid}/ns/net").stat().st_ino not in (own, self.lab.inode))
        for kind, network in (("ctl", 99), ("data", 98)):
            ours = f"{kind}{self.number}"
            run("ip", "link", "add", ours, "type", "veth", "peer", "name", kind, "netns", pid)
            run("ip", "addr", "add", f"10.{network}.{self.number}.1/24", "dev", ours)
            run("ip", "link", "set", ours, "up")
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.close()
        wait(self._answers)

    def cut(self) -> None:
        """Both cables are pulled: nothing tells anybody that it has gone."""
        for kind in ("ctl", "data"):
            run("ip", "link", "set", f"{kind}{self.number}", "down")

    def mend(self) -> None:
        """The cables are back."""
        for kind in ("ctl", "data"):
            run("ip", "link", "set", f"{kind}{self.number}", "up")

    def kill(self) -> None:
        """The power goes: every process of it dies at once, its interfaces vanish."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            wait(lambda: not Path(f"/sys/class/net/ctl{self.number}").exists())
            for kind in ("ctl", "data"):
                subprocess.run(["ip", "link", "del", f"{kind}{self.number}"], capture_output=True, check=False)

    def reboot(self) -> None:
        """Off and on again."""
        self.kill()
        self.boot()

    def init(self) -> str:
        """Its first process, as this machine numbers it: who enters its namespaces is on the board."""
        assert self._process is not None
        (init,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return init

    def processes(self) -> list[str]:
        """Command lines of what runs on it, beside its SSH server and its init."""
        listed = run("nsenter", f"--target={self.init()}", "--pid", "--mount", "ps", "axo", "args=")
        return [line for line in listed.splitlines() if "sshd" not in line and not line.startswith("ps ")]

    def _answers(self) -> bool:
        import socket

        try:
            with socket.create_connection((self.address, 22), 0.5) as connected:
                return connected.recv(4) == b"SSH-"
        except OSError:
            assert self._process is not None and self._process.poll() is None, (self.folder / "log").read_text()
            return False

    def _config(self) -> str:
        return f"""
            ListenAddress {self.address}
            HostKey {self.folder}/host_key
            AuthorizedKeysFile {self.folder}/authorized_keys
            StrictModes no
            UsePAM no
            PasswordAuthentication no
            PermitRootLogin prohibit-password
            PidFile none
            PrintMotd no
            ForceCommand exec {self.folder}/login
        """

    def _login(self) -> str:
        """What every login goes through: this machine's own profile decides nothing."""
        return f"""#!/bin/sh
            PATH={self.path} {VARIABLE}={os.environ[VARIABLE]}
            export PATH {VARIABLE}
            /bin/cat {self.folder}/noise
            exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
        """


BOOT = """
read go
folder=$1 store=$2 store_bytes=$3 address=$4 data_address=$5 sshd=$6
mount --make-rprivate /
mount --bind "$folder/boot_id" /proc/sys/kernel/random/boot_id
mount -t tmpfs none /run
mkdir -p /run/sshd
[ "$store_bytes" = 0 ] || mount -t tmpfs -o size="$store_bytes" none "$store"
ip link set lo up
ip addr add "$address" dev ctl
ip addr add "$data_address" dev data
ip link set ctl up
ip link set data up
exec "$sshd" -D -e -f "$folder/sshd_config"
"""


@dataclass
class Lab:
    """The network namespace in which the test stands while boards are linked to it."""

    folder: Path
    inode: int
    starter: ThreadPoolExecutor  # of one thread: boards die with the thread that started them
    boards: list[SshBoard] = field(default_factory=list)

    def board(self, name: str, **settings: Any) -> SshBoard:
        """Make a board and boot it."""
        board = SshBoard(name, len(self.boards) + 1, self.folder / name, self, **settings)
        self.boards.append(board)
        board.boot()
        return board

    def inventory(self, entries: Sequence[Mapping[str, Any]], name: str = "boards", *, pinned: bool = True) -> Path:
        """Write an inventory of these items, with the host keys of all boards pinned beside it."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"boards": [dict(entry) for entry in entries]}, sort_keys=False))
        if pinned:
            keys = [f"{each.address} {(each.folder / 'host_key.pub').read_text()}" for each in self.boards]
            path.with_suffix(".known_hosts").write_text("".join(keys))
        return path


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """Stand in a network of its own until the block ends; then every board is gone."""
    holder = subprocess.Popen(["unshare", "--net", "--mount", "sleep", "3600"])
    try:
        own = Path("/proc/self/ns/net").stat().st_ino
        path = Path(f"/proc/{holder.pid}/ns/net")
        wait(lambda: path.stat().st_ino != own)
        namespace = os.open(path, os.O_RDONLY)
        try:
            with inside_network_of(namespace):
                run("ip", "link", "set", "lo", "up")
                with ThreadPoolExecutor(max_workers=1) as starter:
                    made = Lab(folder, path.stat().st_ino, starter)
                    try:
                        yield made
                    finally:
                        for board in made.boards:
                            board.kill()
        finally:
            os.close(namespace)
    finally:
        holder.kill()
        holder.wait()


def run(*argv: str) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def wait(condition: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Until it is so."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
