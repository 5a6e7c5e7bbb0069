"""What reads strangers' files and bytes is kept apart from what needs root: it does not even have it loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Namespaces, control groups, devices, packet shaping, engines, boards: the part that needs root.
PRIVILEGED = (
    "docker",
    "mininet",
    "node_image.board",
    "node_image.fork_server",
    "node_image.kernel",
    "node_image.process_limits",
    "node_image.tun",
    "orchestrator.boards",
    "orchestrator.hosts",
    "orchestrator.janitor",
    "orchestrator.journal",
    "orchestrator.links.fabric",
    "orchestrator.links.forwarding",
    "orchestrator.links.netem",
    "orchestrator.substrates.control_groups",
    "orchestrator.substrates.hosting",
    "orchestrator.substrates.mininet",
    "paramiko",
)
UNPRIVILEGED = (
    "analysis.report",
    "node_image.handshake",
    "node_image.message",
    "node_image.packing",
    "orchestrator.contact_files",
    "orchestrator.graph_files",
    "orchestrator.plan",
    "orchestrator.scenario",
    "orchestrator.simulation.substrate",
    "orchestrator.verify",
    "orchestrator.yaml_loader",
)
SYSTEM_CALLS = ("chown", "fchown", "ioctl", "mount", "prctl", "prlimit", "setns", "umount2", "unshare")
CALLERS = (
    "node_image/board/",
    "node_image/kernel.py",
    "node_image/process_limits.py",
    "node_image/tun.py",
    "node_image/workload/names.py",
    "orchestrator/substrates/",
)


@pytest.mark.parametrize("module", UNPRIVILEGED)
def test_what_reads_foreign_input_loads_nothing_that_needs_root(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = [name for name in ran.stdout.split() if name.startswith(PRIVILEGED)]
    assert loaded == []


def test_system_calls_that_need_root_are_made_in_few_places() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call.func)}"
        for package in ("analysis", "node_image", "orchestrator")
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.relative_to(ROOT).as_posix().startswith(CALLERS)
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in SYSTEM_CALLS
    ]
    assert found == []
