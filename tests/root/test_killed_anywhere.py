"""kill -9 of orchestrators at random moments of their lives: nothing of them stays, nothing of others goes.

Fifty in the gate, several at once, since the machine's load moves the moments too; EDGEBED_SOAK=500 for a soak.
"""

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.host import host_state
from tests.killed import kill_at_random

pytestmark = pytest.mark.root

AT_ONCE = 5
BATCHES = min(int(os.environ.get("EDGEBED_SOAK", "50")), 500) // AT_ONCE
LONGEST_S = 9.0  # set-up, run and teardown of five at once on two cores
LEFT_WITHIN_S = 30.0
ON_PROCESSES = ("--substrate", "mininet")


@contextmanager
def foreigners(folder: Path) -> Iterator[Callable[[], list[str]]]:
    """What is not ours, and bears names that careless cleaners go for; yields what tells which of it is gone."""
    group = next(Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line)
    namespace, veth, bridge = "s1-foreign", "s1-eth1", "s1"
    other, file = group / "not-edgebed", folder / "x.log"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    subprocess.run(["ip", "link", "add", veth, "type", "veth", "peer", "name", "h1-eth0"], check=True)
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    other.mkdir()
    file.write_text("mine")
    process = subprocess.Popen(["ping", "3600"], executable="/usr/bin/sleep")

    def gone() -> list[str]:
        there = {
            namespace: Path("/run/netns", namespace).exists(),
            veth: Path("/sys/class/net", veth).exists(),
            bridge: Path("/sys/class/net", bridge).exists(),
            "control group": other.is_dir(),
            "file": file.exists(),
            "process called ping": process.poll() is None,
        }
        return [name for name, is_there in there.items() if not is_there]

    try:
        yield gone
    finally:
        process.kill()
        process.wait()
        other.rmdir()
        for words in (["link", "del", veth], ["link", "del", bridge], ["netns", "del", namespace]):
            subprocess.run(["ip", *words], check=False)


@pytest.mark.timeout(60 + 45 * BATCHES)
def test_orchestrators_killed_at_random_moments_leave_nothing_and_touch_nothing_of_others(tmp_path: Path) -> None:
    drawn = random.Random(1)
    killed = 0
    with foreigners(tmp_path) as gone:
        before = host_state(tmp_path)
        for batch in range(BATCHES):
            folder = tmp_path / str(batch)
            folder.mkdir()
            killed += kill_at_random(drawn, folder, ON_PROCESSES, AT_ONCE, LONGEST_S)
            deadline = time.monotonic() + LEFT_WITHIN_S
            while (now := host_state(tmp_path)) != before:
                assert time.monotonic() < deadline, f"batch {batch} left something: {now}"
                time.sleep(0.05)
            assert gone() == []
    assert killed > BATCHES * AT_ONCE / 2, "most were killed in the middle of their lives"
