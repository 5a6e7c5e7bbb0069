"""The receipt compares local steps with the profile's cost model, and only what can be compared."""

from typing import Any

import pytest

from node_image.records import Record
from orchestrator.receipt import Receipt, check_steps
from tests.plans import fault, star

ASKED_S = 0.1


def found(*records: tuple[float, dict[str, str]], disturbed: tuple[str, ...] = ()) -> list[Any]:
    """Checks of a run in which d-1 recorded these steps."""
    plan = star(2, faults=(fault("straggler", 1.0, 2.0, nodes=disturbed),) if disturbed else ())
    device = plan.nodes[1]
    nodes: dict[str, list[Record]] = {node.name: [] for node in plan.nodes}
    nodes[device.name] = [Record(1.0, "local_step_s", value, labels) for value, labels in records]
    receipt = Receipt()
    check_steps(plan, nodes, {device.profile.name: {"board_s": ASKED_S}}, receipt)
    return receipt.checks


@pytest.mark.parametrize(("step_s", "ok"), [(0.1, True), (0.12, True), (0.2, False), (0.05, False)])
def test_steps_far_from_what_the_profile_says_are_out_of_tolerance(step_s: float, ok: bool) -> None:
    (check,) = found((step_s, {}), (step_s, {}))
    assert check.ok == ok
    assert check.found == pytest.approx(step_s / ASKED_S)


def test_steps_of_a_part_of_the_model_are_not_compared_with_those_of_all_of_it() -> None:
    (check,) = found((0.1, {}), (0.001, {"of": "readout"}), (0.001, {"of": "readout"}))
    assert check.ok


def test_a_device_that_a_fault_slows_is_left_out() -> None:
    assert found((0.4, {}), disturbed=("d-1",)) == []
