"""Control groups of a node: its CPU share, limits of memory and processes, freezing, and killing the whole of it.

Works on pure v2, and on v1 controllers with v2 beside them (the `unified` mount of hybrid systems): limits go where
the controller is, freeze and kill always to v2, because the v1 freezer ignores a kill until it is thawed.
"""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import MachineCannotError
from orchestrator.journal import Journal, remove_cgroup

PERIOD_S = 0.100  # the quota bounds a node on average; single pieces of work are paced by the node itself (ADR 3)
UNLIMITED_BYTES = 1 << 60  # v1 says so many and more where there is no limit
MIN_QUOTA_S = 0.001  # the kernel's smallest quota
MAX_PERIOD_S = 1.0  # and its longest period: a share below a thousandth cannot be asked of it


@dataclass(frozen=True)
class Mounts:
    """Where controllers are mounted; `v2` has freeze and kill."""

    v2: Path
    cpu_v1: Path | None
    cpuacct_v1: Path | None
    memory_v1: Path | None
    pids_v1: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every hierarchy that a node joins, each once."""
        found = (self.v2, self.cpu_v1, self.cpuacct_v1, self.memory_v1, self.pids_v1)
        return tuple(dict.fromkeys(path for path in found if path is not None))

    @property
    def counts_pids(self) -> bool:
        """Whether the kernel bounds how many processes and threads a group has."""
        return self.pids_v1 is not None or "pids" in (self.v2 / "cgroup.controllers").read_text().split()

    @property
    def from_v2(self) -> tuple[str, ...]:
        """Controllers that nodes have from v2, because v1 has not taken them."""
        pids = self.pids_v1 is None and self.counts_pids
        found = {"cpu": self.cpu_v1 is None, "memory": self.memory_v1 is None, "pids": pids}
        return tuple(name for name, is_v2 in found.items() if is_v2)


def find_mounts(mounts: Path = Path("/proc/mounts")) -> Mounts:
    """Read where the kernel has its controllers; MachineCannotError if freeze and kill (v2, Linux 5.14) are missing."""
    v2: Path | None = None
    v1: dict[str, Path] = {}
    for line in mounts.read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" and v2 is None:
            v2 = Path(where)
        elif kind == "cgroup":
            for option in options.split(","):
                v1.setdefault(option, Path(where))
    if v2 is None:
        raise MachineCannotError(
            "no cgroup v2 hierarchy is mounted: nodes could be neither frozen nor killed whole. "
            "Try: mount -t cgroup2 none /sys/fs/cgroup/unified"
        )
    return Mounts(v2, v1.get("cpu"), v1.get("cpuacct"), v1.get("memory"), v1.get("pids"))


def lacking(mounts: Mounts) -> list[str]:
    """Why v2's root would not give its groups the controllers that nodes need, with remedies. Changes nothing."""
    there = (mounts.v2 / "cgroup.controllers").read_text().split()
    if missing := [name for name in mounts.from_v2 if name not in there]:
        names = " and ".join(missing)
        return [
            f"control groups at {mounts.v2} have no {names} controller (cgroup.controllers:"
            f" {' '.join(there) or 'none'}); start the kernel without cgroup_disable={missing[0]}, or let the machine"
            " around this one hand it on (systemd: Delegate=yes; a container: --privileged --cgroupns=host)"
        ]
    wanted = _not_handed_on(mounts)
    file = mounts.v2 / "cgroup.subtree_control"
    if wanted and not os.access(file, os.W_OK):
        return [f"{file} may not be written, and lacks {' '.join(wanted)}; {_by_hand(file, wanted)}"]
    if wanted and (mounts.v2 / "cgroup.type").exists() and (mounts.v2 / "cgroup.procs").read_text().split():
        return [
            f"{mounts.v2} is not the kernel's topmost control group and has processes in it, so it cannot hand on"
            f" {' '.join(wanted)}; move them into a group of their own (mkdir {mounts.v2}/init, and write each number"
            f" of {mounts.v2}/cgroup.procs into {mounts.v2}/init/cgroup.procs), or start the container with"
            " --cgroupns=host"
        ]
    return []


