"""Topologies: who is linked to whom. Pure: the same devices and seed give the same graph.

Where there is a coordinator, every topology but `two_tier` and `explicit` links each device to it by the device's own
link: directly, or through a switch `hub` if the coordinator has a link of its own. Without a coordinator, a `star`
links the devices to that hub. `ring`, `line`, `full` and `random_geometric` add direct links among the devices: shaped
by the topology's `link`, or, without one, in each direction by the sending device's own (its `up` part).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from orchestrator.forms.base import Mistake, shown, unknown
from orchestrator.forms.link import Link, OneWay
from orchestrator.forms.topology import (
    AnyForm,
    Contact,
    Explicit,
    Full,
    Network,
    Peering,
    RandomGeometric,
    Ring,
    Star,
    TwoTier,
)
from orchestrator.graph import Edge, End, Graph, TopologyError, check_size
from orchestrator.graph_files import Site
from orchestrator.mobility import STEP_S, Places, Spell, Track, away, track, walk

COORDINATOR = "coordinator"
HUB = "hub"
MOST_STEPS = 100_000  # of moving devices: a day, at one a second
MOST_LOOKS = 20_000_000  # at the distance of two of them: seconds of planning


def build(
    topology: AnyForm, devices: Sequence[End], coordinator: End | None, seed: int, stop_after_s: float = 0.0
) -> Graph:
    """The graph of these devices; raises TopologyError where it cannot be or falls apart."""
    match topology:
        case Star():
            graph = star(devices, coordinator)
        case TwoTier():
            graph = two_tier(topology, devices, coordinator)
        case Explicit():
            graph = explicit(topology, devices, coordinator)
        case Network():
            graph = network(topology, devices, coordinator)
        case Peering():
            graph = peering(topology, devices, coordinator, seed, stop_after_s)
    _check_connected(graph, [*devices, *([coordinator] if coordinator else [])])
    return graph


def neighbourhoods(
    topology: AnyForm, graph: Graph, devices: Sequence[End], coordinator: End | None
) -> dict[str, tuple[str, ...]]:
    """Whom each node may speak to: the coordinator with all devices, and devices with the coordinator.

    Devices among themselves: those linked directly in the peer topologies; those reached through switches alone in
    `explicit`, and in `star` and `two_tier` without a coordinator. Coordinator first, then devices in their order.
    """
    names = [device.name for device in devices]
    around: dict[str, set[str]] = {name: set() for name in names}
    if isinstance(topology, Peering) or coordinator is None or isinstance(topology, Explicit):
        through = set() if isinstance(topology, Peering) else set(graph.switches)
        for members in _joined(graph, through):
            known = members & around.keys()
            for name in known:
                around[name] |= known
    order = {name: index for index, name in enumerate(names)}
    first = (coordinator.name,) if coordinator else ()
    found = {name: (*first, *sorted(others - {name}, key=order.__getitem__)) for name, others in around.items()}
    return found if coordinator is None else {coordinator.name: tuple(names), **found}


def _joined(graph: Graph, through: set[str]) -> Iterator[set[str]]:
    """Sets of nodes that reach each other in one hop, or over these switches alone."""
    island = {name: name for name in through}  # switch -> one that stands for all linked with it

    def root(name: str) -> str:
        while island[name] != name:
            name = island[name]
        return name

    for edge in graph.edges:
        if edge.a in through and edge.b in through:
            island[root(edge.a)] = root(edge.b)
    members: dict[str, set[str]] = {}
    for edge in graph.edges:
        inside = [end for end in (edge.a, edge.b) if end in through]
        if not inside:
            yield {edge.a, edge.b}
        elif len(inside) == 1:
            members.setdefault(root(inside[0]), set()).update({edge.a, edge.b} - through)
    yield from members.values()


def star(devices: Sequence[End], coordinator: End | None) -> Graph:
    """See the module."""
    if coordinator is not None and coordinator.link is None:
        return Graph(tuple(_access(device, coordinator.name) for device in devices))
    ends = [*devices, *([coordinator] if coordinator else [])]
    return Graph(tuple(_access(end, HUB) for end in ends), (HUB,))


def two_tier(topology: TwoTier, devices: Sequence[End], coordinator: End | None) -> Graph:
    """Gateways meet at the coordinator, or at a switch `hub` if it has a link of its own (or is absent)."""
    if isinstance(topology.gateways, int):
        names = [f"gw-{number}" for number in range(1, topology.gateways + 1)]
        gateway_of = dict(zip((device.name for device in devices), itertools.cycle(names), strict=False))
    else:
        names = [gateway.name for gateway in topology.gateways]
        of_group = {group: gateway.name for gateway in topology.gateways for group in gateway.groups}
        if missing := sorted({device.group for device in devices} - of_group.keys()):
            raise TopologyError((("gateways",), f"no gateway serves the group {missing[0]}"))
        for index, gateway in enumerate(topology.gateways):
            for group in gateway.groups:
                if group not in {device.group for device in devices}:
                    groups = {device.group for device in devices}
                    raise TopologyError((("gateways", index, "groups"), unknown("group", group, groups)))
        gateway_of = {device.name: of_group[device.group] for device in devices}
    direct = coordinator is not None and coordinator.link is None
    top = COORDINATOR if direct else HUB
    edges = [_access(device, gateway_of[device.name]) for device in devices]
    edges += [Edge(name, top, topology.uplink.up, topology.uplink.down) for name in names]
    if direct or coordinator is None:
        return Graph(tuple(edges), (*names, *(() if direct else (HUB,))))
    return Graph((*edges, _access(coordinator, HUB)), (*names, HUB))


def peering(
    topology: Peering, devices: Sequence[End], coordinator: End | None, seed: int, stop_after_s: float
) -> Graph:
    """Links among the devices, beside the star to the coordinator if there is one."""
    count = len(devices)
    tracks: dict[str, Track] = {}
    spells: dict[tuple[int, int], tuple[Spell, ...]] = {}
    match topology:
        case Full():
            check_size(count * (count - 1))
            pairs = list(itertools.combinations(range(count), 2))
        case RandomGeometric():
            moving = (topology.area, topology.radio_range_m, topology.speed_m_per_s, topology.turn)
            ways, met = _wandering(*moving, count, seed, stop_after_s)
            spells = dict(met)
            pairs = list(spells)
            tracks = {end.name: way for end, way in zip(devices, ways, strict=True)}
        case Contact():
            spells = contacts(topology, count)
            pairs = list(spells)
        case _:
            pairs = [(index, index + 1) for index in range(count - 1)]
            if isinstance(topology, Ring) and count > 2:
                pairs.append((count - 1, 0))
    edges = tuple(
        replace(_between(devices[a], devices[b], topology.link), away=spells.get((a, b), ())) for a, b in pairs
    )
    if coordinator is None:
        return Graph(edges, (), tracks)
    access = star(devices, coordinator)
    return Graph((*access.edges, *edges), access.switches, tracks)


@lru_cache(maxsize=16)  # the runs of a comparison have the same few movements, and each is looked at several times
def _wandering(
    area_m: tuple[float, float],
    range_m: float,
    speed_m_per_s: float,
    turn: float,
    count: int,
    seed: int,
    stop_after_s: float,
) -> tuple[tuple[Track, ...], tuple[tuple[tuple[int, int], tuple[Spell, ...]], ...]]:
    """Where each device goes; and the pairs that are ever in range of each other, with the times when they are not."""
    rng = np.random.default_rng(seed)
    places = rng.uniform((0, 0), area_m, (count, 2))[None]
    if speed_m_per_s:
        steps = stop_after_s / STEP_S
        if steps > MOST_STEPS or steps * count * count > MOST_LOOKS:
            text = f"{count} devices on the move for {steps:.0f} s are too much to plan: let them stand (speed: 0 m/s)"
            raise TopologyError((("speed",), text + ", or shorten stop_after"))
        places = walk(places[0], area_m, speed_m_per_s, turn, stop_after_s, rng)
        met = tuple(meetings(places, range_m).items())
    else:
        met = tuple((pair, ()) for pair in within_range(places[0], range_m))
    return tuple(track(places, index) for index in range(count)), met


def meetings(places: Places, range_m: float) -> dict[tuple[int, int], tuple[Spell, ...]]:
    """Pairs of moving devices that are ever within range of each other, and when they are not."""
    found: dict[tuple[int, int], tuple[Spell, ...]] = {}
    for a, b in itertools.combinations(range(places.shape[1]), 2):
        spells = away(places, a, b, range_m)
        if spells is not None:
            found[a, b] = spells
            check_size(2 * len(found))
    return found


def within_range(places: NDArray[np.float64], range_m: float) -> list[tuple[int, int]]:
    """Pairs of places no further apart than `range_m`; TopologyError says which range would link all of them."""
    needed_m = longest_hop(places)
    if needed_m > range_m:
        enough = f"{np.ceil(needed_m * 10) / 10:g} m"
        text = f"at the places that this seed gives, some devices reach no other part; a range of {enough} would do"
        raise TopologyError((("radio_range",), text + f", or a smaller area, or another seed (found {range_m:g} m)"))
    pairs: list[tuple[int, int]] = []
    for a in range(len(places) - 1):
        near = np.flatnonzero(np.hypot(*(places[a + 1 :] - places[a]).T) <= range_m)
        pairs += [(a, a + 1 + int(b)) for b in near]
        check_size(2 * len(pairs))
    return pairs


def longest_hop(places: NDArray[np.float64]) -> float:
    """The smallest range that links all places: the longest edge of their minimum spanning tree (Prim)."""
    if len(places) < 2:
        return 0.0
    distance = np.hypot(*(places - places[0]).T)
    outside = np.ones(len(places), dtype=bool)
    outside[0] = False
    longest = 0.0
    while outside.any():
        nearest = int(np.argmin(np.where(outside, distance, np.inf)))
        longest = max(longest, float(distance[nearest]))
        outside[nearest] = False
        distance = np.minimum(distance, np.hypot(*(places - places[nearest]).T))
    return longest


def explicit(topology: Explicit, devices: Sequence[End], coordinator: End | None) -> Graph:
    """Exactly the links written, groups spelled out."""
    ends = {end.name: end for end in [*devices, *([coordinator] if coordinator else [])]}
    groups: dict[str, list[str]] = {}
    for device in devices:
        groups.setdefault(device.group, []).append(device.name)
    known = {**{name: [name] for name in (*ends, *topology.switches)}, **groups}
    edges: dict[frozenset[str], Edge] = {}
    mistakes: list[Mistake] = []
    for index, written in enumerate(topology.links):
        path = ("links", index)
        missing = [(side, name) for side, name in enumerate(written.between) if name not in known]
        mistakes += [
            ((*path, "between", side), unknown("node, switch or group", name, known)) for side, name in missing
        ]
        for a, b in () if missing else itertools.product(*(known[name] for name in written.between)):
            own = next((ends[end].link for end in (a, b) if end in ends and ends[end].link), None)
            link = written.link or own
            if a == b or frozenset((a, b)) in edges:
                what = "links it to itself" if a == b else f"{a} and {b} are linked already"
                mistakes.append(((*path, "between"), what + shown(list(written.between))))
            elif link is None:
                mistakes.append(((*path, "link"), f"is required: neither {a} nor {b} has a link of its own"))
            else:
                towards_b = written.link is not None or (a in ends and ends[a].link is not None)
                ways = (link.up, link.down) if towards_b else (link.down, link.up)
                edges[frozenset((a, b))] = Edge(a, b, *ways)
                check_size(2 * len(edges))
    if mistakes:
        raise TopologyError(*mistakes)
    return Graph(tuple(edges.values()), topology.switches)


def network(topology: Network, devices: Sequence[End], coordinator: End | None) -> Graph:
    """The sites of a file are switches; each device hangs on one by its own link, or by what the file says of hosts."""
    sites, base = topology.file.sites, topology.link
    edges = [
        Edge(cable.a, cable.b, base.up.changed(_said(cable.forward)), base.down.changed(_said(cable.backward)))
        for cable in topology.file.cables
    ]
    ends = [*devices, *([coordinator] if coordinator else [])]
    groups = {end.group for end in ends}
    turns: dict[str, Iterator[Site]] = {}
    mistakes = [(("at", group), unknown("group", group, groups)) for group in topology.at if group not in groups]
    for group in groups & topology.at.keys():
        chosen = [topology.file.site(name) for name in topology.at[group]]
        names = [site.label for site in sites]
        mistakes += [
            (("at", group), unknown("site", name, names))
            for name, site in zip(topology.at[group], chosen, strict=True)
            if site is None
        ]
        turns[group] = itertools.cycle([site for site in chosen if site is not None])
    if mistakes:
        raise TopologyError(*mistakes)
    everywhere = itertools.cycle(sites)
    for end in ends:
        site = next(turns.get(end.group, everywhere if end is not coordinator else iter(sites)))
        if end.link is None and (site.up_bps or site.down_bps or end is coordinator):
            up, down = (_said({"rate_bps": rate} if rate else {}) for rate in (site.up_bps, site.down_bps))
            edges.append(Edge(end.name, site.name, up, down))
        else:
            edges.append(_access(end, site.name))
    check_size(2 * len(edges))
    if taken := {site.name for site in sites} & {end.name for end in ends}:
        raise TopologyError((("file",), f"has a site named as a node is ({sorted(taken)[0]}); rename the group"))
    return Graph(tuple(edges), tuple(site.name for site in sites))


def _said(of: Mapping[str, float]) -> OneWay:
    return OneWay.model_construct(_fields_set=set(of), **of)


def contacts(topology: Contact, devices: int) -> dict[tuple[int, int], tuple[Spell, ...]]:
    """Pairs of devices that ever meet, and when they are apart."""
    trace = topology.file
    if len(trace.names) > devices:
        raise TopologyError((("file",), f"names {len(trace.names)} devices; the scenario has {devices}"))
    check_size(2 * len(trace.up))
    return {pair: trace.away(pair, topology.faster) for pair in trace.up}


def _access(end: End, to: str) -> Edge:
    link = _own(end)
    return Edge(end.name, to, link.up, link.down)


def _between(a: End, b: End, link: Link | None) -> Edge:
    return Edge(a.name, b.name, link.up, link.down) if link else Edge(a.name, b.name, _own(a).up, _own(b).up)


def _own(end: End) -> Link:
    if end.link is None:
        raise TopologyError(
            ((), f"the group {end.group} needs a link (devices: link), by which this topology links it")
        )
    return end.link


def _check_connected(graph: Graph, nodes: Sequence[End]) -> None:
    around: dict[str, list[str]] = {name: [] for name in (*(node.name for node in nodes), *graph.switches)}
    for edge in graph.edges:
        around[edge.a].append(edge.b)
        around[edge.b].append(edge.a)
    seen = {nodes[0].name}
    ahead = [nodes[0].name]
    while ahead:
        new = [name for name in around[ahead.pop()] if name not in seen]
        seen.update(new)
        ahead += new
    if apart := [node.name for node in nodes if node.name not in seen]:
        more = f" and {len(apart) - 1} more" if len(apart) > 1 else ""
        raise TopologyError(((), f"not connected: {nodes[0].name} has no path to {apart[0]}{more}; add a link"))
