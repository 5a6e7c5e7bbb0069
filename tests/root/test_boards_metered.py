"""Energy meters of boards: read on the board for as long as a run learns, tried by the check. Boards are real sshd."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_image.spec import Chosen
from orchestrator.cli import main
from orchestrator.errors import MachineCannotError
from orchestrator.links.shape import LinkShape
from orchestrator.outcome import RunOptions
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from tests.contract.worlds import Ran
from tests.plans import star
from tests.sshd import Lab, SshBoard, lab, missing, wait

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(180)]

LINK = LinkShape(rate_bps=20e6, delay_s=0.02, queue_bytes=250_000)
FEDAVG = Chosen("fedavg", {"local_steps": 20, "deadline_s": 1.0})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab")) as made:
        made.board("shunt")
        made.board("processor")
        yield made


def shunt(board: SshBoard, watts: float) -> dict[str, Any]:
    """An INA219 on a board, as an inventory names it; again for another power."""
    folder = board.folder / "hwmon" / "hwmon0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text("ina219\n")
    fresh = folder / "fresh"
    fresh.write_text(f"{round(watts * 1e6)}\n")
    fresh.rename(folder / "power1_input")
    return {"kind": "ina219", "root": str(folder.parent)}


def packages(board: SshBoard, joules: float) -> dict[str, Any]:
    """A processor's counter on a board that stands at so many joules."""
    zone = board.folder / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    fresh = zone / "fresh"
    fresh.write_text(f"{round(joules * 1e6)}\n")
    fresh.rename(zone / "energy_uj")
    return {"kind": "rapl", "root": str(zone.parent)}


def told(place: Lab, capsys: pytest.CaptureFixture[str], *entries: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """What `boards check` ends with, and its line about the first board's meter."""
    code = main(["boards", "check", "--json", str(place.inventory(list(entries)))])
    (board, *_) = json.loads(capsys.readouterr().out)["boards"]
    return code, next(check for check in board["checks"] if check["name"] == "meter")


def test_the_check_reads_the_meter_or_says_what_helps(place: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    board = place.boards[0]
    code, found = told(place, capsys, board.entry(meter=shunt(board, 4.25)))
    assert (code, found["status"]) == (0, "ok")
    assert "ina219 reads 4.25 W" in found["found"]
    assert "± 2 %" in found["found"]
    nowhere = str(board.folder / "nowhere")
    code, found = told(place, capsys, board.entry(meter={"kind": "rapl", "root": nowhere}))
    assert (code, found["status"]) == (3, "fail")
    assert f"no RAPL package under {nowhere}" in found["found"]
    assert "smart plug" in found["remedy"]
    wait(lambda: not board.processes())


def test_a_run_whose_board_has_no_such_meter_is_refused_before_anything_is_made(place: Lab, tmp_path: Path) -> None:
    board = place.boards[0]
    meter = {"kind": "rapl", "root": str(board.folder / "nowhere")}
    options = RunOptions(out=tmp_path / "run", substrate="ssh", boards=place.inventory([board.entry(meter=meter)]))
    with pytest.raises(MachineCannotError, match=r"shunt .*: meter: rapl: no RAPL package .* Try: "):
        execute(star(1, stop_after_s=2.0, shape=LINK, algorithm=FEDAVG), "name: test\n", options, QuietDisplay())
    assert not (tmp_path / "run").exists()


def test_a_run_brings_home_the_joules_of_each_board_with_source_and_accuracy(place: Lab, tmp_path: Path) -> None:
    first, second = place.boards
    entries = [first.entry(meter=shunt(first, 2.0)), second.entry(meter=packages(second, 1000.0))]
    options = RunOptions(
        out=tmp_path / "run", substrate="ssh", probe=False, keep="always", boards=place.inventory(entries)
    )
    events = tmp_path / "run" / "events.jsonl"

    def load() -> None:
        """In the middle of the run one board comes to draw twice as much; the other has used 30 J by then."""
        wait(lambda: events.exists() and '"event": "run_began"' in events.read_text(), within_s=120.0)
        time.sleep(4.0)
        packages(second, 1030.0)
        shunt(first, 4.0)

    loading = threading.Thread(target=load)
    loading.start()
    ran = Ran(execute(star(2, stop_after_s=8.0, shape=LINK, algorithm=FEDAVG), "name: test\n", options, QuietDisplay()))
    loading.join()
    summary = ran.outcome.summary
    shunts, counted = summary["measured_energy_joules.board_shunt_ina219"], "board_processor_rapl"
    lasted_s = summary["lasted_s"]
    assert shunts is not None and lasted_s is not None
    assert 2.05 * lasted_s < shunts < 3.95 * lasted_s, "both powers were seen"
    assert summary[f"measured_energy_joules.{counted}"] == pytest.approx(30.0)
    modelled = [record for record in ran.own_records("energy_joules") if record["labels"]["source"] == "model"]
    assert summary["energy_joules"] == pytest.approx(sum(record["value"] for record in modelled)), "kept apart"
    measured = [record for record in ran.own_records("energy_joules") if record not in modelled]
    assert all(0 <= record["t"] <= lasted_s + 2 for record in measured), "on our clock, whatever theirs says"
    assert {record["labels"]["accuracy"][:5] for record in measured} == {"± 2 %", "not s"}
    came = {event["component"]: event for event in ran.events("meter")}
    assert set(came) == {"board_shunt", "board_processor"}
    assert came["board_shunt"]["readings"] > 10
    assert came["board_shunt"]["missing_s"] == 0
    assert not any("did not see" in note for note in ran.outcome.notes)