def hand_on(mounts: Mounts) -> None:
    """Have v2's root give its groups the controllers that nodes need; MachineCannotError where it will not."""
    if problems := lacking(mounts):
        raise MachineCannotError("\n".join(problems))
    wanted, file = _not_handed_on(mounts), mounts.v2 / "cgroup.subtree_control"
    if not wanted:
        return
    try:
        file.write_text(_enabling(wanted))
    except OSError as error:
        raise MachineCannotError(
            f"{file} does not take {_enabling(wanted)!r}: {error.strerror}; {_by_hand(file, wanted)}"
        ) from error


def _not_handed_on(mounts: Mounts) -> tuple[str, ...]:
    handed_on = (mounts.v2 / "cgroup.subtree_control").read_text().split()
    return tuple(name for name in mounts.from_v2 if name not in handed_on)


def _enabling(names: Iterable[str]) -> str:
    return " ".join(f"+{name}" for name in names)


def _by_hand(file: Path, names: Iterable[str]) -> str:
    return f"as root, on the machine itself: echo '{_enabling(names)}' > {file} (in a container: --privileged)"


def quota(share: float) -> tuple[int, int]:
    """(quota, period) in microseconds for a CPU share; 100 ms, or longer where the quota would be too small.

    A share below a thousandth, which the kernel refuses, is bounded to that.
    """
    share = max(share, MIN_QUOTA_S / MAX_PERIOD_S)
    period_s = max(PERIOD_S, MIN_QUOTA_S / share)
    return round(share * period_s * 1e6), round(period_s * 1e6)


class Bounds:
    """Limits and meters of a group: the folder of each controller, whichever version's files it holds."""

    def __init__(self, mounts: Mounts, cpu: Path, cpuacct: Path, memory: Path, pids: Path) -> None:
        self._mounts = mounts
        self._cpu = cpu
        self._cpuacct = cpuacct
        self._memory = memory
        self._pids = pids

    def set_share(self, share: float | None) -> tuple[int, int] | None:
        """Limit to a share of one core (None: no limit); returns (quota, period) in microseconds as read back."""
        if share is not None and share >= 1:
            share = None
        if self._mounts.cpu_v1 is not None:
            group = self._cpu
            if share is None:
                (group / "cpu.cfs_quota_us").write_text("-1")
                return None
            quota_us, period_us = quota(share)
            (group / "cpu.cfs_quota_us").write_text("-1")  # the old quota may not fit the new period
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
            return int((group / "cpu.cfs_quota_us").read_text()), int((group / "cpu.cfs_period_us").read_text())
        file = self._cpu / "cpu.max"
        if share is None:
            file.write_text("max")
            return None
        quota_us, period_us = quota(share)
        file.write_text(f"{quota_us} {period_us}")
        found = file.read_text().split()
        return int(found[0]), int(found[1])

    def set_memory(self, limit_bytes: int | None) -> int | None:
        """Limit memory (None: no limit); returns what was read back.

        Below what is in use v2 takes the limit and kills; v1 refuses it: OSError, EBUSY.
        """
        is_v1 = self._mounts.memory_v1 is not None
        file = self._memory / ("memory.limit_in_bytes" if is_v1 else "memory.max")
        file.write_text(str(limit_bytes) if limit_bytes is not None else "-1" if is_v1 else "max")
        return self.memory_limit()

    def memory_limit(self) -> int | None:
        """How much memory there may be in use; None: no limit."""
        file = self._memory / ("memory.limit_in_bytes" if self._mounts.memory_v1 is not None else "memory.max")
        found = file.read_text().strip()
        return None if found == "max" or int(found) >= UNLIMITED_BYTES else int(found)

    def memory_procs(self) -> str:
        """The file into which a process writes its pid to have its memory counted here."""
        return str(self._memory / "cgroup.procs")

    def set_pids(self, most: int | None) -> int | None:
        """Limit how many processes and threads there are (None: no limit); returns what was read back.

        Those that there are stay, also beyond the limit.
        """
        file = self._pids / "pids.max"
        file.write_text("max" if most is None else str(most))
        return self.pids_limit()

    def pids_limit(self) -> int | None:
        """How many processes and threads there may be; None: no limit."""
        found = (self._pids / "pids.max").read_text().strip()
        return None if found == "max" else int(found)

    def pids_now(self) -> int:
        """How many processes and threads there are."""
        return int((self._pids / "pids.current").read_text())

    def pids_refused(self) -> int:
        """How often a new process or thread was refused for the limit."""
        return _table(self._pids / "pids.events").get("max", 0)

    def memory_bytes(self) -> int:
        """Memory charged to it now: its own pages, not those shared with who touched them first."""
        name = "memory.usage_in_bytes" if self._mounts.memory_v1 is not None else "memory.current"
        return int((self._memory / name).read_text())

    def cpu_s(self) -> float:
        """CPU seconds used by all that ever ran here."""
        if self._mounts.cpuacct_v1 is not None:
            return int((self._cpuacct / "cpuacct.usage").read_text()) / 1e9
        return self._cpu_stat()["usage_usec"] / 1e6

    def throttled_s(self) -> float:
        """Seconds in which the share was used up."""
        stat = self._cpu_stat()
        return stat["throttled_time"] / 1e9 if "throttled_time" in stat else stat.get("throttled_usec", 0) / 1e6

    def oom_kills(self) -> int:
        """How many processes the memory limit has killed."""
        name = "memory.oom_control" if self._mounts.memory_v1 is not None else "memory.events"
        return _table(self._memory / name).get("oom_kill", 0)

    def pids(self) -> tuple[int, ...]:
        """Who is in it now."""
        return tuple(int(pid) for pid in (self._cpu / "cgroup.procs").read_text().split())

    def _cpu_stat(self) -> dict[str, int]:
        return _table(self._cpu / "cpu.stat")


