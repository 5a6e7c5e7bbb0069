"""Control groups on the real kernel: the share that a node gets, freezing, killing, and removal."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.journal import Journal
from orchestrator.substrates.control_groups import ControlGroup, find_mounts, quota

JOIN_AND_SPIN = """
import os, sys
for procs in sys.argv[1:]:
    open(procs, "w").write(str(os.getpid()))
print("in", flush=True)
while True: pass
"""


JOIN_AND_GROW = """
import os, sys
for procs in sys.argv[1:]:
    open(procs, "w").write(str(os.getpid()))
print("in", flush=True)
sys.stdin.read(1)
held = [bytearray(1 << 20) for _ in range(256)]
"""

JOIN_AND_FORK = """
import os, sys, time
for procs in sys.argv[1:]:
    open(procs, "w").write(str(os.getpid()))
print("in", flush=True)
sys.stdin.read(1)
try:
    os.fork()
except BlockingIOError:
    sys.exit(7)
"""


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, (50000, 100000)), (0.1, (10000, 100000)), (0.004, (1000, 250000)), (1e-5, (1000, 1000000))],
)
def test_the_period_is_a_tenth_of_a_second_unless_the_quota_would_be_too_small(
    share: float, expected: tuple[int, int]
) -> None:
    assert quota(share) == expected


@pytest.fixture
def spinning(tmp_path: Path) -> Iterator[tuple[ControlGroup, "subprocess.Popen[bytes]"]]:
    """A control group with one process that does nothing but compute."""
    with Journal(tmp_path) as journal:
        group = ControlGroup(find_mounts(), "test", "spinner", journal)
        group.make()
        argv = [sys.executable, "-c", JOIN_AND_SPIN, *group.procs()]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield group, process
            process.kill()
        group.remove()


@pytest.mark.root
def test_a_share_is_what_the_node_gets_and_being_held_back_is_counted(
    spinning: tuple[ControlGroup, "subprocess.Popen[bytes]"],
) -> None:
    group, _ = spinning
    assert group.set_share(0.05) == (5000, 100000)  # as much as even a busy machine has for it
    used, held, began = group.cpu_s(), group.throttled_s(), time.monotonic()
    time.sleep(1.5)
    lasted = time.monotonic() - began
    assert 0.02 < (group.cpu_s() - used) / lasted < 1.25 * 0.05
    assert (group.throttled_s() - held) / lasted > 0.2
    assert group.set_share(1e-5) == (1000, 1000000)  # the least that the kernel takes
    assert group.set_share(None) is None


@pytest.mark.root
def test_a_frozen_group_uses_no_cpu_and_can_be_killed(
    spinning: tuple[ControlGroup, "subprocess.Popen[bytes]"],
) -> None:
    group, process = spinning
    asyncio.run(group.freeze(True))
    used = group.cpu_s()
    time.sleep(0.2)
    assert group.cpu_s() == used
    asyncio.run(group.kill())
    assert process.wait(5) == -9


@pytest.mark.root
def test_a_memory_limit_is_read_back(spinning: tuple[ControlGroup, "subprocess.Popen[bytes]"]) -> None:
    group, _ = spinning
    assert group.set_memory(64 << 20) == 64 << 20
    assert group.oom_kills() == 0
    assert group.set_memory(None) is None


@contextmanager
def joined(program: str, folder: Path) -> "Iterator[tuple[ControlGroup, subprocess.Popen[bytes]]]":
    """A control group with one process that waits for a byte before it sets to work."""
    with Journal(folder) as journal:
        group = ControlGroup(find_mounts(), "test", "joined", journal)
        group.make()
        argv = [sys.executable, "-c", program, *group.procs()]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield group, process
            process.kill()
        group.remove()


@pytest.mark.root
def test_the_kernel_kills_who_grows_beyond_the_limit_and_counts_it(tmp_path: Path) -> None:
    with joined(JOIN_AND_GROW, tmp_path) as (group, process):
        assert group.set_memory(64 << 20) == 64 << 20
        process.communicate(b"x", timeout=20)
        assert process.returncode == -9
        assert group.oom_kills() == 1


@pytest.mark.root
def test_the_kernel_refuses_more_processes_than_the_limit_and_counts_it(tmp_path: Path) -> None:
    with joined(JOIN_AND_FORK, tmp_path) as (group, process):
        assert group.pids_now() == 1
        assert group.set_pids(1) == 1
        process.communicate(b"x", timeout=20)
        assert process.returncode == 7
        assert group.pids_refused() == 1
        assert group.set_pids(None) is None
