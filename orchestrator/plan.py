"""The plan: everything decided, seed applied. The same scenario and seed give the same plan, byte for byte."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from node_image.spec import Chosen, Limits, NodeSpec, Peer, Role, TaskSpec
from node_image.workload.spec import NodeWorkload
from orchestrator import dataclass_json
from orchestrator.dataclass_json import left_out
from orchestrator.devices import DeviceProfile
from orchestrator.errors import ScenarioError
from orchestrator.forms.link import Link, OneWay, shape_of
from orchestrator.graph import Graph, TopologyError
from orchestrator.links.shape import LinkShape
from orchestrator.occurrences import occurrences
from orchestrator.seeds import derive
from orchestrator.topology import COORDINATOR, neighbourhoods
from orchestrator.traffic.flow import Flow
from orchestrator.traffic.planned import flows_of
from orchestrator.victims import choose, links_hit
from orchestrator.workload import planned

if TYPE_CHECKING:  # the scenario knows the kinds of faults, and they know the plan
    from orchestrator.forms.scenario import DeviceGroup, Scenario
    from orchestrator.forms.when import Trigger

HostKind = Literal["process", "container"]  # what a node lives in
FIRST_ADDRESS = IPv4Address("10.77.0.1")  # the coordinator's, or the first device's; the others follow


@dataclass(frozen=True)
class PlannedNode:
    """A learning process: who it is, on what kind of device, and what it is told (`spec`)."""

    name: str
    role: Role
    group: str
    address: str
    profile: DeviceProfile
    spec: NodeSpec
    host: HostKind | None = left_out(None)  # on an emulated network; None: what the substrate has by itself
    workload: NodeWorkload | None = left_out(None)  # programs that it runs in place of learning


@dataclass(frozen=True)
class DirectedLink:
    """One direction between two ends (node or switch names); `id` is `source>target`."""

    id: str
    source: str
    target: str
    shape: LinkShape
    seed: int
    away: tuple[tuple[float, float | None], ...] = ()  # (from s, to s) when its ends are out of each other's range


@dataclass(frozen=True)
class Condition:
    """What a fault waits for: a metric's value (`at_least`, `at_most`) or the beginning of a fault; then `plus_s`."""

    metric: str | None
    at_least: float | None
    at_most: float | None
    after: int | None  # index of a fault
    plus_s: float

    def __str__(self) -> str:
        said = (("at least", self.at_least), ("at most", self.at_most))
        bounds = [f"{word} {bound:g}" for word, bound in said if bound is not None]
        what = f"fault {self.after} has begun" if self.metric is None else f"{self.metric} is {' and '.join(bounds)}"
        return f"once {what}" + (f", {self.plus_s:g} s later" if self.plus_s else "")


@dataclass(frozen=True)
class PlannedFault:
    """One disturbance with its victims chosen: at an instant, or once something has come to pass.

    Times in seconds since the run began. It ends at `heal_s` or after `lasts_s`, whichever is given; without either
    it lasts for ever.
    """

    index: int
    kind: str
    at_s: float | None  # None: `when`
    heal_s: float | None
    nodes: tuple[str, ...]
    links: tuple[str, ...]  # ids of directed links
    parameters: Mapping[str, Any]  # the kind's own, base units, validated
    when: Condition | None = None
    lasts_s: float | None = None  # of one that waits for something
    pairs: tuple[tuple[str, str], ...] = left_out(())  # (source, target) that it cuts off, of shapes that are not plain


@dataclass(frozen=True)
class Expectation:
    """`metric` must lie within [at_least, at_most] in the run's summary."""

    metric: str
    at_least: float | None
    at_most: float | None
    text: str  # as the user wrote it, for the table


@dataclass(frozen=True)
class Plan:
    """One run, decided."""

    name: str
    about: str
    seed: int
    stop_after_s: float
    substrate: str  # auto | simulation | mininet | docker | ssh, as asked
    shaper: str  # auto | delay_line | netem, as asked
    nodes: tuple[PlannedNode, ...]  # coordinator first (if any), then devices by index
    switches: tuple[str, ...]
    links: tuple[DirectedLink, ...]
    faults: tuple[PlannedFault, ...]  # by at_s, then those that wait for something
    expectations: tuple[Expectation, ...]
    workload: planned.Workload | None = left_out(None)
    traffic: tuple[Flow, ...] = left_out(())  # of others, on the same links
    slow_down: float = left_out(1.0)  # real seconds in one of the run's, which is what all times here are in


