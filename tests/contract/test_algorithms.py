"""Every algorithm, in every world: it learns, it says what it sent, its bytes add up, and it ends when told."""

from collections import Counter
from math import inf
from pathlib import Path

import pytest

from node_image import registry
from tests.contract.cases import CASES, VARIANTS, Case
from tests.contract.worlds import IN_DOCKER, WORLDS, Ran, run_in

CHANCE = 0.1
ENDS_S = 4.0


def test_every_algorithm_has_its_case() -> None:
    assert CASES.keys() == registry.ALGORITHMS.keys()
    assert {name: case.algorithm for name, case in CASES.items()} == {name: name for name in CASES}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_algorithm_learns_digits_and_its_bytes_add_up(case: Case, world: str, tmp_path: Path) -> None:
    assert_it_learned_and_its_bytes_add_up(run_in(world, case.plan(ENDS_S), tmp_path / "run"))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=IN_DOCKER) for name in ("bilayer_gossip", "elabip", "fedavg")]
)
def test_so_it_does_in_containers(name: str, tmp_path: Path) -> None:
    assert_it_learned_and_its_bytes_add_up(run_in("docker", CASES[name].plan(ENDS_S), tmp_path / "run"))


@pytest.mark.parametrize("case", VARIANTS.values(), ids=VARIANTS)
def test_so_it_does_in_its_other_ways(case: Case, tmp_path: Path) -> None:
    assert_it_learned_and_its_bytes_add_up(run_in("simulation", case.plan(ENDS_S), tmp_path / "run"))


def assert_it_learned_and_its_bytes_add_up(ran: Ran) -> None:
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes  # a busy machine degrades, no more
    summary = ran.outcome.summary
    accuracy = summary["test_accuracy"]
    assert accuracy is not None
    assert accuracy > 3 * CHANCE, "well above what guessing gives"
    sent, received = carried(ran, "sent_payload_bytes"), carried(ran, "received_payload_bytes")
    for (node, peer, kind), size in received.items():
        assert size <= sent[peer, node, kind], f"what {node} received of {peer} was sent"
    wire = summary["wire_bytes"]
    assert wire is not None
    lasted_s = summary["lasted_s"]
    assert lasted_s is not None
    crossed = carried(ran, "received_payload_bytes", until_s=lasted_s)  # a busy node takes messages some ms longer
    assert wire >= crossed.total(), "and crossed a link; IP and TCP headers come on top"
    assert lasted_s == pytest.approx(ENDS_S, abs=1.0), "it ends when told"
    assert {event["node"]: event["returncode"] for event in ran.events("node_exited")} == dict.fromkeys(ran.nodes(), 0)


def carried(ran: Ran, metric: str, until_s: float = inf) -> Counter[tuple[str, str, str]]:
    """Bytes of messages by the node that counted them, its peer, and their kind; those of handshakes left out."""
    found: Counter[tuple[str, str, str]] = Counter()
    for node in ran.nodes():
        for record in ran.records(node, metric):
            if record["t"] <= until_s:
                found[node, record["labels"]["peer"], record["labels"]["kind"]] += record["value"]
    return Counter({said: size for said, size in found.items() if said[2] != "hello"})


@pytest.mark.parametrize("world", WORLDS)
def test_a_run_whose_coordinator_has_done_its_rounds_ends_before_its_time(world: str, tmp_path: Path) -> None:
    ran = run_in(world, CASES["fedavg"].plan(60.0, rounds=3), tmp_path / "run")
    assert ran.outcome.summary["round"] == 3
    assert_it_ended_early(ran)


@pytest.mark.parametrize("world", WORLDS)
def test_a_run_without_a_coordinator_ends_when_every_device_has_done_its_rounds(world: str, tmp_path: Path) -> None:
    ran = run_in(world, CASES["dsgd"].plan(60.0, rounds=3), tmp_path / "run")
    assert all([record["value"] for record in ran.records(node, "round")] == [1, 2, 3] for node in ran.nodes())
    assert_it_ended_early(ran)


def assert_it_ended_early(ran: Ran) -> None:
    lasted_s = ran.outcome.summary["lasted_s"]
    assert lasted_s is not None
    assert lasted_s < 30
