"""Measuring the machine of a run: how a meter is named, tried, and sampled beside the run."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from node_image.meters import Metering
from node_image.meters.look import look
from node_image.records import Record
from orchestrator.commands.meters import meters
from orchestrator.errors import MachineCannotError, UsageError
from orchestrator.outcome import RunOptions
from orchestrator.run import execute
from orchestrator.telemetry.metering import available, host_metered, parse
from orchestrator.terminal import QuietDisplay
from tests.plans import star


@pytest.fixture
def sensor(tmp_path: Path) -> str:
    """An INA219 that stands in for one, 2 W."""
    folder = tmp_path / "hwmon" / "hwmon0"
    folder.mkdir(parents=True)
    (folder / "name").write_text("ina219\n")
    (folder / "power1_input").write_text("2000000\n")
    return f"ina219:root={folder.parent}"


def test_a_meter_is_named_with_its_parameters_in_their_own_types() -> None:
    assert parse("rapl") == ("rapl", {})
    assert parse("rapl:memory=false,most_watts=400") == ("rapl", {"memory": False, "most_watts": 400.0})
    assert parse("smart_plug:url=http://10.0.0.5:8080,channel=1") == (
        "smart_plug",
        {"url": "http://10.0.0.5:8080", "channel": 1},
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wattson", "unknown meter 'wattson'; known: ina219"),
        ("rapl:memory", "'memory' is no key=value"),
        ("rapl:memory=perhaps", "memory: must be true or false"),
        ("smart_plug:outlet=1", r"outlet: unknown parameter; .*url: is required"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(text)


def test_a_look_gives_a_reading_or_a_remedy(sensor: str, tmp_path: Path) -> None:
    found = look(*parse(sensor))
    assert (found.works, found.watts) == (True, 2.0)
    missing = look("rapl", {"root": str(tmp_path)})
    assert (missing.works, missing.watts) == (False, None)
    assert "virtual machines have none" in missing.remedy
    assert available(sensor) is None
    assert "no RAPL package" in (available(f"rapl:root={tmp_path}") or "")


def test_the_command_shows_every_meter_and_how_to_get_it(sensor: str, tmp_path: Path) -> None:
    shown = CliRunner().invoke(meters, [sensor, f"rapl:root={tmp_path}"], standalone_mode=False)
    assert shown.return_value == 0
    assert "✓ ina219" in shown.output
    assert "2.00 W" in shown.output
    assert "✗ rapl" in shown.output
    told = CliRunner().invoke(meters, ["--json", f"rapl:root={tmp_path}"], standalone_mode=False)
    assert told.return_value == 3
    assert json.loads(told.output)["meters"][0]["problem"].startswith("no RAPL package")


def test_the_host_is_sampled_while_the_block_lasts_and_what_came_of_it_is_told(sensor: str) -> None:
    records: list[Record] = []
    came: list[Metering] = []

    async def run() -> None:
        began_s = time.monotonic()
        async with host_metered(sensor, lambda: time.monotonic() - began_s, records.append, came.append):
            await asyncio.sleep(0.05)

    asyncio.run(run())
    assert {record.labels["component"] for record in records} == {"host"}
    assert {record.meter for record in records} == {"ina219"}
    assert sum(record.value for record in records) == pytest.approx(came[0].joules)
    assert 0 < came[0].joules <= 2.0 * came[0].lasted_s
    assert came[0].missing_s == 0.0


def test_without_a_meter_nothing_is_sampled() -> None:
    async def run() -> None:
        async with host_metered("", time.monotonic, records.append, came.append):
            await asyncio.sleep(0)

    records: list[Record] = []
    came: list[Metering] = []
    asyncio.run(run())
    assert (records, came) == ([], [])


def test_a_simulated_run_is_not_measured_and_says_so_before_anything_is_made(tmp_path: Path) -> None:
    options = RunOptions(out=tmp_path / "run", substrate="simulation", meter="rapl")
    with pytest.raises(MachineCannotError, match="a simulated run says nothing about"):
        execute(star(1), "", options, QuietDisplay())
    assert not (tmp_path / "run").exists()