class ControlGroup(Bounds):
    """The control groups of one node, made for a run and removed with it."""

    def __init__(self, mounts: Mounts, run_id: str, node: str, journal: Journal) -> None:
        self._name = f"edgebed-{run_id}/{node}"
        self._journal = journal
        super().__init__(
            mounts,
            (mounts.cpu_v1 or mounts.v2) / self._name,
            (mounts.cpuacct_v1 or mounts.v2) / self._name,
            (mounts.memory_v1 or mounts.v2) / self._name,
            (mounts.pids_v1 or mounts.v2) / self._name,
        )

    def make(self) -> None:
        """Create them, journalled first."""
        for mount in self._mounts.all:
            path = mount / self._name
            parent = path.parent
            if not parent.exists():
                from_v2 = self._mounts.from_v2 if mount == self._mounts.v2 else ()
                if from_v2:
                    hand_on(self._mounts)
                self._journal.make("cgroup", str(parent))
                parent.mkdir()
                if from_v2:
                    (parent / "cgroup.subtree_control").write_text(_enabling(from_v2))
            path.mkdir()

    def remove(self) -> None:
        """Kill what is left inside, and remove them (the run's own parent goes with its last node)."""
        for mount in self._mounts.all:
            path = mount / self._name
            remove_cgroup(path)
            parent = path.parent
            if parent.is_dir() and not any(child.is_dir() for child in parent.iterdir()):
                remove_cgroup(parent)
                self._journal.gone("cgroup", str(parent))

    def procs(self) -> tuple[str, ...]:
        """The files into which a process writes its pid to join."""
        return tuple(str(mount / self._name / "cgroup.procs") for mount in self._mounts.all)

    async def freeze(self, frozen: bool) -> None:
        """Freeze or thaw; returns when the kernel says that all have stopped (or go on)."""
        group = self._mounts.v2 / self._name
        (group / "cgroup.freeze").write_text("1" if frozen else "0")
        for _ in range(500):
            if _table(group / "cgroup.events").get("frozen") == int(frozen):
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(f"{self._name}: the kernel did not report frozen={int(frozen)} within 5 s")

    async def kill(self) -> None:
        """Kill -9 every process inside, frozen or not."""
        (self._mounts.v2 / self._name / "cgroup.kill").write_text("1")


def bounds_of(pid: int, mounts: Mounts) -> Bounds:
    """Where the groups of a process of somebody else's are (a container engine's); OSError if it has ended."""
    paths: dict[str, str] = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):  # "" is v2
            paths[controller] = path.lstrip("/")

    def folder(v1: Path | None, controller: str) -> Path:
        return mounts.v2 / paths[""] if v1 is None else v1 / paths[controller]

    cpu, cpuacct = folder(mounts.cpu_v1, "cpu"), folder(mounts.cpuacct_v1, "cpuacct")
    memory, pids = folder(mounts.memory_v1, "memory"), folder(mounts.pids_v1, "pids")
    return Bounds(mounts, cpu, cpuacct, memory, pids)


def _table(file: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in file.read_text().splitlines())}
