"""What runs of this test session could leave on this machine. Runs of others at the same time are not looked at."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from orchestrator.hosts.container import RUN_LABEL, client_of

VARIABLE = "EDGEBED_TEST_SESSION"
OURS = ("mininet:", "node_image", "orchestrator.links.fabric", "orchestrator.traffic.player", "orchestrator.janitor")


@dataclass(frozen=True)
class HostState:
    """Interfaces and named namespaces of the host; control groups, containers and processes of this session's runs."""

    interfaces: frozenset[str]
    control_groups: frozenset[str]
    containers: frozenset[str]
    namespaces: frozenset[str]
    processes: frozenset[str]


def mark_session() -> None:
    """Give this process an environment that all its descendants have and nobody else: they are known by it."""
    os.environ.setdefault(VARIABLE, uuid.uuid4().hex)


def host_state(runs: Path) -> HostState:
    """Read it now; `runs` is the folder below which the test keeps its run directories."""
    named = Path("/run/netns")
    return HostState(
        interfaces=frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        control_groups=frozenset(_control_groups(runs)),
        containers=frozenset(_containers(runs)),
        namespaces=frozenset(path.name for path in named.iterdir()) if named.is_dir() else frozenset(),
        processes=frozenset(_processes()),
    )


def _control_groups(runs: Path) -> set[str]:
    """Those that a journal names and that are still there."""
    named: set[str] = set()
    for journal in runs.glob("**/resources.jsonl"):
        for word in journal.read_text().split('"'):
            if word.startswith("/") and Path(word).is_dir():
                named.add(word)
    return named


def _containers(runs: Path) -> set[str]:
    """Those that bear the label of a run whose journal names an engine."""
    found: set[str] = set()
    for journal in runs.glob("**/resources.jsonl"):
        for word in journal.read_text().split('"'):
            address, _, run_id = word.partition(" ")
            if address.startswith("unix://"):
                with client_of(address) as client:
                    labelled = client.containers(all=True, filters={"label": f"{RUN_LABEL}={run_id}"})
                found |= {container["Names"][0] for container in labelled}
    return found


def _processes() -> set[str]:
    mark = f"{VARIABLE}={os.environ[VARIABLE]}".encode()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if any(ours in words for ours in OURS) and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.add(f"{folder.name}: {words.strip()}")
        except OSError:
            continue
    return found
