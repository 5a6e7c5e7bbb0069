"""Control groups of a node: its CPU share, its memory limit, freezing, and killing the whole of it.

Works on pure v2, and on v1 controllers with v2 beside them (the `unified` mount of hybrid systems): limits go where
the controller is, freeze and kill always to v2, because the v1 freezer ignores a kill until it is thawed.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import MachineCannotError
from orchestrator.journal import Journal, remove_cgroup

PERIOD_S = 0.100  # the quota bounds a node on average; single pieces of work are paced by the node itself (ADR 3)
MIN_QUOTA_S = 0.001  # the kernel's smallest quota


@dataclass(frozen=True)
class Mounts:
    """Where controllers are mounted; `v2` has freeze and kill."""

    v2: Path
    cpu_v1: Path | None
    cpuacct_v1: Path | None
    memory_v1: Path | None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every hierarchy that a node joins, each once."""
        found = (self.v2, self.cpu_v1, self.cpuacct_v1, self.memory_v1)
        return tuple(dict.fromkeys(path for path in found if path is not None))


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
    return Mounts(v2, v1.get("cpu"), v1.get("cpuacct"), v1.get("memory"))


def quota(share: float) -> tuple[int, int]:
    """(quota, period) in microseconds for a CPU share; 100 ms, or longer where the quota would be too small."""
    period_s = max(PERIOD_S, MIN_QUOTA_S / share)
    return round(share * period_s * 1e6), round(period_s * 1e6)


class ControlGroup:
    """The control groups of one node, made for a run and removed with it."""

    def __init__(self, mounts: Mounts, run_id: str, node: str, journal: Journal) -> None:
        self._mounts = mounts
        self._name = f"edgebed-{run_id}/{node}"
        self._journal = journal

    def make(self) -> None:
        """Create them, journalled first."""
        for mount in self._mounts.all:
            path = mount / self._name
            parent = path.parent
            if not parent.exists():
                self._journal.make("cgroup", str(parent))
                parent.mkdir()
                if mount == self._mounts.v2 and self._mounts.cpu_v1 is None:
                    (parent / "cgroup.subtree_control").write_text("+cpu +memory")
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

    def set_share(self, share: float | None) -> tuple[int, int] | None:
        """Limit to a share of one core (None: no limit); returns (quota, period) in microseconds as read back."""
        if share is not None and share >= 1:
            share = None
        if self._mounts.cpu_v1 is not None:
            group = self._mounts.cpu_v1 / self._name
            if share is None:
                (group / "cpu.cfs_quota_us").write_text("-1")
                return None
            quota_us, period_us = quota(share)
            (group / "cpu.cfs_quota_us").write_text("-1")  # the old quota may not fit the new period
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
            return int((group / "cpu.cfs_quota_us").read_text()), int((group / "cpu.cfs_period_us").read_text())
        file = self._mounts.v2 / self._name / "cpu.max"
        if share is None:
            file.write_text("max")
            return None
        quota_us, period_us = quota(share)
        file.write_text(f"{quota_us} {period_us}")
        found = file.read_text().split()
        return int(found[0]), int(found[1])

    def set_memory(self, limit_bytes: int) -> int:
        """Limit memory; returns what was read back."""
        if self._mounts.memory_v1 is not None:
            file = self._mounts.memory_v1 / self._name / "memory.limit_in_bytes"
        else:
            file = self._mounts.v2 / self._name / "memory.max"
        file.write_text(str(limit_bytes))
        return int(file.read_text())

    def memory_bytes(self) -> int:
        """Memory charged to it now: its own pages, not those shared with who touched them first."""
        if self._mounts.memory_v1 is not None:
            return int((self._mounts.memory_v1 / self._name / "memory.usage_in_bytes").read_text())
        return int((self._mounts.v2 / self._name / "memory.current").read_text())

    def cpu_s(self) -> float:
        """CPU seconds used by all that ever ran here."""
        if self._mounts.cpuacct_v1 is not None:
            return int((self._mounts.cpuacct_v1 / self._name / "cpuacct.usage").read_text()) / 1e9
        return self._cpu_stat()["usage_usec"] / 1e6

    def throttled_s(self) -> float:
        """Seconds in which the share was used up."""
        stat = self._cpu_stat()
        return stat["throttled_time"] / 1e9 if "throttled_time" in stat else stat.get("throttled_usec", 0) / 1e6

    def oom_kills(self) -> int:
        """How many processes the memory limit has killed."""
        if self._mounts.memory_v1 is not None:
            file = self._mounts.memory_v1 / self._name / "memory.oom_control"
        else:
            file = self._mounts.v2 / self._name / "memory.events"
        return _table(file).get("oom_kill", 0)

    def _cpu_stat(self) -> dict[str, int]:
        return _table((self._mounts.cpu_v1 or self._mounts.v2) / self._name / "cpu.stat")

    async def freeze(self, frozen: bool) -> None:
        """Freeze or thaw; returns when the kernel says that all have stopped (or go on)."""
        group = self._mounts.v2 / self._name
        (group / "cgroup.freeze").write_text("1" if frozen else "0")
        for _ in range(500):
            if _table(group / "cgroup.events").get("frozen") == int(frozen):
                return
            await asyncio.sleep(0.01)
        raise TimeoutError(f"{self._name}: the kernel did not report frozen={int(frozen)} within 5 s")

    def kill(self) -> None:
        """Kill -9 every process inside, frozen or not."""
        (self._mounts.v2 / self._name / "cgroup.kill").write_text("1")


def _table(file: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in file.read_text().splitlines())}
