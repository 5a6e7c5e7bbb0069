"""The same accuracy to four digits, and equal payload, in simulation and in processes; and in a bare loop.

0.2020 after 5 rounds and 0.9394 after 50 are what independent programs gave for the same split, model and seed (a bare
loop, pfl, Flower in simulation and in deployment); tests/unit/test_parity_bare_loop.py has our own bare loop.
"""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.plan import make_plan
from orchestrator.scenario import load_scenario
from tests.contract.cases import CASES
from tests.contract.worlds import WORLDS, run_in

SCENARIO = Path(__file__).parents[2] / "scenarios" / "parity_digits.yaml"
MODEL_BYTES = 64 + 4 * 2410
ROUNDS = 8
IN_ROUNDS: dict[str, dict[str, Any]] = {  # nothing hangs on time where nobody gives up waiting
    "dsgd": {"rounds": ROUNDS, "deadline_s": 60.0},
    "eclm": {"rounds": ROUNDS, "deadline_s": 60.0, "rejoin_after_s": 60.0, "size": 1.0},
    "fedprox": {"rounds": ROUNDS, "deadline_s": 60.0, "rejoin_after_s": 60.0},
}
MODULES_BYTES = 64 + 4 * (8 * (32 * 16 + 16 + 16 * 32 + 32) + 32 * 10 + 10)  # 2 layers of 4 modules, and the head
REST_BYTES = 64 + 4 * (64 * 32 + 32 + 2 * (32 * 4 + 4))  # stem and selector
PAYLOAD = {
    "dsgd": {"model": ROUNDS * 4 * 2 * MODEL_BYTES},  # four devices in a ring
    "eclm": {"install": 3 * REST_BYTES, "model": ROUNDS * 3 * MODULES_BYTES, "update": ROUNDS * 3 * MODULES_BYTES},
    "fedprox": {"model": ROUNDS * 3 * MODEL_BYTES, "update": ROUNDS * 3 * MODEL_BYTES},
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("rounds", "accuracy"), [(5, 0.2020), (50, 0.9394)])
def test_accuracy_is_the_same_to_four_digits_in_every_world(
    rounds: int, accuracy: float, world: str, tmp_path: Path
) -> None:
    scenario = load_scenario(SCENARIO, (f"learning.algorithm.rounds={rounds}",))
    ran = run_in(world, make_plan(scenario), tmp_path / "run")
    found = ran.outcome.summary["test_accuracy"]
    assert found is not None
    assert round(found, 4) == accuracy


@pytest.mark.parametrize("world", WORLDS)
def test_payload_is_exactly_what_the_algorithm_had_to_say(world: str, tmp_path: Path) -> None:
    rounds, devices = 5, 10
    scenario = load_scenario(SCENARIO, (f"learning.algorithm.rounds={rounds}",))
    summary = run_in(world, make_plan(scenario), tmp_path / "run").outcome.summary
    assert summary["sent_payload_bytes.model"] == rounds * devices * MODEL_BYTES
    assert summary["sent_payload_bytes.update"] == rounds * devices * MODEL_BYTES
    assert summary["received_payload_bytes"] == summary["sent_payload_bytes"]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", IN_ROUNDS)
def test_rounds_give_the_same_accuracy_and_payload_in_every_world(name: str, world: str, tmp_path: Path) -> None:
    plan = CASES[name].plan(60.0, **IN_ROUNDS[name])
    found = run_in(world, plan, tmp_path / "run").outcome.summary
    expected = run_in("simulation", plan, tmp_path / "simulated").outcome.summary
    assert {f"sent_payload_bytes.{kind}": size for kind, size in PAYLOAD[name].items()}.items() <= found.items()
    assert found["test_accuracy"] is not None
    assert found["test_accuracy"] == pytest.approx(expected["test_accuracy"], abs=5e-5)
