"""The plan: everything decided, seed applied. The same scenario and seed give the same plan, byte for byte."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node_image.spec import NodeSpec, Peer, Role
from orchestrator import dataclass_json
from orchestrator.devices import DeviceProfile
from orchestrator.errors import ScenarioError
from orchestrator.forms.link import OneWay, shape_of
from orchestrator.links.shape import LinkShape
from orchestrator.seeds import derive
from orchestrator.topology import COORDINATOR, Graph, TopologyError, neighbourhoods
from orchestrator.victims import choose, links_hit

if TYPE_CHECKING:  # the scenario knows the kinds of faults, and they know the plan
    from orchestrator.forms.scenario import Scenario

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
    position_m: tuple[float, float] | None = None


@dataclass(frozen=True)
class DirectedLink:
    """One direction between two ends (node or switch names); `id` is `source>target`."""

    id: str
    source: str
    target: str
    shape: LinkShape
    seed: int


@dataclass(frozen=True)
class PlannedFault:
    """One disturbance with its victims chosen. `heal_s` None: it lasts for ever. Times since the run began."""

    index: int
    kind: str
    at_s: float
    heal_s: float | None
    nodes: tuple[str, ...]
    links: tuple[str, ...]  # ids of directed links
    parameters: Mapping[str, Any]  # the kind's own, base units, validated


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
    faults: tuple[PlannedFault, ...]  # by at_s
    expectations: tuple[Expectation, ...]


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
    if not isinstance(scenario.coordinator, str):
        profiles[COORDINATOR] = scenario.coordinator.profile.profile()
    learning = scenario.learning
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
            task=learning.task,
            model=learning.model,
            algorithm=learning.algorithm,
            rule=learning.rule,
            speed=profiles[group].speed,
        )
        position_m = graph.positions_m.get(name)
        nodes.append(PlannedNode(name, role, group, spec.address, profiles[group], spec, position_m))
    return tuple(nodes)


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
            links.append(DirectedLink(f"{source}>{target}", source, target, shape(way, rtt_s), link_seed))
    return tuple(links)


def _faults(scenario: "Scenario", graph: Graph, seed: int) -> tuple[PlannedFault, ...]:
    ends = [(edge.a, edge.b) for edge in graph.edges]
    faults = []
    for index, fault in enumerate(scenario.faults):
        victims = choose(fault, scenario.ends, derive(seed, "fault", index))
        heal_s = None if fault.for_s is None else fault.at_s + fault.for_s
        links = links_hit(fault, victims, ends)
        faults.append(PlannedFault(index, fault.kind, fault.at_s, heal_s, victims, links, fault.parameters))
    return tuple(sorted(faults, key=lambda fault: (fault.at_s, fault.index)))
