"""Traffic control on a board's data interface: HTB tells the nodes' tunnels apart, a netem below each makes its link.

    data interface: root eb: htb -- eb:1 -- netem     packets of the first tunnel (their sockets carry the class)
                                 -- eb:2 -- netem     packets of the second
                                 -- all else leaves as it comes

It is a lease as everything of the agent's: `close` gives the interface the kernel's own queue back. What an agent that
was killed has left is known by its handle, and removed by the next.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

HANDLE = "eb:"
MAJOR = 0xEB << 16
KERNELS_OWN = "0:"  # handle of a queue that nobody has set
RUN_WITHIN_S = 10.0
TC_PLACES = "/usr/sbin:/sbin"  # often not in the PATH of a user


class Shaping:
    """The interfaces that were taken."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def set(self, device: str, commands: Sequence[Sequence[str]]) -> None:
        """Run commands of tc on an interface, which is taken first. RuntimeError where that fails or it is not free."""
        if any(argv[0] != "tc" or argv[argv.index("dev") + 1] != device for argv in commands):
            raise ValueError(f"not commands of tc for {device}")
        if device not in self._taken:
            for queue in queues(device):
                if queue.get("root") and queue["handle"] not in (KERNELS_OWN, HANDLE):
                    raise RuntimeError(
                        f"{device} has a queue of somebody else's ({queue['kind']} {queue['handle']});"
                        f" if nobody needs it: tc qdisc del dev {device} root"
                    )
            remove(device)
            self._taken.add(device)
            run(("tc", "qdisc", "replace", "dev", device, "root", "handle", HANDLE, "htb", "default", "0"))
        for argv in commands:
            run(argv)

    def close(self) -> None:
        """As it was before."""
        for device in self._taken:
            remove(device)
        self._taken.clear()


def priority(number: int) -> int:
    """What the socket of a tunnel must carry for its packets to go into that class."""
    return MAJOR | number


def queues(device: str | None = None) -> list[dict[str, Any]]:
    """What tc shows of an interface (of all), with its counters."""
    said = run(("tc", "-s", "-j", "qdisc", "show", *(("dev", device) if device else ())))
    found: list[dict[str, Any]] = json.loads(said or "[]")
    return found


def remove(device: str) -> None:
    """Take ours off an interface, if it is there."""
    with suppress(RuntimeError):
        if any(queue.get("root") and queue["handle"] == HANDLE for queue in queues(device)):
            run(("tc", "qdisc", "del", "dev", device, "root"))


def remove_left() -> None:
    """Take off what an agent that was killed has left, wherever it is."""
    with suppress(RuntimeError):
        for queue in queues():
            if queue.get("root") and queue["handle"] == HANDLE:
                remove(queue["dev"])


def run(argv: Sequence[str]) -> str:
    """Run one command without a shell; RuntimeError with what it said where it fails."""
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{TC_PLACES}"}
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUN_WITHIN_S, env=env)
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(f"{' '.join(argv)}: {error}") from error
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode('utf-8', 'replace').strip() or 'failed'}")
    return done.stdout.decode("utf-8", "replace")
