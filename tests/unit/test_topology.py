"""Topologies: who is linked to whom, whom a node may speak to, and what cannot be linked."""

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.forms.link import Link, OneWay
from orchestrator.forms.topology import (
    AnyForm,
    Explicit,
    ExplicitLink,
    Full,
    Gateway,
    Line,
    RandomGeometric,
    Ring,
    Star,
    TwoTier,
)
from orchestrator.graph import End, Graph, TopologyError
from orchestrator.topology import build, longest_hop, neighbourhoods


def link(rate_bps: float) -> Link:
    """A link that is twice as fast down as up."""
    up, down = (OneWay.model_construct(rate_bps=rate) for rate in (rate_bps, 2 * rate_bps))
    return Link.model_construct(up=up, down=down, radio=None)


def devices(count: int, group: str = "pi") -> list[End]:
    return [End(f"{group}-{number}", group, link(1e6 * number)) for number in range(1, count + 1)]


COORDINATOR = End("coordinator", "coordinator", None)
LINKED_COORDINATOR = End("coordinator", "coordinator", link(1e9))
FAST = link(5e7)


def as_graph(graph: Graph) -> "nx.Graph[Any]":
    found: nx.Graph[Any] = nx.Graph((edge.a, edge.b) for edge in graph.edges)
    return found


def pairs(graph: Graph) -> list[tuple[str, str]]:
    return [(edge.a, edge.b) for edge in graph.edges]


def test_a_star_links_every_device_by_its_own_link() -> None:
    graph = build(Star(), devices(3), COORDINATOR, 1)
    assert pairs(graph) == [("pi-1", "coordinator"), ("pi-2", "coordinator"), ("pi-3", "coordinator")]
    assert graph.switches == ()
    assert (graph.edges[1].forward.rate_bps, graph.edges[1].backward.rate_bps) == (2e6, 4e6)


def test_a_coordinator_with_a_link_of_its_own_is_reached_through_a_hub() -> None:
    graph = build(Star(), devices(2), LINKED_COORDINATOR, 1)
    assert pairs(graph) == [("pi-1", "hub"), ("pi-2", "hub"), ("coordinator", "hub")]
    assert graph.switches == ("hub",)
    assert graph.edges[2].forward.rate_bps == 1e9


def test_two_tiers_share_the_devices_by_turns_among_the_gateways() -> None:
    topology = TwoTier.model_construct(gateways=2, uplink=FAST)
    graph = build(topology, devices(3), COORDINATOR, 1)
    access = [("pi-1", "gw-1"), ("pi-2", "gw-2"), ("pi-3", "gw-1")]
    assert pairs(graph) == [*access, ("gw-1", "coordinator"), ("gw-2", "coordinator")]
    assert graph.edges[-1].forward.rate_bps == 5e7


def test_gateways_may_serve_groups() -> None:
    gateways = (Gateway(name="north", groups=("pi",)), Gateway(name="south", groups=("nano",)))
    topology = TwoTier.model_construct(gateways=gateways, uplink=FAST)
    graph = build(topology, [*devices(1), *devices(1, "nano")], LINKED_COORDINATOR, 1)
    assert pairs(graph)[:2] == [("pi-1", "north"), ("nano-1", "south")]
    assert pairs(graph)[2:] == [("north", "hub"), ("south", "hub"), ("coordinator", "hub")]
    with pytest.raises(TopologyError, match="no gateway serves the group phone"):
        build(topology, [*devices(1), *devices(1, "nano"), *devices(1, "phone")], COORDINATOR, 1)
    with pytest.raises(TopologyError, match=r"unknown group \(found 'nano'\); known: pi"):
        build(topology, devices(1), COORDINATOR, 1)


@pytest.mark.parametrize(
    ("topology", "same_as"),
    [
        (Ring.model_construct(link=None), nx.cycle_graph(5)),
        (Line.model_construct(link=None), nx.path_graph(5)),
        (Full.model_construct(link=None), nx.complete_graph(5)),
    ],
)
def test_peer_topologies_have_the_shape_of_their_name(topology: AnyForm, same_as: "nx.Graph[Any]") -> None:
    assert nx.is_isomorphic(as_graph(build(topology, devices(5), None, 1)), same_as)


def test_two_devices_in_a_ring_have_one_link() -> None:
    assert pairs(build(Ring.model_construct(link=None), devices(2), None, 1)) == [("pi-1", "pi-2")]


def test_a_link_between_devices_has_the_topologys_shape_or_that_of_each_sender() -> None:
    own = build(Line.model_construct(link=None), devices(2), None, 1).edges[0]
    assert (own.forward.rate_bps, own.backward.rate_bps) == (1e6, 2e6)
    given_link = build(Line.model_construct(link=FAST), devices(2), None, 1).edges[0]
    assert (given_link.forward.rate_bps, given_link.backward.rate_bps) == (5e7, 1e8)


