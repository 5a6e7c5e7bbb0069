"""Routes: shortest by hops, the same on every machine."""

import random
from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.links.routes import TREES, Routes
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink


def both_ways(*pairs: tuple[str, str]) -> list[DirectedLink]:
    ends = [end for a, b in pairs for end in ((a, b), (b, a))]
    return [DirectedLink(f"{source}>{target}", source, target, LinkShape(), 0) for source, target in ends]


def ids(path: tuple[DirectedLink, ...] | None) -> list[str] | None:
    return None if path is None else [link.id for link in path]


def test_two_devices_of_a_star_meet_over_its_hub() -> None:
    routes = Routes(both_ways(("a", "hub"), ("b", "hub")))
    assert ids(routes.path("a", "b")) == ["a>hub", "hub>b"]


def test_in_a_line_the_nodes_between_forward() -> None:
    routes = Routes(both_ways(("a", "b"), ("b", "c"), ("c", "d")))
    assert ids(routes.path("d", "a")) == ["d>c", "c>b", "b>a"]


def test_a_ring_is_taken_the_short_way_round() -> None:
    names = [f"n{index}" for index in range(6)]
    routes = Routes(both_ways(*zip(names, [*names[1:], names[0]], strict=True)))
    assert ids(routes.path("n0", "n5")) == ["n0>n5"]
    assert len(routes.path("n0", "n4") or ()) == 2


def test_links_are_one_way() -> None:
    routes = Routes([DirectedLink("a>b", "a", "b", LinkShape(), 0)])
    assert ids(routes.path("a", "b")) == ["a>b"]
    assert routes.path("b", "a") is None


def test_a_node_needs_no_link_to_itself_and_strangers_have_no_way() -> None:
    routes = Routes(both_ways(("a", "b")))
    assert routes.path("a", "a") == ()
    assert routes.path("a", "nobody") is None
    assert routes.path("nobody", "a") is None


@pytest.mark.parametrize("seed", range(5))
def test_among_equals_the_way_by_the_first_names_is_taken_whatever_the_order_of_links(seed: int) -> None:
    links = both_ways(("a", "m"), ("a", "k"), ("m", "z"), ("k", "z"))
    random.Random(seed).shuffle(links)
    assert ids(Routes(links).path("a", "z")) == ["a>k", "k>z"]


@given(st.integers(2, 12), st.floats(0.1, 0.9), st.integers(0, 1000))
def test_no_way_is_shorter(nodes: int, density: float, seed: int) -> None:
    graph = nx.gnp_random_graph(nodes, density, seed=seed, directed=True)
    routes = Routes(DirectedLink(f"{a}>{b}", str(a), str(b), LinkShape(), 0) for a, b in graph.edges)
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    for source in graph:
        for target in graph:
            path = routes.path(str(source), str(target))
            assert (None if path is None else len(path)) == lengths[source].get(target)
            if path:
                assert [path[0].source, path[-1].target] == [str(source), str(target)]
                assert all(one.target == two.source for one, two in pairwise(path))


def test_searches_that_were_dropped_for_others_are_made_again() -> None:
    names = [f"n{index:03}" for index in range(TREES + 10)]
    routes = Routes(both_ways(*((name, "hub") for name in names)))
    for target in (names[0], names[-1]):
        for name in names:
            assert ids(routes.path(name, target)) == ([] if name == target else [f"{name}>hub", f"hub>{target}"])
