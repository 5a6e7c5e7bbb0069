"""Faults of a node's process, its files and its clock, on boards that are real sshd servers."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_image.spec import Chosen
from orchestrator.errors import MachineCannotError
from orchestrator.links.shape import LinkShape
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from tests.contract.worlds import Ran
from tests.plans import COORDINATOR, fault, star
from tests.sshd import Lab, lab, missing

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(180)]

LINK = LinkShape(rate_bps=20e6, delay_s=0.005, queue_bytes=250_000)
FEDAVG = Chosen("fedavg", {"local_steps": 20, "deadline_s": 1.0, "rejoin_after_s": 0.5})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab")) as made:
        for number in range(1, 3):
            made.board(f"b{number}")
        yield made


def run_on(place: Lab, plan: Plan, directory: Path) -> Ran:
    boards = place.inventory([board.entry(profile="raspberry_pi_4") for board in place.boards])
    options = RunOptions(out=directory, substrate="ssh", probe=False, keep="always", boards=boards)
    return Ran(execute(plan, "name: test\n", options, QuietDisplay()))


def test_stop_disk_descriptors_and_clock_act_on_boards_as_anywhere(place: Lab, tmp_path: Path) -> None:
    plan = star(
        2,
        algorithm=FEDAVG,
        shape=LINK,
        stop_after_s=18.0,
        faults=(
            fault(
                "clock",
                1.0,
                3.0,
                nodes=("d-2",),
                index=0,
                parameters={"skew": 0.5, "drift": None, "direction": "ahead"},
            ),
            fault("descriptors", 1.0, 2.0, nodes=("d-1",), index=1, parameters={"limit": 64}),
            fault("disk", 1.0, 3.0, nodes=(COORDINATOR,), index=2, parameters={"mode": "full", "rate": None}),
            fault("stop", 3.0, 4.0, nodes=("d-1",), index=3, parameters={"grace": 5.0}),
            fault("disk", 5.0, 6.0, nodes=(COORDINATOR,), index=4, parameters={"mode": "torn", "rate": None}),
        ),
    )
    ran = run_on(place, plan, tmp_path / "run")
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    clock, descriptors, full, stop, torn = ran.result()["faults"]
    assert [each["error"] for each in ran.result()["faults"]] == [None] * 5
    offsets = [float(found) for found in re.findall(r"([+-][0-9.]+) ms ahead", clock["evidence"])]
    assert abs(offsets[1] - offsets[0] - 500.0) <= 50.0
    assert "max open files read back as 64," in descriptors["evidence"]
    assert "max open files read back as 64," not in descriptors["heal_evidence"]
    assert {each["labels"]["reason"] for each in ran.records(COORDINATOR, "failed_saves")} == {"EFBIG"}
    assert "max file size read back as 1" in full["evidence"]
    assert "within its grace of 5 s" in stop["evidence"]
    assert "started again" in stop["heal_evidence"]
    assert "torn" in torn["evidence"]
    assert ran.events("node_checkpoint_broken")
    assert any(record["t"] > torn["healed_at_s"] for record in ran.records(COORDINATOR, "round"))


@pytest.mark.parametrize("kind", ["memory", "pids"])
def test_what_takes_a_control_group_is_refused_on_boards_with_the_reason(kind: str, place: Lab, tmp_path: Path) -> None:
    parameters = {"limit": 100, "to": None} if kind == "memory" else {"limit": 100}
    plan = star(1, stop_after_s=5.0, faults=(fault(kind, 1.0, 2.0, nodes=("d-1",), parameters=parameters),))
    with pytest.raises(MachineCannotError, match="a node on a board has no control group of its own"):
        run_on(place, plan, tmp_path / "run")
