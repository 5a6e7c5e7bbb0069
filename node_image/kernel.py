"""The few calls of the kernel that Python 3.11 has no name for: setns, and dying with one's parent.

Linux alone. Every function raises OSError with what the kernel said.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> int:
    """The result of a call, or OSError with the kernel's reason."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def die_with_parent(parent: int) -> None:
    """Be killed when the thread that started this process ends; end at once if that has happened already."""
    check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def inside_network_of(namespace: int) -> Iterator[None]:
    """Be in the network namespace of this open file within the block, for this thread alone, and back after it.

    A process that cannot come back ends: whatever it did next would happen in the wrong network.
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        check(libc.setns(namespace, CLONE_NEWNET), "setns to a node's network namespace")
        try:
            yield
        finally:
            if libc.setns(own, CLONE_NEWNET) < 0:
                os.abort()
    finally:
        os.close(own)


def network_of(pid: int) -> int:
    """Open the network namespace of a process; refuse our own, where devices would be the machine's."""
    path = Path(f"/proc/{pid}/ns/net")
    if path.stat().st_ino == Path("/proc/thread-self/ns/net").stat().st_ino:
        raise OSError(0, f"process {pid} is in our own network namespace and not in one of its own")
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def enter_network_of(pid: int) -> None:
    """Move this thread into the network namespace of a process, for good."""
    namespace = network_of(pid)
    try:
        check(libc.setns(namespace, CLONE_NEWNET), f"setns into the network of process {pid}")
    finally:
        os.close(namespace)


def new_network() -> int:
    """Make a network namespace and come back; it lives as long as the returned file, or a process in it."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        check(libc.unshare(CLONE_NEWNET), "unshare of a network namespace")
        made = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if libc.setns(own, CLONE_NEWNET) < 0:
            os.abort()  # whatever we did next would happen in the wrong network
        return made
    finally:
        os.close(own)
