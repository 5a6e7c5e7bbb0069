"""A node in its place: its host, its control groups, its process of now, how fast it may be, and what it has used."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestrator.errors import RunBrokeError
from orchestrator.plan import PlannedNode
from orchestrator.receipt import Check
from orchestrator.substrates.base import NodeUse
from orchestrator.substrates.limits import Limited
from orchestrator.substrates.processes import NodeProcess

HEADROOM = 1.5  # of the CPU share: the control group bounds a node, pacing its work makes it exact (ADR 3)
WAITING_TOLERANCE = 0.35  # of the run, summed over threads: ready to compute while others had the CPU
SLOW_WITHIN_S = 5.0
KILLED_WITHIN_S = 5.0


class Group(Protocol):
    """What bounds and measures a node: control groups of ours, or those of its container."""

    def set_share(self, share: float | None) -> tuple[int, int] | None:
        """Limit to a share of one core (None: no limit); returns (quota, period) in microseconds as read back."""

    def cpu_s(self) -> float:
        """CPU seconds used in all its lives."""

    def throttled_s(self) -> float:
        """Seconds in which the share was used up."""

    def memory_bytes(self) -> int:
        """Memory charged to it now."""

    def pids(self) -> tuple[int, ...]:
        """Its processes."""

    def set_memory(self, limit_bytes: int | None) -> int | None:
        """Limit memory (None: no limit); returns what was read back. OSError EBUSY: v1 takes none below use."""

    def memory_limit(self) -> int | None:
        """That limit."""

    def memory_procs(self) -> str:
        """The file into which a process writes its pid to have its memory counted there."""

    def oom_kills(self) -> int:
        """How many of its processes the memory limit has killed."""

    def set_pids(self, most: int | None) -> int | None:
        """Limit processes and threads (None: no limit); returns what was read back."""

    def pids_limit(self) -> int | None:
        """That limit."""

    def pids_now(self) -> int:
        """How many processes and threads it has."""

    def pids_refused(self) -> int:
        """How many more it was refused."""

    async def freeze(self, frozen: bool) -> None:
        """Freeze or thaw; returns when the kernel has done it."""

    async def kill(self) -> None:
        """Kill -9 all of it, frozen or not."""


@dataclass
class Placed:
    """One node through all its lives; `netns_pid` holds its namespace of now.

    `share` is its ordinary speed on this host, None: as fast as the host. In a slowed run (node_image.clock) the node
    paces its work to that share of each of the run's seconds; all times here are the run's, but for CPU seconds.
    """

    node: PlannedNode
    netns_pid: int
    group: Group
    folder: Path
    process: NodeProcess | None = None
    share: float | None = None
    factor: float = 1.0  # what a straggler fault leaves of its speed
    busy_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    limited: Limited = field(default_factory=Limited)
    loads: bool = True  # what it does until it sets to work is no work of the device's
    _cpu_seen_s: float = 0.0
    _cpu_at_freeze_s: float = 0.0
    _waited_s: float = 0.0  # ready to run while others had the CPU, over all its lives
    _waited_before_s: float = 0.0  # the same, of lives that have ended, less what the present one waited as it loaded

    def live(self, process: NodeProcess) -> None:
        """A new life begins."""
        self.process = process
        self.loads = True
        self._waited_before_s = self._waited_s

    @property
    def lives(self) -> bool:
        """Whether its process runs: it may have ended by itself."""
        return self.process is not None and self.process.exited is not None and not self.process.exited.done()

    async def bury(self) -> int | None:
        """Kill what is left of its life and take it as ended; the exit code, None where there was no life."""
        process = self.process
        if process is None or process.exited is None:
            return None
        await self.group.kill()
        if not await process.ended(KILLED_WITHIN_S):
            raise RunBrokeError(f"{self.node.name} (pid {process.pid}) survived a kill for {KILLED_WITHIN_S:g} s")
        self.account()
        await process.close()
        self.process = None
        return os.waitstatus_to_exitcode(await process.exited)

    async def terminate(self, grace_s: float) -> str:
        """Tell it to end, and kill what lives after the grace; says how it ended and when."""
        process, name = self.process, self.node.name
        if process is None or not self.lives:
            await self.bury()
            return f"{name}: had ended before"
        process.asked_to_end = True
        self.account()
        began = time.monotonic()
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(process.pid, signal.SIGTERM)
        in_time = await process.ended(grace_s * self.node.spec.slow_down)
        took_s = (time.monotonic() - began) / self.node.spec.slow_down
        code = await self.bury()
        return how_it_ended(f"{name}: pid {process.pid}", code, took_s if in_time else None, grace_s)

    def begin(self) -> None:
        """The node sets to work: what it used to load does not count."""
        self.loads = False
        self._cpu_seen_s = self.group.cpu_s()
        self._waited_before_s = self._waited_s - self._waiting_s()

    def bound(self) -> str:
        """Bound its control group to a little more than its speed needs; says what was read back.

        It is of real seconds, also in a slowed run: it holds a runaway, and must not stand in the way of paced work.
        Of a k-th of it messages took so much that nodes waited for the kernel's next period, for longer than a step
        (ADR 8).
        """
        limited = self.share is not None or self.factor < 1
        headroom = HEADROOM if self.node.workload is None else 1.0  # nothing but the control group slows a program
        share = headroom * (self.share or 1.0) * self.factor
        found = self.group.set_share(share if limited else None)
        return "no CPU limit" if found is None else f"CPU limit read back as {found[0]} of every {found[1]} us"

    def pace(self) -> float | None:
        """How many times as long as its profile says its work takes; None: as fast as the host."""
        return 1 / self.factor if self.node.profile.slowed or self.factor < 1 else None

    async def slow(self, factor: float) -> str:
        """Leave it `factor` of its speed; the node confirms, the control group is read back."""
        self.account()
        self.factor = factor
        bound = self.bound()
        if self.process is None or not self.lives:
            return f"{self.node.name}: not running; {bound}"
        if self.node.workload is not None:
            return f"{self.node.name}: {bound}"
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
        if not self.loads:
            self.busy_s += (cpu_s - self._cpu_seen_s) / (self.share or 1.0)
        self._cpu_seen_s = cpu_s
        if self.group.pids():  # what the dead waited for is gone with them
            self._waited_s = self._waited_before_s + self._waiting_s()

    def use(self) -> NodeUse:
        """What it has used so far; memory beside the pages that it shares with the fork server."""
        self.account()
        group = self.group
        throttled_s = group.throttled_s() / self.node.spec.slow_down
        return NodeUse(self._cpu_seen_s, self.busy_s, throttled_s, group.memory_bytes(), self.share)

    def waiting(self, lasted_s: float) -> Check:
        """How long it waited for a CPU. Being held back by its own share counts too, so only free nodes are judged."""
        waited = self._waited_s / self.node.spec.slow_down / lasted_s if lasted_s > 0 else 0.0
        if self.share is None:
            ok = waited <= WAITING_TOLERANCE
            return Check("waiting_for_cpu_ratio", self.node.name, 0.0, waited, WAITING_TOLERANCE, ok)
        see = "step_time_ratio" if self.node.workload is None else "cpu_throttled_s"
        why = f"not compared: being held back by its own share counts; see {see}"
        return Check("waiting_for_cpu_ratio", self.node.name, None, waited, None, None, why)

    def _waiting_s(self) -> float:
        return sum(_waited_s(pid) for pid in self.group.pids())


def how_it_ended(who: str, code: int | None, took_s: float | None, grace_s: float) -> str:
    """The evidence that a process was told to end; `took_s` None: it outlived its grace. -15: it left no status."""
    if took_s is None:
        return f"{who} lived on for its grace of {grace_s:g} s after SIGTERM and was killed (exit status {code})"
    return f"{who} ended {took_s:.3f} s after SIGTERM (exit status {code}), within its grace of {grace_s:g} s"


def _waited_s(pid: int) -> float:
    """Seconds for which the threads of a process were ready to run while others had the CPU (schedstat, 2nd field)."""
    waited = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            waited += int(task.read_text().split()[1])
    return waited / 1e9
