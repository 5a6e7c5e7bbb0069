"""Whole runs over boards that are real sshd servers: as planned, with faults, with boards that go and come back."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node_image.plugins import loaded
from node_image.spec import Chosen
from orchestrator.boards import station
from orchestrator.links.shape import LinkShape
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from tests import own_plugin
from tests.contract.worlds import Ran
from tests.plans import fault, star
from tests.sshd import Lab, SshBoard, lab, missing, wait

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(180)]

LINK = LinkShape(rate_bps=20e6, delay_s=0.02, queue_bytes=250_000)
FEDAVG = Chosen("fedavg", {"local_steps": 20, "deadline_s": 1.0, "rejoin_after_s": 0.5})
CHANCE = 0.1


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab")) as made:
        for number in range(1, 4):
            made.board(f"b{number}")
        yield made


def inventory(place: Lab, *metered: SshBoard) -> Path:
    """All boards; those that are named have a meter that shows 2 W."""
    for board in metered:
        sensor = board.folder / "hwmon" / "hwmon0"
        sensor.mkdir(parents=True, exist_ok=True)
        (sensor / "name").write_text("ina219\n")
        (sensor / "power1_input").write_text("2000000\n")
    meters = {board.name: {"kind": "ina219", "root": str(board.folder / "hwmon")} for board in metered}
    return place.inventory(
        [board.entry(profile="raspberry_pi_4", meter=meters.get(board.name)) for board in place.boards]
    )


def run_on(place: Lab, plan: Plan, directory: Path, *metered: SshBoard, probe: bool = False) -> Ran:
    boards = inventory(place, *metered)
    options = RunOptions(out=directory, substrate="ssh", probe=probe, keep="always", boards=boards)
    return Ran(execute(plan, "name: test\n", options, QuietDisplay()))


def is_clean(board: SshBoard) -> bool:
    """Nothing of a run is on the board: no process, no folder."""
    return not board.processes() and not list(board.store.glob("run-*"))


def when_said(directory: Path, event: str, then: Callable[[], None]) -> threading.Thread:
    """Do something in the middle of a run, once it has written this event."""
    events = directory / "events.jsonl"

    def watch() -> None:
        wait(lambda: events.exists() and f'"event": "{event}"' in events.read_text(), within_s=120.0)
        then()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def heard(ran: Ran, device: str) -> list[float]:
    """When the coordinator had a message from a device."""
    records = ran.records("coordinator", "received_payload_bytes")
    return [record["t"] for record in records if record["labels"]["peer"] == device]


def test_a_run_over_three_boards_learns_with_its_faults_and_leaves_them_clean(place: Lab, tmp_path: Path) -> None:
    links = ("d-3>coordinator", "coordinator>d-3")
    faults = (
        fault("crash", 2.0, 3.0, nodes=("d-1",), index=0),
        fault("pause", 2.0, 4.0, nodes=("d-2",), index=1),
        fault("straggler", 2.0, 4.0, nodes=("d-4",), index=2, parameters={"speed": 0.25}),
        fault("partition", 2.0, 4.0, nodes=("d-3",), links=links, index=3, parameters={"direction": "both"}),
        fault(
            "degrade", 5.0, 6.0, links=links, index=4, parameters={"rate_share": 0.5, "add_delay": 0.02, "loss": 0.0}
        ),
    )
    plan = star(4, stop_after_s=16.0, shape=LINK, algorithm=FEDAVG, faults=faults)
    ran = run_on(place, plan, tmp_path / "run", probe=True)
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    assert ran.outcome.summary["test_accuracy"] is not None
    assert ran.outcome.summary["test_accuracy"] > 5 * CHANCE
    for report in ran.result()["faults"]:
        assert report["error"] is None
        assert report["evidence"]
        assert report["heal_evidence"]
    for device in ("d-1", "d-2", "d-3", "d-4"):
        assert any(t > 6.0 for t in heard(ran, device)), f"{device} takes part after its fault"
    during = [t for t in heard(ran, "d-2") if 2.3 < t < 4.0]
    assert during == [], "a device that is stopped says nothing"
    wait(lambda: all(map(is_clean, place.boards)))
    facts = json.loads((ran.directory / "environment.json").read_text())
    assert set(facts["places"].values()) == {"here", "b1", "b2", "b3"}
    assert facts["places"]["d-4"] == facts["places"]["d-1"] == "b1"
    for number, board in enumerate(place.boards, 1):
        clock = facts["boards"][board.name]["clock"]
        offsets = [each["ahead_s"] for part in ("before", "during", "after") for each in clock[part]]
        assert len(offsets) > 3
        assert all(abs(offset - 100_000 * number) < 0.5 for offset in offsets), "their clocks are not ours"
    steps = [record["t"] for record in ran.records("d-1", "local_phase_s")]
    assert steps
    assert all(0 <= t <= 17.0 for t in steps), "yet its records are on ours"
    checks = json.loads((ran.directory / "receipt.json").read_text())["checks"]
    rtts = [check["found"] for check in checks if check["what"] == "rtt_s"]
    assert len(rtts) == 4
    assert all(found >= 0.04 for found in rtts), "every packet passed the links of the plan"


def test_a_plug_in_is_brought_to_the_boards_and_its_mistake_comes_back_with_its_line(
    place: Lab, tmp_path: Path
) -> None:
    path = own_plugin.write(tmp_path)
    plan = star(2, stop_after_s=10.0, shape=LINK, algorithm=Chosen("own", {"local_steps": 10}))
    with loaded([path]) as plugins:
        options = RunOptions(
            out=tmp_path / "run",
            substrate="ssh",
            probe=False,
            keep="always",
            boards=inventory(place),
            plugins=plugins,
        )
        ran = Ran(execute(plan, "name: test\n", options, QuietDisplay()))
    own_plugin.check(ran, path)
    wait(lambda: all(map(is_clean, place.boards)))


def test_boards_that_vanish_or_reboot_are_told_and_take_part_again_when_they_are_back(
    place: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station, "LEASE_S", 3.0)
    directory = tmp_path / "run"
    _, vanishing, rebooting = place.boards

    def meddle() -> None:
        vanishing.cut()
        rebooting.reboot()
        wait(lambda: (directory / "events.jsonl").read_text().count('"event": "node_exited"') >= 2, within_s=30.0)
        vanishing.mend()

    meddling = when_said(directory, "run_began", meddle)
    plan = star(3, stop_after_s=24.0, shape=LINK, algorithm=FEDAVG)
    ran = run_on(place, plan, directory, vanishing, rebooting)
    meddling.join()
    assert ran.outcome.status == "degraded", ran.outcome.notes
    assert ran.outcome.summary["lasted_s"] is not None
    assert ran.outcome.summary["lasted_s"] > 23
    ended = {event["node"]: event for event in ran.events("node_exited") if not event["asked"]}
    assert set(ended) == {"d-2", "d-3"}
    assert all("was lost" in event["last_words"] for event in ended.values())
    said = " ".join(json.loads((directory / "environment.json").read_text())["notes"]["boards"])
    assert "b2 came back" in said
    assert "b3 came back" in said
    assert "rebooted" in said.partition("b3 came back")[2]
    for device in ("d-2", "d-3"):
        assert any(t > ended[device]["t"] + 1 for t in heard(ran, device)), f"{device} takes part again"
    for meter in ran.events("meter"):
        assert meter["missing_s"] > 1, "a meter of a board that is away is not read"
        assert meter["joules"] / 2 + meter["missing_s"] == pytest.approx(meter["lasted_s"], rel=0.05)
        missed = f"the meter ina219 of {meter['component']} did not see {meter['missing_s']:.1f} s"
        assert any(missed in note for note in ran.outcome.notes), ran.outcome.notes
    assert {meter["component"] for meter in ran.events("meter")} == {"board_b2", "board_b3"}
    wait(lambda: all(map(is_clean, place.boards)))


def test_when_we_are_killed_the_boards_heal_themselves(place: Lab, tmp_path: Path) -> None:
    scenario = tmp_path / "short.yaml"
    scenario.write_text(
        json.dumps(
            {
                "name": "short",
                "about": "two devices, one of them stopped",
                "stop_after": "60 s",
                "devices": [{"group": "pi", "count": 2, "profile": "raspberry_pi_4", "link": "wifi_2g4"}],
                "topology": {"kind": "star"},
                "learning": {
                    "task": {"name": "digits", "partition": {"kind": "iid"}},
                    "model": {"name": "mlp"},
                    "algorithm": {"name": "fedavg"},
                    "rule": {"name": "backprop", "learning_rate": 0.1},
                },
                "faults": [{"kind": "pause", "at": "1 s", "for": "50 s", "count": 2}],
            }
        )
    )
    directory = tmp_path / "run"
    arguments = ["run", str(scenario), "--substrate", "ssh", "--boards", str(inventory(place)), "--out", str(directory)]
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments, "--no-probe"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    events = directory / "events.jsonl"
    wait(lambda: events.exists() and '"event": "fault_injected"' in events.read_text(), within_s=90.0)
    process.kill()
    process.wait()
    wait(lambda: all(map(is_clean, place.boards)))
