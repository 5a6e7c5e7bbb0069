"""`edgebed plan`: what a run would do - nodes, links, faults - and what of it is measured and what modelled."""

import json
import re
import shlex
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
    plugin_option,
    scenario_argument,
    seed_option,
    set_option,
    shaper_option,
    substrate_option,
)
from orchestrator.commands.results import listed, print_json
from orchestrator.terminal import Column, print_line, print_table

if TYPE_CHECKING:
    from node_image.plugins import Plugin
    from orchestrator.compare import PlannedVariant
    from orchestrator.links.shape import LinkShape
    from orchestrator.outcome import RunOptions
    from orchestrator.plan import DirectedLink, Plan, PlannedNode
    from orchestrator.traffic.flow import Flow
    from orchestrator.workload.planned import Workload

MEASURED_LIVE = "accuracy, payload and wire bytes, latencies, drops, CPU time (the clock is real time)"
MEASURED_PROGRAMS = "bytes on the wire, drops, CPU time (the clock is real time); by the programs themselves: {}"
MEASURED_SIMULATED = "accuracy, payload bytes, drops (the learning is real; the clock is virtual)"
MODELLED_LIVE = "links and the devices' speed (emulated, checked by the receipt); energy (device profiles)"
MODELLED_PROGRAMS = (
    "links (emulated, checked by the receipt); energy (device profiles, from CPU time and traffic). A program is as "
    "fast as this machine lets it be, within its cpu_share: the profile's speed is not imposed on it"
)
MODELLED_SIMULATED = "computing time (cost model), links and headers (packet by packet), energy (device profiles)"


BAR_WIDTH = 16
ENDS = {
    "coordinator": "the coordinator's last has ended",
    "devices": "every device's last has ended",
    "time": "time is up",
}
MOST_VALUES = 12  # of a factor


