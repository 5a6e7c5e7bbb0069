"""What a fault leaves a node of its means: memory, threads, open files, room on its disk. The kernel holds it to that.

    memory        its control group's limit: who wants more is killed by the kernel, who has more, at once
    pids          its control group's `pids.max`: new processes and threads are refused (EAGAIN)
    descriptors   RLIMIT_NOFILE of each of its processes (node_image.process_limits): more open files are refused
    disk          RLIMIT_FSIZE of each of its processes: a file ends there, as on a disk that has become full

Root may set the limits of a container's processes, which are another user's, only where it has CAP_SYS_RESOURCE, and
not every machine leaves it that; so it is tried as root first and then as their owner.

A node that such a limit ends is no accident: its exit is asked for. What was before is remembered in each life, and is
there again when the limit is lifted.
"""

import asyncio
import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, RLIMIT_NOFILE, prlimit
from typing import TYPE_CHECKING

from node_image.process_limits import ProcessLimits
from orchestrator.command import run
from orchestrator.errors import RunBrokeError
from orchestrator.substrates.base import Resource

if TYPE_CHECKING:
    from orchestrator.substrates.placed import Placed

BY_KERNEL = -9
MB = 1e6
ATTEMPTS = 20
KILLED_WITHIN_S = 5.0
WANTED_BYTES = 8 << 20
OPTIONS = {RLIMIT_NOFILE: "--nofile", RLIMIT_FSIZE: "--fsize"}  # of util-linux' prlimit
WANT_MEMORY = """
import os, sys
open("/proc/self/oom_score_adj", "w").write("-1000")
open(sys.argv[1], "w").write(str(os.getpid()))
b"x" * int(sys.argv[2])
"""


def set_limit(pid: int, which: int, limits: tuple[int, int]) -> None:
    """Set a process's limit (soft, hard), whoever it belongs to; PermissionError if that cannot be."""
    try:
        prlimit(pid, which, limits)
    except PermissionError:
        user, group = _owner(pid)
        most = ":".join("unlimited" if each == RLIM_INFINITY else str(each) for each in limits)
        as_owner = ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups")
        done = run((*as_owner, "prlimit", f"--pid={pid}", f"{OPTIONS[which]}={most}"))
        if done.returncode != 0 and Path(f"/proc/{pid}").exists():
            raise PermissionError(
                errno.EPERM,
                f"limits of pid {pid} can be set neither by root without CAP_SYS_RESOURCE nor by its owner {user}: "
                f"{done.output}",
            ) from None


def _owner(pid: int) -> tuple[int, int]:
    """The user and the group that a process runs as."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    ids = {words[0]: int(words[1]) for words in lines if words[0] in ("Uid:", "Gid:")}
    return ids["Uid:"], ids["Gid:"]


@dataclass
class Limited:
    """The limits of one node that are in force, and what there was before, in its present life (None: untouched)."""

    most: dict[Resource, int] = field(default_factory=dict)
    memory_before: tuple[int | None, int] | None = None  # the limit, and the kernel's kills so far
    pids_before: tuple[int | None, int] | None = None  # the limit, and how many were refused so far
    processes: ProcessLimits = field(default_factory=lambda: ProcessLimits(set_limit))


async def limit(placed: "Placed", resource: Resource, most: int | None) -> str:
    """Limit a node, or lift the limit (None); says what was read back. See Substrate.limit."""
    limited = placed.limited
    if most is None:
        limited.most.pop(resource, None)
    else:
        limited.most[resource] = most
    if placed.process is not None:
        placed.process.excused = lambda code: _excused(limited, code)
    if resource == "memory":
        return f"{placed.node.name}: {await _limit_memory(placed, most)}"
    if resource == "pids":
        return f"{placed.node.name}: {_limit_pids(placed, most)}"
    if most is None:
        return f"{placed.node.name}: {limited.processes.lift(resource)}"
    return f"{placed.node.name}: {limited.processes.tighten(placed.group.pids(), resource, most)}"


def release(placed: "Placed") -> None:
    """Before another life: its control group, if it is the same, is as it was. What is in force stays so."""
    limited, group = placed.limited, placed.group
    with suppress(OSError, RunBrokeError):  # a container's has gone with it
        if limited.memory_before is not None:
            group.set_memory(limited.memory_before[0])
        if limited.pids_before is not None:
            group.set_pids(limited.pids_before[0])
    limited.memory_before = limited.pids_before = None
    limited.processes.forget()


async def renew(placed: "Placed") -> None:
    """Hold a new life to what is in force."""
    for resource, most in tuple(placed.limited.most.items()):
        await limit(placed, resource, most)


def _excused(limited: Limited, code: int) -> bool:
    """Whether a limit explains this end: the kernel's kill for memory, or any end for want of the others."""
    others = limited.most.keys() - {"memory"}
    return bool(others) or ("memory" in limited.most and code == BY_KERNEL)


