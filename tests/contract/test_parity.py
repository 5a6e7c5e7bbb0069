"""parity_digits: the same accuracy to four digits in simulation, in processes and in a bare loop, and equal payload.

0.2020 after 5 rounds and 0.9394 after 50 are what independent programs gave for the same split, model and seed (a bare
loop, pfl, Flower in simulation and in deployment); tests/unit/test_parity_bare_loop.py has our own bare loop.
"""

from pathlib import Path

import pytest

from orchestrator.plan import make_plan
from orchestrator.scenario import load_scenario
from tests.contract.worlds import WORLDS, run_in

SCENARIO = Path(__file__).parents[2] / "scenarios" / "parity_digits.yaml"
MODEL_BYTES = 64 + 4 * 2410


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
