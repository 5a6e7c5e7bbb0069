"""`edgebed plan`: what a run would do - nodes, links, faults - and what of it is measured and what modelled."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator import quantities
from orchestrator.commands.find import find_scenario
from orchestrator.commands.options import (
    json_option,
    overrides,
    scenario_argument,
    seed_option,
    set_option,
    shaper_option,
    substrate_option,
)
from orchestrator.commands.results import listed, print_json
from orchestrator.terminal import print_line, print_table

if TYPE_CHECKING:
    from orchestrator.compare import PlannedVariant
    from orchestrator.links.shape import LinkShape
    from orchestrator.outcome import RunOptions
    from orchestrator.plan import DirectedLink, Plan, PlannedFault, PlannedNode

MEASURED_LIVE = "accuracy, payload and wire bytes, latencies, drops, CPU time (the clock is real time)"
MEASURED_SIMULATED = "accuracy, payload bytes, drops (the learning is real; the clock is virtual)"
MODELLED_LIVE = "links and the devices' speed (emulated, checked by the receipt); energy (device profiles)"
MODELLED_SIMULATED = "computing time (cost model), links and headers (packet by packet), energy (device profiles)"


@click.command()
@scenario_argument
@set_option
@seed_option
@substrate_option
@shaper_option
@json_option
def plan(
    scenario: str,
    assignments: tuple[str, ...],
    seed: int | None,
    substrate: str | None,
    shaper: str | None,
    as_json: bool,
) -> int:
    """Show what a run would do.

    Nodes, links, the failure schedule with its victims, and what is measured and what modelled.
    """
    from orchestrator.outcome import RunOptions

    variants = plan_all(find_scenario(scenario), overrides(assignments, seed=seed, substrate=substrate, shaper=shaper))
    show_plans(variants, RunOptions(Path(), substrate or "auto", shaper or "auto"), as_json=as_json)
    return 0


def plan_all(path: Path, assignments: tuple[str, ...]) -> "tuple[PlannedVariant, ...]":
    """Every variant of a scenario file, planned; what may not be meant is said on stderr. Raises ScenarioError."""
    from orchestrator.compare import PlannedVariant
    from orchestrator.plan import make_plan
    from orchestrator.scenario import expand, load_scenario, notes

    scenario = load_scenario(path, assignments)
    for note in notes(scenario):
        click.echo(f"{path}: note: {note}", err=True)
    variants = expand(scenario)
    return tuple(PlannedVariant(variant.label, make_plan(variant.scenario, variant.seed)) for variant in variants)


def show_plans(variants: "Sequence[PlannedVariant]", options: "RunOptions", *, as_json: bool) -> None:
    """Print the plans of all variants as JSON, or the first for people with the labels of the others."""
    from orchestrator.plan import plan_json

    if as_json:
        found = [{"label": variant.label, "plan": json.loads(plan_json(variant.plan))} for variant in variants]
        print_json({"schema_version": 1, "variants": found})
        return
    _show(variants[0].plan, options)
    if len(variants) > 1:
        print_line(f"\n{len(variants)} runs, one after another: " + "; ".join(variant.label for variant in variants))


def _show(plan: "Plan", options: "RunOptions") -> None:
    print_line(f"{plan.name}: {plan.about}")
    print_line(f"seed {plan.seed}, {plan.stop_after_s:g} s, {_where(plan, options)}")
    print_table("", ["nodes", "role", "profile", "speed", "address"], _nodes(plan.nodes), numbers=False)
    print_table("", ["links", "rate", "delay", "jitter", "loss", "queue"], _links(plan.links))
    if plan.faults:
        print_table("", ["from", "to", "fault", "hits", "how"], _faults(plan.faults), numbers=False)
    for expectation in plan.expectations:
        print_line(f"expects {expectation.text}")
    simulated = _where(plan, options).startswith("simulation")
    print_line(f"measured: {MEASURED_SIMULATED if simulated else MEASURED_LIVE}")
    print_line(f"modelled: {MODELLED_SIMULATED if simulated else MODELLED_LIVE}")


def _where(plan: "Plan", options: "RunOptions") -> str:
    from orchestrator.errors import MachineCannotError
    from orchestrator.substrates import choose

    try:
        kind, reason = choose(plan, options)
    except MachineCannotError as error:
        return str(error)
    return f"{kind.name} ({reason})" if reason else kind.name


def _nodes(nodes: "Sequence[PlannedNode]") -> list[list[str]]:
    groups: dict[tuple[str, ...], list[PlannedNode]] = defaultdict(list)
    for node in nodes:
        speed = quantities.with_unit(node.profile.speed.macs_per_s, "MAC/s")
        groups[(node.role, node.profile.name, speed)].append(node)
    return [[_count(found), *key, _span([node.address for node in found])] for key, found in groups.items()]


def _count(nodes: "Sequence[PlannedNode]") -> str:
    return f"{len(nodes)}: {listed([node.name for node in nodes])}"


def _span(addresses: Sequence[str]) -> str:
    return addresses[0] if len(addresses) == 1 else f"{addresses[0]} … {addresses[-1]}"


def _links(links: "Sequence[DirectedLink]") -> list[list[str]]:
    shapes: dict[LinkShape, list[str]] = defaultdict(list)
    for link in links:
        shapes[link.shape].append(link.id)
    return [[f"{len(ids)}: {listed(ids, 3)}", *_shape(shape)] for shape, ids in shapes.items()]


def _shape(shape: "LinkShape") -> list[str]:
    rate = "unlimited" if shape.rate_bps is None else quantities.with_unit(shape.rate_bps, "bit/s")
    loss = quantities.percent(shape.loss)
    return [
        rate if shape.trace is None else f"trace {Path(shape.trace.path).name}",
        quantities.seconds(shape.delay_s),
        f"{quantities.seconds(shape.jitter_s)} {shape.jitter_kind}" if shape.jitter_s else "-",
        f"{loss} + bursts" if shape.burst_loss else loss,
        "unbounded" if shape.queue_bytes is None else quantities.with_unit(shape.queue_bytes, "B"),
    ]


def _faults(faults: "Sequence[PlannedFault]") -> list[list[str]]:
    return [
        [
            quantities.seconds(fault.at_s),
            "the end" if fault.heal_s is None else quantities.seconds(fault.heal_s),
            fault.kind,
            listed(fault.nodes or fault.links),
            ", ".join(f"{key} {value}" for key, value in fault.parameters.items() if value is not None),
        ]
        for fault in faults
    ]
