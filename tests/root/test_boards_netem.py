"""`--shaper netem` on boards that are real sshd servers: what is refused, and the way of a shape there and back.

A program that answers as tc does stands in for the kernel on a board that has no netem: no packet is delayed then,
and tests/vm/test_netem_boards.py has the kernel's own.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_image.spec import Chosen
from orchestrator.cli import main
from orchestrator.errors import MachineCannotError
from orchestrator.links import netem
from orchestrator.links.shape import LinkShape
from orchestrator.outcome import RunOptions
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from tests.contract.worlds import Ran
from tests.plans import fault, star
from tests.sshd import Lab, SshBoard, lab, missing, wait

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(180)]

LINK = LinkShape(rate_bps=20e6, delay_s=0.02, queue_bytes=250_000)
FEDAVG = Chosen("fedavg", {"local_steps": 20, "deadline_s": 1.0})
TC = """#!/usr/bin/python3 -I
import json, pathlib, sys
folder, words = pathlib.Path({folder!r}), sys.argv[1:]
with (folder / "log").open("a") as log:
    log.write(" ".join(words) + chr(10))
file = folder / "state"
state = json.loads(file.read_text()) if file.exists() else {{}}
after = lambda word: words[words.index(word) + 1]
if "show" in words:
    found = [dict(each, dev="data") for each in state.values()]
    print(json.dumps(found or [{{"kind": "noqueue", "handle": "0:", "root": True, "dev": "data"}}]))
elif words[:2] == ["qdisc", "del"]:
    state = {{}}
elif words[:2] == ["qdisc", "replace"] and "htb" in words:
    state["root"] = {{"kind": "htb", "handle": "eb:", "root": True}}
elif words[:2] == ["qdisc", "replace"]:
    options = {{"limit": int(after("limit")), "delay": {{"delay": int(after("delay")[:-2]) / 1e6}}}}
    options["loss-random"] = {{"loss": float(after("random")[:-1]) / 100}}
    options["rate"] = {{"rate": int(after("rate")[:-3]) // 8}}
    state[after("parent")] = {{"kind": "netem", "parent": after("parent"), "options": options}}
if words[:2] != ["qdisc", "add"]:
    (folder / "fresh").write_text(json.dumps(state))
    (folder / "fresh").rename(file)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab")) as made:
        made.board("plain")
        folder = made.folder / "bin"
        folder.mkdir()
        (folder / "tc").write_text(TC.format(folder=str(folder)))
        (folder / "tc").chmod(0o755)
        (folder / "state").write_text("{}")
        made.board("shaping", path=f"{folder}:/usr/bin:/bin:/usr/sbin:/sbin")
        yield made


def ran(place: Lab, directory: Path, entry: dict[str, Any], **changes: Any) -> Ran:
    plan = star(1, stop_after_s=5.0, shape=LINK, algorithm=FEDAVG, **changes)
    boards = place.inventory([entry])
    options = RunOptions(out=directory, substrate="ssh", shaper="netem", probe=False, boards=boards)
    return Ran(execute(plan, "name: test\n", options, QuietDisplay()))


def netem_line(place: Lab, board: SshBoard, capsys: pytest.CaptureFixture[str], **changes: Any) -> dict[str, str]:
    main(["boards", "check", "--json", str(place.inventory([board.entry(**changes)]))])
    (told,) = json.loads(capsys.readouterr().out)["boards"]
    assert told["ok"]
    found: dict[str, str] = next(check for check in told["checks"] if check["name"] == "netem")
    return found


@pytest.mark.skipif(netem.available()[0], reason="this kernel has netem")
def test_a_board_whose_kernel_has_no_netem_is_refused_before_anything_is_made(
    place: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = place.boards[0]
    with pytest.raises(MachineCannotError, match=r"plain .*: netem: tc netem: .* Try: modprobe sch_netem"):
        ran(place, tmp_path / "run", board.entry())
    assert not (tmp_path / "run").exists()
    assert netem_line(place, board, capsys)["status"] == "warn", "without --shaper netem it can take part"


def test_an_interface_that_carries_ssh_is_never_shaped(
    place: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = place.boards[1]
    for data in ({"interface": "ctl"}, None):
        with pytest.raises(MachineCannotError, match=r"shaping .*: netem: ctl carries packets of nodes and SSH"):
            ran(place, tmp_path / "run", board.entry(data=data))
    assert not (tmp_path / "run").exists()
    assert "by data (--shaper netem)" in netem_line(place, board, capsys)["found"]


def test_shapes_are_set_on_the_board_read_back_and_taken_off_at_the_end(place: Lab, tmp_path: Path) -> None:
    board, folder = place.boards[1], place.folder / "bin"
    log = folder / "log"
    log.unlink()
    worse = fault("degrade", 1.0, 3.0, links=("d-1>coordinator",), parameters={"add_delay": 0.05})
    found = ran(place, tmp_path / "run", board.entry(), faults=(worse,))
    assert found.outcome.status in ("complete", "degraded"), found.outcome.notes
    facts = json.loads((found.directory / "environment.json").read_text())
    assert (facts["shaper"], facts["made_by_boards"]) == ("netem", {"d-1>coordinator": "shaping"})
    (report,) = found.result()["faults"]
    assert report["error"] is None
    assert "delay 70 ms" in report["evidence"]
    assert "read back from data of shaping" in report["evidence"]
    wait(lambda: not board.processes())
    told = [line for line in log.read_text().splitlines() if "show" not in line and "add" not in line.split()]
    assert told[0] == "qdisc replace dev data root handle eb: htb default 0"
    assert [line.split()[12] for line in told if " netem " in line] == ["20000us", "70000us", "20000us"]
    assert told[-1] == "qdisc del dev data root"
    assert json.loads((folder / "state").read_text()) == {}


def test_when_we_are_killed_the_board_gives_its_interface_back(place: Lab, tmp_path: Path) -> None:
    board, folder = place.boards[1], place.folder / "bin"
    arguments = [
        "run",
        "smoke",
        "--substrate",
        "ssh",
        "--shaper",
        "netem",
        "--no-probe",
        "--out",
        str(tmp_path / "run"),
    ]
    boards = place.inventory([board.entry()])
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments, "--boards", str(boards)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait(lambda: "eb:1" in json.loads((folder / "state").read_text()), within_s=120.0)
    process.kill()
    process.wait()
    wait(lambda: json.loads((folder / "state").read_text()) == {})
    wait(lambda: not board.processes())