async def _limit_memory(placed: "Placed", most: int | None) -> str:
    group, limited = placed.group, placed.limited
    if most is None:
        before, limited.memory_before = limited.memory_before, None
        if before is None:
            return "its memory was not limited in this life"
        kills = max(0, group.oom_kills() - before[1])
        with _if_gone(placed):
            return f"{_in_words(group.set_memory(before[0]))}, oom_kill {kills}"
        return f"gone, oom_kill {kills}"
    if not placed.lives:
        return f"not running; {most / MB:.1f} MB when it starts again"
    if limited.memory_before is None:
        limited.memory_before = group.memory_limit(), group.oom_kills()
    used = group.memory_bytes()
    try:
        found = group.set_memory(most)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return await _have_it_killed(placed, most)
    kills = group.oom_kills() - limited.memory_before[1]
    return f"{_in_words(found)}, it used {used / MB:.1f} MB, oom_kill {kills}"


async def _have_it_killed(placed: "Placed", most: int) -> str:
    """As v2 does of itself: who uses more than the limit is killed by the kernel.

    v1 takes no limit below what is in use. So the limit is set to that, and a process that the kernel must spare asks
    for a little memory in the same group: somebody has to go.
    """
    group, limited = placed.group, placed.limited
    assert placed.process is not None, "it lives"
    assert limited.memory_before is not None, "it has been limited"
    used = group.memory_bytes()
    for _ in range(ATTEMPTS):
        with suppress(OSError):  # it has just taken more
            group.set_memory(group.memory_bytes())
            break
    argv = (sys.executable, "-I", "-S", "-c", WANT_MEMORY, group.memory_procs(), str(WANTED_BYTES))
    await asyncio.to_thread(run, argv)
    if not await placed.process.ended(KILLED_WITHIN_S):
        raise RunBrokeError(
            f"uses {used / MB:.1f} MB, and the kernel did not kill it for a limit of {most / MB:.1f} MB"
        )
    kills = group.oom_kills() - limited.memory_before[1]
    with _if_gone(placed):
        return (
            f"{_in_words(group.set_memory(most))}, it used {used / MB:.1f} MB: killed by the kernel, oom_kill {kills}"
        )
    return f"limited to {most / MB:.1f} MB, it used {used / MB:.1f} MB: killed by the kernel"


def _in_words(limit_bytes: int | None) -> str:
    return "no memory limit" if limit_bytes is None else f"memory limit read back as {limit_bytes / MB:.1f} MB"


def _limit_pids(placed: "Placed", most: int | None) -> str:
    group, limited = placed.group, placed.limited
    if most is None:
        before, limited.pids_before = limited.pids_before, None
        if before is None:
            return "its processes were not limited in this life"
        refused = max(0, group.pids_refused() - before[1])
        with _if_gone(placed):
            found = group.set_pids(before[0])
            return f"pids.max read back as {'max' if found is None else found}, {refused} refused meanwhile"
        return f"gone, {refused} refused"
    if not placed.lives:
        return "not running, limited when it starts again"
    if limited.pids_before is None:
        limited.pids_before = group.pids_limit(), group.pids_refused()
    now = group.pids_now()
    return f"pids.max read back as {group.set_pids(most or now)}, it has {now} processes and threads"


@contextmanager
def _if_gone(placed: "Placed") -> Iterator[None]:
    """What cannot be set any more because the container has gone with its node is no mistake."""
    try:
        yield
    except (OSError, RunBrokeError):
        if placed.lives:
            raise
