"""Connections that end by a reset, or without a word: both are told, and who dials comes back."""

import json
import re
from pathlib import Path

import pytest

from tests.contract.cases import CASES
from tests.contract.worlds import WORLDS, Ran, run_in
from tests.plans import COORDINATOR, fault

AT_S, LOOKED_AT_S, ENDS_S = 1.5, 3.5, 5.0
DEVICES = ("d-1", "d-2", "d-3")


def lost(world: str, kind: str, who: str, directory: Path) -> Ran:
    return run_in(world, CASES["fedavg"].plan(ENDS_S, (fault(kind, AT_S, LOOKED_AT_S, nodes=(who,)),)), directory)


def truth(ran: Ran, id_: str) -> str:
    found = json.loads((ran.directory / "verify.json").read_text())["invariants"]
    return str(next(each["truth"] for each in found if each["id"] == id_))


def reconnects(ran: Ran) -> list[str]:
    return [name for name in ran.nodes() for each in ran.records(name, "reconnects") if each["t"] >= AT_S - 0.1]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("who", [COORDINATOR, "d-1"])
def test_connections_that_are_reset_end_at_both_ends_and_are_made_again(who: str, world: str, tmp_path: Path) -> None:
    ran = lost(world, "reset", who, tmp_path / "run")
    (report,) = ran.result()["faults"]
    ended = DEVICES if who == COORDINATOR else (who,)
    assert report["error"] is None
    assert report["evidence"] == f"{who}: confirms connections_reset {len(ended)}"
    assert sorted(reconnects(ran)) == sorted(ended)
    assert report["heal_evidence"] == f"{who}: confirms connections {len(ended)}; {len(ended)} reconnects recorded"
    for id_ in ("I2", "G9", "G10"):
        assert truth(ran, id_) == "true", id_


@pytest.mark.parametrize("world", WORLDS)
def test_a_peer_that_was_not_told_finds_out_when_it_sends(world: str, tmp_path: Path) -> None:
    ran = lost(world, "slow_close", COORDINATOR, tmp_path / "run")  # the devices dial: their ends stay half-open
    (report,) = ran.result()["faults"]
    assert report["error"] is None
    assert "confirms connections_reset 3" in report["evidence"]
    untold = re.search(r"(\d+) packets that told of it were dropped", report["evidence"])
    assert untold is not None
    assert int(untold[1]) >= 3
    assert sorted(reconnects(ran)) == sorted(DEVICES)
    back = [each["t"] for name in DEVICES for each in ran.records(name, "reconnects")]
    assert min(back) > AT_S + 0.02
    for id_ in ("I2", "I6", "G9", "G10"):
        assert truth(ran, id_) == "true", id_


def test_a_reset_is_heard_at_once_and_a_close_that_is_lost_only_when_there_is_something_to_say(tmp_path: Path) -> None:
    back = {}
    for kind in ("reset", "slow_close"):
        ran = lost("simulation", kind, COORDINATOR, tmp_path / kind)
        back[kind] = min(each["t"] for name in DEVICES for each in ran.records(name, "reconnects"))
    assert back["reset"] < back["slow_close"]


@pytest.mark.parametrize("world", WORLDS)
def test_a_device_that_closes_without_a_word_takes_the_place_of_its_own_old_end(world: str, tmp_path: Path) -> None:
    ran = lost(world, "slow_close", "d-1", tmp_path / "run")
    (report,) = ran.result()["faults"]
    assert report["error"] is None
    assert "confirms connections 1" in report["heal_evidence"]
    assert reconnects(ran) == ["d-1"]
    assert not ran.records(COORDINATOR, "rejected_frames")
    assert truth(ran, "G10") == "true"
