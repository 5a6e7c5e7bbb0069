"""A node in its place: its host, its control groups, its process of now, how fast it may be, and what it has used."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.plan import PlannedNode
from orchestrator.receipt import Check
from orchestrator.substrates.base import NodeUse
from orchestrator.substrates.control_groups import ControlGroup
from orchestrator.substrates.processes import NodeProcess

HEADROOM = 1.5  # of the CPU share: the control group bounds a node, pacing its work makes it exact (ADR 3)
WAITING_TOLERANCE = 0.35  # of the run, summed over threads: ready to compute while others had the CPU
SLOW_WITHIN_S = 5.0


@dataclass
class Placed:
    """One node through all its lives. `share` is its ordinary speed on this host, None: as fast as the host."""

    node: PlannedNode
    netns_pid: int
    group: ControlGroup
    folder: Path
    process: NodeProcess | None = None
    share: float | None = None
    factor: float = 1.0  # what a straggler fault leaves of its speed
    busy_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    _cpu_seen_s: float = 0.0
    _cpu_at_freeze_s: float = 0.0
    _waited_s: float = 0.0  # ready to run while others had the CPU, over all its lives
    _waited_before_s: float = 0.0  # the same, of lives that have ended

    def live(self, process: NodeProcess) -> None:
        """A new life begins."""
        self.process = process
        self._waited_before_s = self._waited_s

    def begin(self) -> None:
        """The run begins: what was used until now does not count."""
        self._cpu_seen_s = self.group.cpu_s()

    def bound(self) -> str:
        """Bound its control group to a little more than its speed needs; says what was read back."""
        limited = self.share is not None or self.factor < 1
        found = self.group.set_share(HEADROOM * (self.share or 1.0) * self.factor if limited else None)
        return "no CPU limit" if found is None else f"CPU limit read back as {found[0]} of every {found[1]} us"

    def pace(self) -> float | None:
        """How many times as long as its profile says its work takes; None: as fast as the host."""
        return 1 / self.factor if self.node.profile.slowed or self.factor < 1 else None

    async def slow(self, factor: float) -> str:
        """Leave it `factor` of its speed; the node confirms, the control group is read back."""
        self.account()
        self.factor = factor
        bound = self.bound()
        if self.process is None:
            return f"{self.node.name}: not running; {bound}"
        answer = await self.process.ask({"do": "slow", "factor": self.pace()}, SLOW_WITHIN_S)
        took = (
            "as long as here" if answer["factor"] is None else f"{answer['factor']:g} times as long as by its profile"
        )
        return f"{self.node.name}: its work takes {took}, it confirms; {bound}"

    async def freeze(self) -> str:
        """Freeze all its tasks; the kernel confirms."""
        self.account()
        await self.group.freeze(True)
        self._cpu_at_freeze_s = self.group.cpu_s()
        return f"{self.node.name}: frozen"

    async def thaw(self) -> str:
        """Let them go on; says how much CPU was used meanwhile."""
        used_s = self.group.cpu_s() - self._cpu_at_freeze_s
        await self.group.freeze(False)
        return f"{self.node.name}: thawed, {used_s * 1e3:.1f} ms of CPU used while frozen"

    def account(self) -> None:
        """Turn the CPU time used since last asked into busy time of the device.

        A straggler is as busy as before, only for longer: its factor does not count.
        """
        cpu_s = self.group.cpu_s()
        self.busy_s += (cpu_s - self._cpu_seen_s) / (self.share or 1.0)
        self._cpu_seen_s = cpu_s
        if self.process is not None:
            self._waited_s = self._waited_before_s + _waited_s(self.process.pid)

    def use(self) -> NodeUse:
        """What it has used so far; memory beside the pages that it shares with the fork server."""
        self.account()
        group = self.group
        return NodeUse(self._cpu_seen_s, self.busy_s, group.throttled_s(), group.memory_bytes(), self.share)

    def waiting(self, lasted_s: float) -> Check:
        """How long it waited for a CPU. Being held back by its own share counts too, so only free nodes are judged."""
        waited = self._waited_s / lasted_s if lasted_s > 0 else 0.0
        if self.share is None:
            ok = waited <= WAITING_TOLERANCE
            return Check("waiting_for_cpu_ratio", self.node.name, 0.0, waited, WAITING_TOLERANCE, ok)
        why = "not compared: being held back by its own share counts; see step_time_ratio"
        return Check("waiting_for_cpu_ratio", self.node.name, None, waited, None, None, why)


def _waited_s(pid: int) -> float:
    """Seconds for which the threads of a process were ready to run while others had the CPU (schedstat, 2nd field)."""
    waited = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            waited += int(task.read_text().split()[1])
    return waited / 1e9
