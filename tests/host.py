"""What a run could leave on this machine, for tests that demand that it leaves nothing."""

from dataclasses import dataclass
from pathlib import Path

MARK = "edgebed-"
OURS = ("mininet:", "node_image", "orchestrator.links.fabric", "orchestrator.janitor")


@dataclass(frozen=True)
class HostState:
    """Interfaces, control groups, named namespaces and processes that a run makes."""

    interfaces: frozenset[str]
    control_groups: frozenset[str]
    namespaces: frozenset[str]
    processes: frozenset[str]


def host_state() -> HostState:
    """Read it now."""
    root = Path("/sys/fs/cgroup")
    mounts = [root, *root.iterdir()] if root.is_dir() else []
    groups = {str(path) for mount in mounts if mount.is_dir() for path in mount.iterdir() if MARK in path.name}
    named = Path("/run/netns")
    return HostState(
        interfaces=frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        control_groups=frozenset(groups),
        namespaces=frozenset(path.name for path in named.iterdir()) if named.is_dir() else frozenset(),
        processes=frozenset(_our_processes()),
    )


def _our_processes() -> set[str]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if any(mark in words for mark in OURS) and "pytest" not in words:
            found.add(f"{folder.name}: {words.strip()}")
    return found
