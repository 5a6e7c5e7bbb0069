"""Faults that a substrate or a plan cannot have: refused before the run, with the reason."""

from dataclasses import replace
from typing import Any, cast

import pytest

from orchestrator.faults import FAULTS
from orchestrator.substrates import SUBSTRATES
from tests.plans import COORDINATOR, fault, star

ORDERS = ("byzantine", "coordinator_twice", "metrics_down", "reset", "slow_close")


@pytest.mark.parametrize("kind", ORDERS)
def test_programs_of_ones_own_take_no_orders(kind: str) -> None:
    plan = replace(star(), workload=cast(Any, "programs"))
    assert FAULTS[kind].refuses(fault(kind, 1.0, None, nodes=(COORDINATOR,)), plan) == [
        "the nodes are programs of one's own, which take no orders"
    ]
    assert FAULTS[kind].refuses(fault(kind, 1.0, None, nodes=(COORDINATOR,)), star()) == []


def test_a_container_cannot_be_there_twice() -> None:
    plan = star()
    plan = replace(plan, nodes=(replace(plan.nodes[0], host="container"), *plan.nodes[1:]))
    twice = fault("coordinator_twice", 1.0, None, nodes=(COORDINATOR,))
    assert FAULTS["coordinator_twice"].refuses(twice, plan) == [
        "the coordinator is a container, which cannot be there twice; host: process"
    ]


def test_who_cannot_supersede_a_node_says_so() -> None:
    needs = FAULTS["coordinator_twice"].needs({"takeover": 1.0})
    assert {name for name, kind in SUBSTRATES.items() if needs <= kind.can} == {"mininet", "simulation"}


@pytest.mark.parametrize("kind", [kind for kind in ORDERS if kind != "coordinator_twice"])
def test_orders_reach_nodes_wherever_they_live(kind: str) -> None:
    assert all(FAULTS[kind].needs({}) <= substrate.can for substrate in SUBSTRATES.values())
