"""Temperature traces: read with their mistakes named, planned point by point, and what a fault makes of them."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ScenarioError
from orchestrator.temperatures import celsius_at, read_temperatures
from tests.contract.cases import CASES
from tests.contract.worlds import run_in
from tests.plans import fault
from tests.unit.test_fault_forms import planned

HOT = "kind: thermal, threshold: 60 °C, speed: 25 %"
CHIP = "# a board in the sun\ntime_s,chip_c\n0,40\n1.5,40\n2,80\n3,80\n3.5,30\n"


def test_a_temperature_changes_evenly_between_two_lines_and_stays_at_the_ends() -> None:
    whose, points = read_temperatures("time_s,ambient_c\n1,20\n3,40\n")
    assert whose == "ambient"
    assert [celsius_at(points, t) for t in (0.0, 1.0, 2.0, 2.5, 3.0, 99.0)] == [20.0, 20.0, 30.0, 35.0, 40.0, 40.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no line of seconds and degrees"),
        ("time_s,chip_c\n", "no line of seconds and degrees"),
        ("0,20\n", "line 1: must be time_s,ambient_c or time_s,chip_c"),
        ("time_s,chip_c\n0,warm\n", "line 2: must be seconds and degrees"),
        ("time_s,chip_c\n0,20,30\n", "line 2: must be seconds and degrees"),
        ("time_s,chip_c\n1,20\n1,30\n", "line 3: times must rise"),
        ("time_s,chip_c\nnan,20\n", "line 2: times must rise"),
        ("time_s,chip_c\n0,900\n", "line 2: from -60 to 150"),
    ],
)
def test_a_trace_that_cannot_be_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_temperatures(text)


def test_a_plan_holds_the_curve_itself(tmp_path: Path) -> None:
    (tmp_path / "sun.csv").write_text(CHIP)
    found = planned(tmp_path, f"{HOT}, curve: sun.csv")["curve"]
    assert (found["whose"], found["points"][2]) == ("chip", [2.0, 80.0])
    assert len(found["sha256"]) == 64


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("curve: sun.csv, rise: 20 °C", "this curve is the chip's own temperature"),
        ("curve: sun.csv, ambient: 20 °C", "say ambient or curve, not both"),
        ("curve: air.csv", "rise and time_constant are required"),
        ("curve: air.csv, rise: 10 °C, time_constant: 2 s", "it would never throttle"),
        ("rise: 50 °C", "rise and time_constant are required"),
        ("curve: gone.csv", "there is no such file"),
    ],
)
def test_a_curve_that_does_not_fit_is_refused(more: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "sun.csv").write_text(CHIP)
    (tmp_path / "air.csv").write_text("time_s,ambient_c\n0,20\n5,40\n")
    with pytest.raises(ScenarioError, match=words):
        planned(tmp_path, f"{HOT}, {more}")


def throttled(
    tmp_path: Path, whose: str, points: list[list[float]], **model: Any
) -> tuple[list[float], list[float], str]:
    curve = {"whose": whose, "sha256": "", "points": points}
    asked = {"threshold": 60.0, "speed": 0.25, "hysteresis": 5.0, "ambient": 25.0, "curve": curve, **model}
    faults = (fault("thermal", 1.0, None, nodes=("d-1",), parameters=asked),)
    ran = run_in("simulation", CASES["local_only"].plan(6.0, faults), tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    (report,) = ran.result()["faults"]
    began, ended = ([event["t"] for event in ran.events(name)] for name in ("throttled", "unthrottled"))
    return began, ended, report["evidence"] + report["heal_evidence"]


def test_a_chip_throttles_when_its_curve_says_so_whatever_it_computes(tmp_path: Path) -> None:
    (_, points) = read_temperatures(CHIP)
    began, ended, words = throttled(tmp_path, "chip", [list(point) for point in points])
    # 60 degrees are reached at 1.75 s of the curve, 55 again at 3.25 s, and a look may come 0.1 s late.
    assert began == [pytest.approx(1.0 + 1.75, abs=0.11)]
    assert ended == [pytest.approx(1.0 + 3.25, abs=0.11)]
    assert "d-1: 40 °C, by its curve" in words
    assert "80.0 °C at most (by its curve)" in words


def test_hot_air_brings_forward_what_the_model_says(tmp_path: Path) -> None:
    model = {"rise": 60.0, "time_constant": 3.0}
    cool, _, _ = throttled(tmp_path / "cool", "ambient", [[0.0, 20.0]], **model)
    hot, _, words = throttled(tmp_path / "hot", "ambient", [[0.0, 20.0], [0.5, 50.0]], **model)
    assert hot
    assert hot[0] < (cool[0] if cool else 6.0)
    assert "modelled, the air by its curve" in words
