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
from orchestrator.terminal import Column, print_line, print_table

if TYPE_CHECKING:
    from orchestrator.compare import PlannedVariant
    from orchestrator.links.shape import LinkShape
    from orchestrator.outcome import RunOptions
    from orchestrator.plan import DirectedLink, Plan, PlannedNode

MEASURED_LIVE = "accuracy, payload and wire bytes, latencies, drops, CPU time (the clock is real time)"
MEASURED_SIMULATED = "accuracy, payload bytes, drops (the learning is real; the clock is virtual)"
MODELLED_LIVE = "links and the devices' speed (emulated, checked by the receipt); energy (device profiles)"
MODELLED_SIMULATED = "computing time (cost model), links and headers (packet by packet), energy (device profiles)"


BAR_WIDTH = 16


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
        print_line()
        labels = "; ".join(variant.label for variant in variants)
        print_line(f"{len(variants)} runs, one after another (above: the first): {labels}", indent=2)


def _show(plan: "Plan", options: "RunOptions") -> None:
    where = _where(plan, options)
    print_line(plan.name, "bold")
    print_line(f"  {plan.about}", indent=2)
    print_line(f"  {_learning(plan)}", indent=2)
    print_line(f"  {where}; {plan.stop_after_s:g} s; seed {plan.seed}", indent=2)
    print_line()
    names = (Column("nodes"), Column(""), Column("profile"), Column("speed", number=True), Column("address", soft=True))
    print_table("", names, _nodes(plan.nodes))
    print_line()
    numbers = [Column(name, number=True) for name in ("rate", "delay", "jitter", "loss", "queue")]
    print_table("", [Column("links (each way)"), *numbers], _links(plan.links))
    print_line()
    if plan.faults:
        bar = Column("over the run", soft=True)
        print_table("", [Column("failures"), bar, *map(Column, ("kind", "hits", "how"))], _faults(plan))
    else:
        print_line("nothing goes wrong")
    print_line()
    for expectation in plan.expectations:
        text = quantities.words(expectation.metric) + expectation.text.removeprefix(expectation.metric)
        print_line(f"expected: {text}", indent=10)
    simulated = where.startswith("simulation")
    print_line(f"measured: {MEASURED_SIMULATED if simulated else MEASURED_LIVE}", indent=10)
    print_line(f"modelled: {MODELLED_SIMULATED if simulated else MODELLED_LIVE}", indent=10)


def _learning(plan: "Plan") -> str:
    spec = plan.nodes[0].spec
    return f"{spec.algorithm.name} learns {spec.task.name} with {spec.model.name} and {spec.rule.name}"


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
        groups[(node.role, node.group, node.profile.name, speed)].append(node)
    rows = []
    for (role, _, profile, speed), found in groups.items():
        count = f"{len(found)} {role}{'s' if len(found) > 1 else ''}"
        names, addresses = _span([node.name for node in found]), _span([node.address for node in found])
        rows.append([count, names, profile, speed, addresses])
    return rows


def _span(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} … {texts[-1]}"


def _links(links: "Sequence[DirectedLink]") -> list[list[str]]:
    shapes: dict[LinkShape, list[str]] = defaultdict(list)
    for link in links:
        shapes[link.shape].append(link.id)
    return [[f"{len(ids)}: {ids[0]}{' …' if len(ids) > 1 else ''}", *_shape(shape)] for shape, ids in shapes.items()]


def _shape(shape: "LinkShape") -> list[str]:
    rate = "unlimited" if shape.rate_bps is None else quantities.with_unit(shape.rate_bps, "bit/s")
    losses = [quantities.percent(shape.loss)] if shape.loss else []
    losses += ["bursts"] if shape.burst_loss else []
    return [
        rate if shape.trace is None else f"trace {Path(shape.trace.path).name}",
        quantities.seconds(shape.delay_s),
        f"{quantities.seconds(shape.jitter_s)} {shape.jitter_kind}" if shape.jitter_s else "-",
        " + ".join(losses) or "-",
        "unbounded" if shape.queue_bytes is None else quantities.with_unit(shape.queue_bytes, "B"),
    ]


def _faults(plan: "Plan") -> list[list[str]]:
    from orchestrator.faults import FAULTS

    rows = []
    for fault in plan.faults:
        # The kind's own type writes its parameters as a scenario does, with their units.
        parameters = FAULTS[fault.kind].Parameters.model_construct(**fault.parameters)
        how = parameters.model_dump(mode="json", exclude_none=True)
        heal_s = plan.stop_after_s if fault.heal_s is None else fault.heal_s
        rows.append(
            [
                f"{fault.at_s:g} s to {'the end' if fault.heal_s is None else f'{fault.heal_s:g} s'}",
                _bar(fault.at_s / plan.stop_after_s, heal_s / plan.stop_after_s),
                fault.kind,
                listed(fault.nodes or fault.links),
                ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in how.items()),
            ]
        )
    return rows


def _bar(begin: float, end: float) -> str:
    """When in the run it acts, drawn: `────████────`; shares of its length."""
    first = min(BAR_WIDTH - 1, int(begin * BAR_WIDTH))
    last = max(first + 1, min(BAR_WIDTH, round(end * BAR_WIDTH)))
    return "─" * first + "█" * (last - first) + "─" * (BAR_WIDTH - last)