def make_plan(scenario: "Scenario", seed: int | None = None) -> Plan:
    """Decide everything; `seed` replaces the scenario's. Raises ScenarioError where this seed gives no usable graph."""
    seed = scenario.seed if seed is None else seed
    try:
        graph = scenario.graph(seed)
    except TopologyError as error:
        problems = [scenario.written.problem(("topology", *path), text) for path, text in error.mistakes]
        raise ScenarioError(tuple(problems)) from error
    return Plan(
        name=scenario.name,
        about=scenario.about,
        seed=seed,
        stop_after_s=scenario.stop_after_s,
        substrate=scenario.substrate,
        shaper=scenario.shaper,
        nodes=_nodes(scenario, graph, seed),
        switches=graph.switches,
        links=_links(graph, seed),
        faults=_faults(scenario, graph, seed),
        expectations=tuple(each.expectation() for each in scenario.expect),
        workload=None if scenario.workload is None else planned.of_run(scenario.workload),
        traffic=flows_of(scenario.traffic, scenario.named, seed, scenario.stop_after_s),
        slow_down=scenario.slow_down,
    )


def with_data_dir(plan: Plan, data_dir: str | None) -> Plan:
    """The plan with a folder of data sets, which is this machine's and so not the scenario's; None changes nothing."""
    if data_dir is None:
        return plan
    folder = str(Path(data_dir).resolve())
    nodes = tuple(
        replace(node, spec=replace(node.spec, task=replace(node.spec.task, data_dir=folder))) for node in plan.nodes
    )
    return replace(plan, nodes=nodes)


def plan_json(plan: Plan) -> str:
    """The plan as JSON: the same plan is the same bytes."""
    return dataclass_json.to_json(plan)


def plan_from_json(text: str) -> Plan:
    """Inverse of `plan_json`."""
    return dataclass_json.from_json(Plan, text)


def _nodes(scenario: "Scenario", graph: Graph, seed: int) -> tuple[PlannedNode, ...]:
    ends = scenario.ends
    coordinator = scenario.coordinator_end
    names = [*([COORDINATOR] if coordinator else []), *(end.name for end in ends)]
    peers = {name: Peer(name, str(FIRST_ADDRESS + number)) for number, name in enumerate(names)}
    around = neighbourhoods(scenario.topology, graph, ends, coordinator)
    profiles = {group.group: group.profile.profile() for group in scenario.devices}
    groups = {end.name: end.group for end in ends}
    written = {group.group: group for group in scenario.devices}
    links = {end.name: end.link for end in (*ends, *([coordinator] if coordinator else []))}
    hosts = {group.group: group.host for group in scenario.devices}
    shares = {group.group: group.cpu_share for group in scenario.devices}
    if not isinstance(scenario.coordinator, str):
        profiles[COORDINATOR] = scenario.coordinator.profile.profile()
        hosts[COORDINATOR] = scenario.coordinator.host
        shares[COORDINATOR] = scenario.coordinator.cpu_share
    learning = None if scenario.workload is not None else scenario.learning
    known = planned.known(
        peers[COORDINATOR].address if coordinator else None, [peers[end.name].address for end in ends]
    )
    known |= {"run.seconds": f"{scenario.stop_after_s:g}", "run.seed": str(seed)}
    nodes = []
    for index, name in enumerate(names, -1 if coordinator else 0):
        group = groups.get(name, COORDINATOR)
        role: Role = "coordinator" if index == -1 else "device"
        spec = NodeSpec(
            name=name,
            role=role,
            index=index,
            devices=len(ends),
            address=peers[name].address,
            peers=tuple(peers[other] for other in around[name]),
            coordinator=COORDINATOR if coordinator else None,
            seed=derive(seed, "node", index + 1),
            data_seed=seed,
            stop_after_s=scenario.stop_after_s,
            task=planned.NO_TASK if learning is None else _task_of(learning.task, written.get(group)),
            model=planned.NOTHING if learning is None else learning.model,
            algorithm=planned.NOTHING if learning is None else learning.algorithm,
            rule=planned.NOTHING if learning is None else learning.rule,
            speed=profiles[group].speed,
            selection=Chosen("everything") if learning is None else learning.selection,
            initial=None if learning is None else learning.initial,
            limits=_limits(profiles[group], links[name]),
            track=graph.tracks.get(name, ()),
            phase_every_s=_phase_every_s(written.get(group), derive(seed, "pace", index + 1)),
            slow_down=scenario.slow_down,
        )
        workload = None
        if scenario.workload is not None:
            workload = planned.of_node(scenario.workload, spec, group, shares[group], known)
        nodes.append(PlannedNode(name, role, group, spec.address, profiles[group], spec, hosts[group], workload))
    return tuple(nodes)


