"""The environment: what a run ran on, so that a figure can be placed years later."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("edgebed", "torch", "numpy", "mininet", "msgpack", "scikit-learn")


def environment() -> dict[str, Any]:
    """Machine, kernel, versions and the commit of this code (None where unknown)."""
    return {
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(Path(__file__).parents[1] / ".git"),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return None


def _commit(git: Path) -> str | None:
    """The commit checked out, read from git's own files: no command is run for it."""
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        ref = git / head.removeprefix("ref: ")
        if ref.exists():
            return ref.read_text().strip()
        for line in (git / "packed-refs").read_text().splitlines():
            if line.endswith(head.removeprefix("ref: ")):
                return line.split()[0]
    except OSError:
        pass
    return None