@click.command()
@scenario_argument
@set_option
@seed_option
@substrate_option
@shaper_option
@plugin_option
@json_option
def plan(
    scenario: str,
    assignments: tuple[str, ...],
    seed: int | None,
    substrate: str | None,
    shaper: str | None,
    plugins: "tuple[Plugin, ...]",
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
    claims = tuple(dict(claim) for claim in scenario.compare.claims) if scenario.compare is not None else ()
    return tuple(
        PlannedVariant(variant.label, make_plan(variant.scenario, variant.seed), claims=claims, factors=variant.factors)
        for variant in expand(scenario)
    )


def show_plans(variants: "Sequence[PlannedVariant]", options: "RunOptions", *, as_json: bool) -> None:
    """Print the plans of all variants as JSON, or the first for people with the labels of the others."""
    from orchestrator.plan import plan_json

    if as_json:
        found = [
            {"label": each.label, "factors": dict(each.factors), "plan": json.loads(plan_json(each.plan))}
            for each in variants
        ]
        print_json({"schema_version": 1, "variants": found})
        return
    _show(variants[0].plan, options)
    if len(variants) > 1:
        print_line()
        _show_matrix(variants)


def _show_matrix(variants: "Sequence[PlannedVariant]") -> None:
    """How many runs there are, and what is varied."""
    from orchestrator.terminal.sweep import matrix, words_of

    runs = [(each.label, each.factors) for each in variants]
    print_line(f"{matrix(runs)} (above: the first)", "bold")
    words = words_of(runs)
    width = max((len(key) for key in words), default=0)
    for key, found in words.items():
        print_line(f"  {key:{width}}  {listed(found, MOST_VALUES)}", indent=width + 4)


def _show(plan: "Plan", options: "RunOptions") -> None:
    where = _where(plan, options)
    print_line(plan.name, "bold")
    print_line(f"  {plan.about}", indent=2)
    print_line(f"  {_learning(plan)}", indent=2)
    slowed = "" if plan.slow_down == 1 or where.startswith("simulation") else f", {plan.slow_down:g} times slowed down"
    print_line(f"  {where}; {plan.stop_after_s:g} s{slowed}; seed {plan.seed}", indent=2)
    print_line()
    names = (Column("nodes"), Column(""), Column("profile"), Column("speed", number=True), Column("address", soft=True))
    print_table("", names, _nodes(plan.nodes))
    print_line()
    _show_programs(plan)
    numbers = [Column(name, number=True) for name in ("rate", "delay", "jitter", "loss", "queue")]
    print_table("", [Column("links (each way)"), *numbers], _links(plan.links))
    print_line()
    if plan.traffic:
        numbers = [Column(name, number=True) for name in ("rate", "packet", "in the mean")]
        print_table("", [Column("background traffic"), Column("kind"), *numbers, Column("when")], _flows(plan))
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
    measured = MEASURED_SIMULATED if simulated else MEASURED_LIVE
    if plan.workload is not None:
        measured = MEASURED_PROGRAMS.format(_told(plan, plan.workload))
    print_line(f"measured: {measured}", indent=10)
    modelled = MODELLED_PROGRAMS if plan.workload is not None else MODELLED_LIVE
    print_line(f"modelled: {MODELLED_SIMULATED if simulated else modelled}", indent=10)


def _told(plan: "Plan", workload: "Workload") -> str:
    """The metrics that the scenario takes from what its programs write."""
    names = {metric.name for metric in workload.metrics}
    programs = (program for node in plan.nodes if node.workload is not None for program in node.workload.programs)
    names.update(group for each in programs for found in each.patterns for group in re.compile(found.match).groupindex)
    return ", ".join(sorted(names)) or "nothing (no patterns, no metrics)"


def _learning(plan: "Plan") -> str:
    if plan.workload is not None:
        return f"runs programs of this machine (--trust), until {ENDS[plan.workload.ends]}"
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


def _show_programs(plan: "Plan") -> None:
    """The argument lists of a workload, of each group the first node's."""
    shown: set[str] = set()
    for node in plan.nodes:
        if node.workload is not None and node.group not in shown:
            shown.add(node.group)
            for program in node.workload.programs:
                after = f"   # ready when {program.ready}" if program.ready is not None else ""
                words = [word if word.split() == [word] else shlex.quote(word) for word in program.run]
                print_line(f"{node.name} $ {' '.join(words)}{after}", indent=4)
    if shown:
        print_line()


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


def _flows(plan: "Plan") -> list[list[str]]:
    alike: dict[tuple[str, ...], list[Flow]] = defaultdict(list)
    for flow in plan.traffic:
        rate = "-" if flow.rate_bps is None else quantities.with_unit(flow.rate_bps, "bit/s")
        ends = "the end" if flow.until_s == plan.stop_after_s else f"{flow.until_s:g} s"
        mean = quantities.with_unit(flow.mean_bps, "bit/s")
        packet = quantities.with_unit(flow.packet_bytes, "B")
        alike[(flow.kind, rate, packet, mean, f"{flow.at_s:g} s to {ends}")].append(flow)
    return [[f"{len(flows)}: {flows[0]}{' …' if len(flows) > 1 else ''}", *told] for told, flows in alike.items()]


def _faults(plan: "Plan") -> list[list[str]]:
    from orchestrator.faults import FAULTS

    rows = []
    for fault in plan.faults:
        # The kind's own type writes its parameters as a scenario does, with their units.
        parameters = FAULTS[fault.kind].Parameters.model_construct(**fault.parameters)
        how = parameters.model_dump(mode="json", exclude_none=True, warnings=False)
        when, bar = str(fault.when), ""
        if fault.when is not None and fault.lasts_s is not None:
            when += f", for {fault.lasts_s:g} s"
        if fault.at_s is not None:
            heal_s = plan.stop_after_s if fault.heal_s is None else fault.heal_s
            when = f"{fault.at_s:g} s to {'the end' if fault.heal_s is None else f'{fault.heal_s:g} s'}"
            bar = _bar(fault.at_s / plan.stop_after_s, heal_s / plan.stop_after_s)
        rows.append(
            [
                when,
                bar,
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