def _task_of(task: TaskSpec, group: "DeviceGroup | None") -> TaskSpec:
    return task if group is None or group.stream_per_s is None else replace(task, stream_per_s=group.stream_per_s)


def _phase_every_s(group: "DeviceGroup | None", seed: int) -> float:
    if group is None:
        return 0.0
    return group.phase_every_s * float(np.random.default_rng(seed).lognormal(0.0, group.phase_spread))


def _limits(profile: DeviceProfile, link: Link | None) -> Limits:
    up = link.up if link else None
    rate_bps = None if up is None else up.trace.mean_bps if up.trace else up.rate_bps
    return Limits(profile.memory_bytes, profile.speed.macs_per_s, rate_bps)


def _links(graph: Graph, seed: int) -> tuple[DirectedLink, ...]:
    shapes: dict[tuple[int, float], LinkShape] = {}  # devices of a group share their shape

    def shape(way: OneWay, rtt_s: float) -> LinkShape:
        if (id(way), rtt_s) not in shapes:
            shapes[id(way), rtt_s] = shape_of(way, rtt_s)
        return shapes[id(way), rtt_s]

    links: list[DirectedLink] = []
    for edge in graph.edges:
        rtt_s = edge.forward.delay_s + edge.backward.delay_s
        for source, target, way in ((edge.a, edge.b, edge.forward), (edge.b, edge.a, edge.backward)):
            link_seed = derive(seed, "link", len(links))
            name = f"{source}>{target}"
            links.append(DirectedLink(name, source, target, shape(way, rtt_s), link_seed, edge.away))
    return tuple(links)


def _faults(scenario: "Scenario", graph: Graph, seed: int) -> tuple[PlannedFault, ...]:
    ends = [(edge.a, edge.b) for edge in graph.edges]
    names = [*([COORDINATOR] if scenario.coordinator_end else []), *(end.name for end in scenario.ends)]
    faults: list[PlannedFault] = []
    first: list[int] = []  # index of the first that each written one comes to
    for place, fault in enumerate(scenario.faults):
        first.append(len(faults))
        victims = choose(fault, scenario.ends, derive(seed, "fault", place))
        if fault.when is not None:
            links, when = links_hit(fault, victims, ends), _condition(fault.when, first)
            begun = PlannedFault(
                len(faults), fault.kind, None, None, victims, links, fault.parameters, when, fault.for_s
            )
            faults.append(replace(begun, pairs=fault.pairs(victims, names)))
            continue
        for each in occurrences(fault, victims, scenario, derive(seed, "occurrences", place)):
            links = links_hit(fault, each.victims, ends)
            timed = PlannedFault(len(faults), fault.kind, each.at_s, each.heal_s, each.victims, links, fault.parameters)
            faults.append(replace(timed, pairs=fault.pairs(each.victims, names)))
    return tuple(sorted(faults, key=lambda fault: (inf if fault.at_s is None else fault.at_s, fault.index)))


def _condition(when: "Trigger", first: Sequence[int]) -> Condition:
    metric, at_least, at_most = when.condition()
    return Condition(metric, at_least, at_most, None if when.after is None else first[when.after], when.plus_s)
