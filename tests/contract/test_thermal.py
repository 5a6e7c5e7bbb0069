"""Devices that get hot: the model against its closed form, and throttling that shows in what they do."""

import json
from math import exp, isclose, log
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.faults.thermal import Parameters, warmed
from tests.contract.cases import CASES
from tests.contract.worlds import WORLDS, Ran, run_in
from tests.plans import fault

HOT: dict[str, Any] = {
    "threshold": 40.0,
    "speed": 0.25,
    "hysteresis": 5.0,
    "ambient": 25.0,
    "rise": 100.0,
    "time_constant": 2.0,
}


def got_hot(world: str, directory: Path, *, until_s: float | None = None, **changes: Any) -> Ran:
    faults = (fault("thermal", 1.0, until_s, nodes=("d-1",), parameters={**HOT, **changes}),)
    return run_in(world, CASES["local_only"].plan(6.0, faults), directory)


def told(ran: Ran, id_: str) -> str:
    found = json.loads((ran.directory / "verify.json").read_text())["invariants"]
    return str(next(each["truth"] for each in found if each["id"] == id_))


@pytest.mark.parametrize("passed_s", [0.0, 0.5, 3.0, 100.0])
def test_the_model_is_the_closed_form_of_one_heat_capacity(passed_s: float) -> None:
    assert isclose(warmed(25.0, 75.0, passed_s, 3.0), 25.0 + 50.0 * (1 - exp(-passed_s / 3.0)))


def test_many_looks_come_to_the_same_temperature_as_one() -> None:
    celsius = 60.0
    for _ in range(1000):
        celsius = warmed(celsius, 25.0, 0.01, 4.0)
    assert isclose(celsius, warmed(60.0, 25.0, 10.0, 4.0))


@pytest.mark.parametrize(("name", "value"), [("rise", 10.0), ("hysteresis", 20.0)])
def test_a_threshold_that_is_never_reached_or_never_left_is_refused(name: str, value: float) -> None:
    written = {"threshold": "40 °C", "speed": "25 %", "rise": "50 °C", "time_constant": "2 s"}
    Parameters.model_validate(written)
    with pytest.raises(ValidationError, match="it would never"):
        Parameters.model_validate({**written, name: f"{value} °C"})


@pytest.mark.parametrize("world", WORLDS)
def test_a_device_that_computes_gets_hot_and_slow_and_cools_down(world: str, tmp_path: Path) -> None:
    ran = got_hot(world, tmp_path / "run")
    (report,) = ran.result()["faults"]
    assert report["error"] is None
    assert report["evidence"] == "d-1: 25 °C, modelled"
    assert "throttled" in report["heal_evidence"]
    first = ran.events("throttled")[0]
    assert 40.0 < first["celsius"] < 55.0
    assert first["evidence"]
    # It computes without a pause: 15 of 100 degrees take so long, and a look may come late.
    soonest_s = -HOT["time_constant"] * log(1 - 15 / 100)
    assert soonest_s - 0.01 <= first["t"] - 1.0 <= 5 * soonest_s + 0.3
    steps = [(each["t"], each["value"]) for each in ran.records("d-1", "local_step_s")]
    others = [each["value"] for each in ran.records("d-2", "local_step_s")]
    hot = [value for t, value in steps if first["t"] + 0.3 < t < first["t"] + 1.0]
    assert max(hot) > 2 * median(others)
    assert told(ran, "G10") in ("true", "unknown" if world == "mininet" else "true")


def test_a_throttled_device_cools_and_goes_on_at_full_speed(tmp_path: Path) -> None:
    ran = got_hot("simulation", tmp_path / "run", time_constant=1.0, rise=60.0, speed=0.1, until_s=5.0)
    cold = ran.events("unthrottled")
    assert len(cold) >= 2
    assert all(event["celsius"] < 35.0 for event in cold[:-1])
    last = [each["value"] for each in ran.records("d-1", "local_step_s") if each["t"] > 5.2]
    first = [each["value"] for each in ran.records("d-1", "local_step_s") if each["t"] < 1.0]
    assert isclose(median(last), median(first), rel_tol=0.01)


def test_a_device_that_stays_cool_is_never_throttled_and_says_so(tmp_path: Path) -> None:
    ran = got_hot("simulation", tmp_path / "run", time_constant=500.0)
    assert "never throttled, 2" in ran.result()["faults"][0]["heal_evidence"]
    assert not ran.events("throttled")
