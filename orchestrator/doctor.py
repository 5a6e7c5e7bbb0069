"""What works on this machine: each check says what was found and, where it fails, how to get it. Changes nothing.

Kernel abilities are tried, not guessed from versions: a traffic control kind is added to the loopback of a network
namespace of its own, which is gone when the attempt ends.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from orchestrator.journal import leftovers
from orchestrator.substrates import SUBSTRATES
from orchestrator.substrates.control_groups import Mounts, lacking

Status = Literal["ok", "warn", "fail"]
Attempt = Callable[[tuple[str, ...]], tuple[bool, str]]  # argv -> (worked, what it said)

MEMORY_BYTES = 2e9  # a coordinator and ten devices with torch, and room beside them
DISK_BYTES = 2e9
NETEM = ("netem", "delay", "1ms")


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report. `remedy` is empty where nothing is to be done."""

    name: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Ability:
    """Whether a substrate or shaper can be used here; `lacks` says what stands in the way."""

    name: str
    works: bool
    lacks: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """All that the doctor found."""

    checks: tuple[Check, ...]
    substrates: tuple[Ability, ...]
    shapers: tuple[Ability, ...]


# What each shaper needs, by the names of checks.
SHAPERS = {
    "delay_line": ("root", "network namespaces", "/dev/net/tun"),
    "netem": ("root", "network namespaces", "tc netem"),  # its own rate, no HTB: see links/netem.py
}
SHAPERS_ABOUT = {
    "delay_line": "in user space: true for small messages, no kernel module; the default",
    "netem": "traffic control of the kernel, for links of many Gbit/s",
}


def diagnose(attempt: Attempt, runs: Path) -> Diagnosis:
    """Run every check. `attempt` runs a command; `runs` is where leftovers are looked for."""
    checks = (
        *system(),
        namespaces(attempt),
        tun(Path("/dev/net/tun")),
        mnexec(),
        module("mininet", "mininet", "emulates networks"),
        control_groups(Path("/proc/self/mountinfo").read_text() if sys.platform == "linux" else ""),
        traffic_control(attempt),
        module("torch", "torch", "learns"),
        memory(Path("/proc/meminfo")),
        disk(runs),
        left_behind(runs),
    )
    failed = {check.name for check in checks if check.status == "fail"}
    substrates = {name: tuple(kind.missing()) for name, kind in SUBSTRATES.items()}
    shapers = {name: tuple(need for need in needs if need in failed) for name, needs in SHAPERS.items()}
    return Diagnosis(checks, _abilities(substrates), _abilities(shapers))


def system() -> tuple[Check, ...]:
    """Kernel and privileges."""
    is_linux = sys.platform == "linux"
    return (
        Check(
            "system",
            "ok" if is_linux else "warn",
            f"{os.uname().sysname} {os.uname().release}, {os.cpu_count()} cores, Python {sys.version.split()[0]}",
            "" if is_linux else "emulation needs Linux: use a virtual machine, or simulation",
        ),
        Check("root", "ok", "yes")
        if os.geteuid() == 0
        else Check("root", "fail", f"no (user id {os.geteuid()})", "run as root, or in a privileged container"),
    )


def namespaces(attempt: Attempt) -> Check:
    """Whether a network namespace can be made."""
    worked, said = attempt(("unshare", "--net", "true"))
    if worked:
        return Check("network namespaces", "ok", "can be made")
    return Check("network namespaces", "fail", said, "run as root; in a container, with --privileged")


def tun(device: Path) -> Check:
    """Whether TUN devices can be opened: the delay_line shaper lives on them."""
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError as error:
        remedy = f"modprobe tun; in a container, --device {device}"
        return Check("/dev/net/tun", "fail", error.strerror or str(error), remedy)
    return Check("/dev/net/tun", "ok", "can be opened")


def mnexec() -> Check:
    """Mininet's helper, which starts processes inside a namespace; the Python package does not bring it."""
    path = shutil.which("mnexec")
    if path:
        return Check("mnexec", "ok", path)
    return Check("mnexec", "fail", "not in PATH", "apt-get install --no-install-recommends mininet")


def module(name: str, package: str, purpose: str) -> Check:
    """Whether a Python package is installed; it is not imported, since that can take seconds."""
    if importlib.util.find_spec(name) is None:
        return Check(name, "fail", f"not installed (it {purpose})", "make setup")
    try:
        return Check(name, "ok", version(package))
    except PackageNotFoundError:
        return Check(name, "ok", "installed")


def control_groups(mountinfo: str) -> Check:
    """Which control group controllers are mounted, and by which version; text of /proc/self/mountinfo."""
    v1: set[str] = set()
    v2 = ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(), "", "", ""][:3]
        if kind == "cgroup":
            v1 |= {"cpu", "memory", "freezer", "pids"} & set(options.split(","))
        elif kind == "cgroup2":
            v2 = before.split()[4]
    controllers = set(v1)
    if v2 and (Path(v2) / "cgroup.controllers").is_file():
        controllers |= set((Path(v2) / "cgroup.controllers").read_text().split())
    lacks = [name for name in ("cpu", "memory") if name not in controllers]
    found = f"v1: {' '.join(sorted(v1)) or 'none'}; v2: {v2 or 'none'}"
    if lacks:
        return Check("control groups", "fail", f"{found}; no {' or '.join(lacks)} controller", _CGROUP_REMEDY)
    if (Path(v2) / "cgroup.controllers").is_file():
        v1_of = {name: Path(name) for name in v1}
        for problem in lacking(Mounts(Path(v2), v1_of.get("cpu"), None, v1_of.get("memory"), v1_of.get("pids"))):
            said, _, remedy = problem.partition("; ")
            return Check("control groups", "fail", said, remedy)
    return Check("control groups", "ok", found)


_CGROUP_REMEDY = "mount /sys/fs/cgroup (systemd does); in a container, --privileged --cgroupns=host"


def traffic_control(attempt: Attempt) -> Check:
    """Whether this kernel has netem: only the shaper of that name needs it, and nothing else of traffic control."""
    worked, said = attempt(("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", *NETEM))
    if worked:
        return Check("tc netem", "ok", "can be added")
    remedy = "modprobe sch_netem (package linux-modules-extra or kernel-modules-extra); delay_line needs none"
    return Check("tc netem", "fail", said, remedy)


def memory(meminfo: Path) -> Check:
    """Memory that processes can still get."""
    if not meminfo.is_file():
        return Check("memory", "warn", "unknown here", "")
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    found = f"{available / 1e9:.1f} GB available"
    if available < MEMORY_BYTES:
        return Check("memory", "warn", found, "ten devices want 2 GB: close something, or take fewer devices")
    return Check("memory", "ok", found)


def disk(folder: Path) -> Check:
    """Room for run directories."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    found = f"{free / 1e9:.1f} GB free below {folder}"
    if free < DISK_BYTES:
        return Check("disk", "warn", found, "edgebed runs prune --keep 20")
    return Check("disk", "ok", found)


def left_behind(runs: Path) -> Check:
    """What runs that were killed have left, as their journals say."""
    try:
        count = len(list(leftovers(runs)))
    except PermissionError:
        return Check("leftovers", "warn", f"cannot read the journals below {runs}", "run as the user who ran them")
    if count:
        return Check("leftovers", "warn", f"{count} resources of runs that were killed", "edgebed clean")
    return Check("leftovers", "ok", "none")


def _abilities(lacks: dict[str, tuple[str, ...]]) -> tuple[Ability, ...]:
    return tuple(Ability(name, not lacking, lacking) for name, lacking in lacks.items())
