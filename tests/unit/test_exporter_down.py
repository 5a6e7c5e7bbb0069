"""The live metrics go away for a time, and come back on the same port; who asks is the evidence."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from orchestrator.errors import MachineCannotError, ScenarioError
from orchestrator.faults.base import Exporter
from orchestrator.faults.schedule import FaultReport, run_schedule
from orchestrator.faults.watch import Watch
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.scenario import load_scenario
from orchestrator.substrates.base import Substrate
from orchestrator.telemetry.prometheus import Endpoint, serving
from orchestrator.terminal import QuietDisplay
from tests.plans import fault, star
from tests.unit.test_fault_forms import HEAD
from tests.unit.test_schedule import Levers

Told = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("EDGEBED_STATE", str(tmp_path / "state"))
    with serving(star(), "1f", tmp_path / "run", {}) as found:
        assert found is not None
        yield found


def carried_out(plan: Plan, exporter: Exporter, meanwhile: Callable[[], None]) -> tuple[list[FaultReport], Told]:
    """Run the schedule in real time, 0.3 s of it, and look at the endpoint in the middle."""
    reports, told = list[FaultReport](), Told()

    async def run() -> None:
        levers = cast(Substrate, Levers(plan))
        schedule = run_schedule(
            plan, levers, Watch(), lambda name, details: told.append((name, details)), reports, exporter
        )
        task = asyncio.create_task(schedule)
        while not task.done() and not any(name == "fault_injected" for name, _ in told):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(meanwhile)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
    return reports, told


def down(how: str) -> Plan:
    return star(faults=(fault("exporter_down", 0.0, None, parameters={"how": how}),))


def read(url: str) -> bytes:
    with urlopen(url, timeout=5) as answer:
        found: bytes = answer.read()
    return found


@pytest.mark.parametrize(("how", "why"), [("refuses", "refused"), ("hangs", "timed out")])
def test_who_asks_meanwhile_has_no_answer_and_afterwards_one_at_the_same_address(
    how: str, why: str, endpoint: Endpoint
) -> None:
    url = endpoint.url
    assert b"edgebed_" in read(url)

    def nobody_answers() -> None:
        with pytest.raises((URLError, TimeoutError), match=why):
            urlopen(url, timeout=0.2)

    (report,), told = carried_out(down(how), endpoint, nobody_answers)
    assert report.error is None
    assert report.evidence is not None
    assert report.evidence.startswith(f"{url} did not answer within 0.5 s: ")
    assert why in report.evidence
    assert report.heal_evidence is not None
    assert f"{url} answered 200" in report.heal_evidence
    asked = [details for name, details in told if name == "exporter_asked"]
    assert [(each["should_answer"], each["answered"]) for each in asked] == [(False, False), (True, True)]
    assert b"edgebed_" in read(url)


def test_of_two_faults_the_last_lets_it_answer_again(endpoint: Endpoint) -> None:
    plan = star(
        faults=(
            fault("exporter_down", 0.0, 0.05, index=0, parameters={"how": "refuses"}),
            fault("exporter_down", 0.0, None, index=1, parameters={"how": "hangs"}),
        )
    )
    reports, _ = carried_out(plan, endpoint, lambda: None)
    assert any("already deaf by fault" in (each.evidence or "") for each in reports)
    assert sum("answered 200" in (each.heal_evidence or "") for each in reports) == 1


def test_an_endpoint_that_is_deaf_still_closes_with_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEBED_STATE", str(tmp_path / "state"))
    for how in ("refuses", "hangs"):
        with serving(star(), "1f", tmp_path / "run", {}) as found:
            assert found is not None
            found.go_deaf(how)
        with pytest.raises(URLError, match="refused"):
            urlopen(found.url, timeout=5)


def test_where_no_live_metrics_are_served_the_fault_fails_and_says_so() -> None:
    reports, plan = list[FaultReport](), down("refuses")
    asyncio.run(run_schedule(plan, cast(Substrate, Levers(plan)), Watch(), lambda *_: None, reports))
    assert reports[0].error is not None
    assert "serves no live metrics" in reports[0].error


def test_a_simulation_refuses_it_and_a_victim_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(MachineCannotError, match=r"needs scrape, which simulation cannot do: nobody could read"):
        execute(down("refuses"), "name: test\n", RunOptions(tmp_path / "run", substrate="simulation"), QuietDisplay())
    path = tmp_path / "forms.yaml"
    path.write_text(f"{HEAD}  - {{kind: exporter_down, at: 1 s, for: 2 s}}\n")
    assert load_scenario(path)
    path.write_text(f"{HEAD}  - {{kind: exporter_down, at: 1 s, for: 2 s, nodes: [pi-1]}}\n")
    with pytest.raises(ScenarioError, match="acts on the run itself; leave this out"):
        load_scenario(path)
