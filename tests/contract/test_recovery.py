"""A coordinator that is killed, whenever it is, ends with the very model that it would have had, bit for bit.

This asks for learning that comes out the same when a round is done again: minibatches in order, and nobody who gives up
waiting. What else there is to lose or to count twice, `edgebed verify` looks for in every run (I2 to I4).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_image.spec import Chosen
from orchestrator.plan import PlannedFault
from tests.contract.cases import CASES, Case
from tests.contract.worlds import run_in
from tests.plans import COORDINATOR, fault

PATIENT: dict[str, Any] = {"rounds": 6, "deadline_s": 60.0, "rejoin_after_s": 0.5, "local_steps": 0}
IN_ORDER = Chosen("backprop", {"learning_rate": 0.1, "batch_size": 32, "shuffle": False})
DETERMINISTIC: dict[str, Case] = {
    "fedavg": replace(CASES["fedavg"].but(**PATIENT), rule=IN_ORDER),
    "fedavg in 8 bits": replace(CASES["fedavg"].but(**PATIENT, bits=8), rule=IN_ORDER),
    "fedprox": replace(CASES["fedprox"].but(**PATIENT), rule=IN_ORDER),
}
MOMENTS = 8


def last_model(case: Case, directory: Path, killed_at_s: float | None = None) -> tuple[str, float]:
    """The SHA-256 of the coordinator's last checkpoint, and when its last round closed (s)."""
    faults: tuple[PlannedFault, ...] = ()
    if killed_at_s is not None:
        faults = (fault("coordinator_crash", killed_at_s, killed_at_s + 0.2, nodes=(COORDINATOR,)),)
    ran = run_in("simulation", case.plan(600.0, faults), directory)
    assert ran.outcome.status == "complete", ran.outcome.notes
    newest = max((directory / "nodes" / COORDINATOR / "state").glob("*.safetensors"))
    return newest.name.partition("-")[2], ran.records(COORDINATOR, "round")[-1]["t"]


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_last_model_is_the_same_whenever_the_coordinator_was_killed(name: str, tmp_path: Path) -> None:
    case = DETERMINISTIC[name]
    expected, ended_s = last_model(case, tmp_path / "undisturbed")
    for moment in range(MOMENTS):
        killed_at_s = ended_s * (moment + 0.5) / MOMENTS
        found, _ = last_model(case, tmp_path / str(moment), killed_at_s)
        assert found == expected, f"killed at {killed_at_s:g} s"