def test_peers_speak_to_their_neighbours_and_to_the_coordinator() -> None:
    topology = Line.model_construct(link=None)
    around = neighbourhoods(topology, build(topology, devices(3), COORDINATOR, 1), devices(3), COORDINATOR)
    assert around["pi-2"] == ("coordinator", "pi-1", "pi-3")
    assert around["pi-1"] == ("coordinator", "pi-2")
    assert around["coordinator"] == ("pi-1", "pi-2", "pi-3")


def test_a_hub_makes_no_neighbours_of_devices_in_a_line() -> None:
    topology = Line.model_construct(link=None)
    graph = build(topology, devices(3), LINKED_COORDINATOR, 1)
    assert neighbourhoods(topology, graph, devices(3), LINKED_COORDINATOR)["pi-1"] == ("coordinator", "pi-2")


def test_in_a_star_devices_speak_to_the_coordinator_alone_and_without_one_to_all() -> None:
    star = Star()
    with_one = neighbourhoods(star, build(star, devices(3), COORDINATOR, 1), devices(3), COORDINATOR)
    assert with_one["pi-1"] == ("coordinator",)
    without = neighbourhoods(star, build(star, devices(3), None, 1), devices(3), None)
    assert without == {"pi-1": ("pi-2", "pi-3"), "pi-2": ("pi-1", "pi-3"), "pi-3": ("pi-1", "pi-2")}


def test_explicit_links_spell_out_groups_and_take_the_devices_own_shape() -> None:
    topology = Explicit.model_construct(
        switches=("sw-a", "sw-b"),
        links=(
            ExplicitLink.model_construct(between=("sw-a", "pi"), link=None),
            ExplicitLink.model_construct(between=("sw-a", "sw-b"), link=FAST),
            ExplicitLink.model_construct(between=("nano-1", "sw-b"), link=None),
        ),
    )
    ends = [*devices(2), *devices(1, "nano")]
    graph = build(topology, ends, None, 1)
    assert pairs(graph) == [("sw-a", "pi-1"), ("sw-a", "pi-2"), ("sw-a", "sw-b"), ("nano-1", "sw-b")]
    assert (graph.edges[1].forward.rate_bps, graph.edges[1].backward.rate_bps) == (4e6, 2e6)
    assert neighbourhoods(topology, graph, ends, None)["nano-1"] == ("pi-1", "pi-2")


def test_mistakes_in_explicit_links_are_all_reported() -> None:
    topology = Explicit.model_construct(
        switches=("sw",),
        links=tuple(
            ExplicitLink.model_construct(between=between, link=None)
            for between in (("pi", "sww"), ("pi-1", "pi-1"), ("pi-1", "sw"), ("sw", "pi-1"), ("coordinator", "sw"))
        ),
    )
    with pytest.raises(TopologyError) as caught:
        build(topology, devices(1), COORDINATOR, 1)
    assert [path for path, _ in caught.value.mistakes] == [
        ("links", 0, "between", 1),
        ("links", 1, "between"),
        ("links", 3, "between"),
        ("links", 4, "link"),
    ]


def test_a_graph_that_falls_apart_is_refused() -> None:
    topology = Explicit.model_construct(
        switches=(), links=(ExplicitLink.model_construct(between=("pi-1", "pi-2"), link=None),)
    )
    with pytest.raises(TopologyError, match="not connected: pi-1 has no path to pi-3"):
        build(topology, devices(3), None, 1)


def test_a_device_without_a_link_cannot_stand_in_a_star() -> None:
    with pytest.raises(TopologyError, match="the group pi needs a link"):
        build(Star(), [End("pi-1", "pi", None)], COORDINATOR, 1)


def test_a_mesh_that_is_too_large_is_refused_before_it_is_built() -> None:
    with pytest.raises(TopologyError, match="at most 100000"):
        build(Full.model_construct(link=FAST), devices(1) * 50_000, None, 1)


def geometric(range_m: float) -> RandomGeometric:
    return RandomGeometric.model_construct(area=(100.0, 50.0), radio_range_m=range_m, link=None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 20))
def test_devices_in_radio_range_are_linked_and_no_others(seed: int, count: int) -> None:
    graph = build(geometric(150), devices(count), None, seed)
    places = np.array([way[0][1:] for way in graph.tracks.values()])
    assert (places >= 0).all()
    assert (places <= (100, 50)).all()
    needed_m = longest_hop(places)
    again = build(geometric(needed_m + 1e-9), devices(count), None, seed)
    assert nx.is_connected(as_graph(again))
    at = {name: way[0][1:] for name, way in again.tracks.items()}
    for a, b in nx.non_edges(as_graph(again)):
        assert np.hypot(*np.subtract(at[a], at[b])) > needed_m
    with pytest.raises(TopologyError, match=r"a range of .* would do"):
        build(geometric(needed_m * 0.999), devices(count), None, seed)


def test_another_seed_puts_the_devices_elsewhere() -> None:
    one, same, other = (build(geometric(150), devices(4), None, seed).tracks for seed in (1, 1, 2))
    assert one == same
    assert one != other
