"""Preflight: what this run needs against what there is, before anything is created."""

import math
import shutil
from pathlib import Path

from orchestrator.errors import MachineCannotError, UsageError
from orchestrator.faults import FAULTS
from orchestrator.links import netem
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.substrates import SubstrateKind, no_programs, shaper_of
from orchestrator.telemetry import metering
from orchestrator.workload.launch import missing_programs

NODE_BYTES = 60 << 20  # private memory of a node that trains a small model, beside what it shares with the fork server
TORCH_BYTES = 120 << 20  # of its own, where nothing is shared with a fork server: in a container
BASE_BYTES = 600 << 20
DISK_BYTES = 200 << 20
MOST_PACKETS_PER_S = 5_000  # of background traffic: two fifths of a core, measured; the fabric needs as much


def preflight(plan: Plan, kind: SubstrateKind, options: RunOptions) -> None:
    """Refuse with MachineCannotError, all reasons at once; with UsageError what only --trust allows."""
    if plan.workload is not None and not options.trust:
        raise UsageError(_not_trusted(plan))
    problems = _not_for_programs(plan, kind) if plan.workload is not None else []
    for fault in plan.faults:
        missing = FAULTS[fault.kind].needs(fault.parameters) - kind.can
        if missing:
            why = next((f": {kind.why_not[each]}" for each in sorted(missing) if each in kind.why_not), "")
            lacks = f"needs {', '.join(sorted(missing))}, which {kind.name} cannot do"
            problems.append(f"fault {fault.index} ({fault.kind}) {lacks}{why}")
        problems.extend(f"fault {fault.index} ({fault.kind}): {why}" for why in FAULTS[fault.kind].refuses(fault, plan))
    if kind.real_time:
        in_containers = sum((node.host or kind.host) == "container" for node in plan.nodes)
        wanted, free = BASE_BYTES + NODE_BYTES * len(plan.nodes) + TORCH_BYTES * in_containers, _available_bytes()
        if free is not None and wanted > free:
            problems.append(
                f"{len(plan.nodes)} nodes want about {wanted >> 20} MiB of memory and {free >> 20} MiB are free; "
                "use fewer devices or --substrate simulation"
            )
        if shaper_of(plan, options) == "netem":
            works, why = netem.available() if kind.own_kernel else (True, "")
            if not works:
                problems.append(why)
            problems.extend(_not_for_netem(plan))
    if options.meter and not kind.real_time:
        problems.append("--meter measures this machine, which a simulated run says nothing about; leave it out")
    elif options.meter and (lack := metering.available(options.meter)) is not None:
        problems.append(f"{lack} `edgebed meters` tries all of them.")
    if plan.traffic:
        problems.extend(_not_for_traffic(plan, kind))
    if plan.slow_down != 1 and kind.real_time:
        problems.extend(_not_slowed(plan, kind, options))
    problems.extend(kind.refuses(plan, options))
    if shutil.disk_usage(Path.cwd()).free < DISK_BYTES:
        problems.append(f"less than {DISK_BYTES >> 20} MiB of disk are free here; see `edgebed runs prune`")
    if problems:
        raise MachineCannotError("\n".join(problems))


def _not_trusted(plan: Plan) -> str:
    programs = {program.run[0]: program for node in plan.nodes if node.workload for program in node.workload.programs}
    return (
        f"{plan.name} runs programs on this machine, with the rights of whoever runs Edgebed: "
        f"{', '.join(sorted(programs))}. Read them (edgebed plan), and say --trust"
    )


def _not_for_programs(plan: Plan, kind: SubstrateKind) -> list[str]:
    """Why programs of one's own cannot run there."""
    return missing_programs(plan) if "programs" in kind.can else [no_programs(kind)]


def _not_for_traffic(plan: Plan, kind: SubstrateKind) -> list[str]:
    """Why packets of others cannot be played there."""
    if "traffic" not in kind.can:
        return [
            f"{kind.name} cannot play background traffic: nothing but the node itself is on a board to send it; "
            "leave traffic out, or use --substrate mininet or simulation"
        ]
    per_s = sum(flow.mean_bps / 8 / flow.packet_bytes for flow in plan.traffic) / plan.slow_down
    if kind.real_time and per_s > MOST_PACKETS_PER_S:
        return [
            f"background traffic of {per_s:.0f} packets/s is more than the {MOST_PACKETS_PER_S} that one process can "
            "play here; use lower rates or larger packets, or slow the run down (--slow-down "
            f"{math.ceil(plan.slow_down * per_s / MOST_PACKETS_PER_S)})"
        ]
    return []


def _not_slowed(plan: Plan, kind: SubstrateKind, options: RunOptions) -> list[str]:
    """Why time cannot be slowed there, or what of the run would stay in real time."""
    asked = f"slow_down: {plan.slow_down:g}"
    if "slow_down" not in kind.can:
        return [
            f"{asked} is not for {kind.name}: boards and their radios have only the real clock, and are there to be "
            "measured; leave it out (--slow-down 1)"
        ]
    problems = []
    if plan.workload is not None:
        problems.append(
            f"{asked} is not for the programs of a workload: they have only the real clock, and what they print would "
            "be in another time than all else; leave it out (--slow-down 1)"
        )
    if options.meter:
        problems.append(
            f"--meter would measure {plan.slow_down:g} times the run's length of this machine; leave it out"
        )
    if shaper_of(plan, options) == "netem" and any(link.shape.trace is not None for link in plan.links):
        problems.append(f"{asked}: netem cannot stretch a trace; use --shaper delay_line")
    return problems


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
