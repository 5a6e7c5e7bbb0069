"""Preflight: what this run needs against what there is, before anything is created."""

import shutil
from pathlib import Path

from orchestrator.errors import MachineCannotError
from orchestrator.faults import FAULTS
from orchestrator.links import netem
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.substrates import SubstrateKind, shaper_of

NODE_BYTES = 60 << 20  # private memory of a node that trains a small model, beside what it shares with the fork server
BASE_BYTES = 600 << 20
DISK_BYTES = 200 << 20


def preflight(plan: Plan, kind: SubstrateKind, options: RunOptions) -> None:
    """Refuse with MachineCannotError, all reasons at once."""
    problems = []
    for fault in plan.faults:
        missing = FAULTS[fault.kind].needs(fault.parameters) - kind.can
        if missing:
            problems.append(
                f"fault {fault.index} ({fault.kind}) needs {', '.join(sorted(missing))}, which {kind.name} cannot do"
            )
    if kind.real_time:
        wanted, free = BASE_BYTES + NODE_BYTES * len(plan.nodes), _available_bytes()
        if free is not None and wanted > free:
            problems.append(
                f"{len(plan.nodes)} nodes want about {wanted >> 20} MiB of memory and {free >> 20} MiB are free; "
                "use fewer devices or --substrate simulation"
            )
        if shaper_of(plan, options) == "netem":
            works, why = netem.available()
            if not works:
                problems.append(why)
            problems.extend(_not_for_netem(plan))
    if shutil.disk_usage(Path.cwd()).free < DISK_BYTES:
        problems.append(f"less than {DISK_BYTES >> 20} MiB of disk are free here; see `edgebed runs prune`")
    if problems:
        raise MachineCannotError("\n".join(problems))


def _not_for_netem(plan: Plan) -> list[str]:
    """Links that netem cannot make, a line each."""
    problems = []
    for link in plan.links:
        try:
            netem.settings(link.shape)
        except netem.ShapeNotPossibleError as error:
            problems.append(f"{link.id}: {error}")
    return problems


def _available_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return None
