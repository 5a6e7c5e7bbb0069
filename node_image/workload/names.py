"""The names of a run's nodes, for its programs alone: a hosts file of their own, and no name server.

Without it, a program that looks a name or an address up would wait for servers that its namespace cannot reach.
"""

import os
from pathlib import Path

from node_image.kernel import check, libc

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
NOBODY = Path("/dev/null")  # as resolv.conf: asks port 53 of this host, where nobody answers, and fails at once


def know(hosts: Path) -> None:
    """For this process and those it starts from now on, /etc/hosts is this file. Needs root; OSError otherwise."""
    check(libc.unshare(CLONE_NEWNS), "unshare of a mount namespace")
    check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "making mounts private")
    for what, where in ((hosts, Path("/etc/hosts")), (NOBODY, Path("/etc/resolv.conf"))):
        if where.exists():
            check(libc.mount(os.fsencode(what), os.fsencode(where), None, MS_BIND, None), f"mounting {what} on {where}")
