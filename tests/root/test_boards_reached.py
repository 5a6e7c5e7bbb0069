"""Reaching boards: real sshd servers that are as they should be, and such that lack something or are hostile."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.boards.check import BoardReport, check_boards
from orchestrator.boards.inventory import load_inventory
from orchestrator.boards.link import BoardLink, reach
from orchestrator.boards.shipping import archive, ship
from orchestrator.cli import main
from orchestrator.errors import RunBrokeError
from orchestrator.hosts.ssh import BoardError
from tests.sshd import Lab, SshBoard, lab, missing, run, wait

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing())]

HOSTILE = (
    "$(touch {})",
    "`touch {}`",
    "; touch {} ;",
    "a\ntouch {}",
    "| tee {}",
    "&& touch {}",
    "' touch {} '",
    '" touch {} "',
)
A_DAY_AHEAD = """#!/usr/bin/python3 -I
import sys, time
real = time.time
time.time = lambda: real() + 86400
exec(compile(sys.argv[-1], "program", "exec"))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(scope="module")
def good(place: Lab) -> SshBoard:
    return place.board("good")


def report(place: Lab, entry: Mapping[str, Any], *, pinned: bool = True) -> BoardReport:
    inventory = load_inventory(place.inventory([entry], pinned=pinned))
    (found,) = asyncio.run(check_boards(inventory, inventory.boards))
    return found


def found(reported: BoardReport, name: str) -> Any:
    return next(check for check in reported.checks if check.name == name)


def with_link(place: Lab, board: SshBoard, story: Callable[[BoardLink], Coroutine[None, None, None]]) -> None:
    inventory = load_inventory(place.inventory([board.entry()]))

    async def told() -> None:
        link = await reach(inventory.boards[0], inventory.known_hosts)
        try:
            await story(link)
        finally:
            await link.close()

    asyncio.run(told())
    wait(lambda: not board.processes())


def test_a_board_is_enrolled_once_and_a_changed_key_is_refused_for_ever(
    place: Lab, good: SshBoard, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory = str(place.inventory([good.entry()], "new", pinned=False))
    printed = run("ssh-keygen", "-lf", str(good.folder / "host_key.pub")).split()[1]
    assert main(["boards", "check", inventory]) == 3
    assert "edgebed boards enroll --board good" in capsys.readouterr().out
    assert main(["boards", "enroll", inventory]) == 2, "nobody is there to compare it"
    assert printed in capsys.readouterr().out
    assert main(["boards", "enroll", inventory, "--fingerprint", "SHA256:other"]) == 2
    assert main(["boards", "enroll", inventory, "--fingerprint", printed]) == 0
    assert main(["boards", "enroll", inventory]) == 0
    assert "pinned already" in capsys.readouterr().out
    known_hosts = Path(inventory).with_suffix(".known_hosts")
    line = known_hosts.read_text()
    known_hosts.write_text(line.replace(line.split()[2], (good.folder / "key.pub").read_text().split()[1]))
    assert main(["boards", "enroll", inventory, "--yes"]) == 3
    assert "CHANGED" in capsys.readouterr().err
    assert main(["boards", "check", inventory]) == 3
    assert "CHANGED" in capsys.readouterr().out


def test_a_good_board_can_take_part(place: Lab, good: SshBoard, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards", "check", "--json", str(place.inventory([good.entry()]))]) == 0
    (told,) = json.loads(capsys.readouterr().out)["boards"]
    statuses = {check["name"]: check["status"] for check in told["checks"]}
    assert told["ok"]
    assert {name for name, status in statuses.items() if status == "ok"} >= {
        "reach",
        "python",
        "libraries",
        "data",
        "root",
    }


def test_a_board_cannot_be_where_nothing_answers_or_lets_us_in(place: Lab, good: SshBoard) -> None:
    refused = report(place, good.entry(port=2222))
    assert found(refused, "reach").found == "its host key is not pinned in " + str(place.folder / "boards.known_hosts")
    wrong_key = place.folder / "wrong"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong_key))
    denied = found(report(place, good.entry(key=str(wrong_key))), "reach")
    assert "does not let root in" in denied.found
    assert denied.remedy.startswith(f"ssh-copy-id -i {wrong_key}")


def test_a_missing_library_or_interpreter_fails_with_its_remedy(place: Lab, good: SshBoard) -> None:
    assert "boards ship --wheels" in found(report(place, good.entry(python="/usr/bin/python3")), "libraries").remedy
    assert found(report(place, good.entry(python="/nowhere/python3")), "python").status == "fail"
    assert found(report(place, good.entry(data={"interface": "wlan7"})), "data").status == "fail"


def test_names_full_of_what_shells_act_on_reach_a_board_as_they_are(place: Lab, good: SshBoard) -> None:
    marker = good.folder / "interpreted"
    names = [f"{HOSTILE[number % len(HOSTILE)].format('interpreted')}{number}" for number in range(200)]
    stores = good.folder / "stores"

    async def story(link: BoardLink) -> None:
        for name in names:
            assert await link.ask("have", store=f"{stores}/{name}", tree="0" * 64) == {"have": False}
        await ship(link)
        await link.become_agent(archive().tree, as_root=True)
        await link.ask("settle", store=str(good.store), run="0123", lease_s=10.0)
        for name in names:
            with pytest.raises(RunBrokeError, match="not the name of a file"):
                await link.ask("put", name=name, base64="")
            with pytest.raises(RunBrokeError, match="not a node"):
                await link.ask("start", node=name, life=1, spec="{}", initial=None, plugins=[])

    with_link(place, good, story)
    assert {path.name for path in stores.iterdir()} == set(names)
    assert not marker.exists()
    assert not list(good.folder.rglob("interpreted*"))


def test_what_a_login_shell_prints_is_passed_over(place: Lab) -> None:
    board = place.board("noisy", login_noise="Welcome {to} your board\n")
    assert report(place, board.entry()).ok


def test_a_board_without_python_says_so(place: Lab) -> None:
    board = place.board("bare", path=str(place.folder))
    told = found(report(place, board.entry()), "reach")
    assert told.found == "it has no python3"
    assert "apt-get install python3" in told.remedy


def test_a_board_without_space_is_refused_and_nothing_of_the_attempt_stays(place: Lab) -> None:
    board = place.board("full", store_bytes=100_000)
    assert found(report(place, board.entry()), "disk").status == "fail"
    inventory = load_inventory(place.inventory([board.entry()]))

    async def story() -> None:
        link = await reach(inventory.boards[0], inventory.known_hosts)
        with pytest.raises(RunBrokeError, match="No space left"):
            await ship(link)
        await link.close()

    asyncio.run(story())


def test_a_wrong_wall_clock_is_told(place: Lab) -> None:
    tools = place.folder / "tools"
    tools.mkdir()
    (tools / "python3").write_text(A_DAY_AHEAD)
    (tools / "python3").chmod(0o755)
    board = place.board("early", path=f"{tools}:/usr/bin:/bin:/usr/sbin:/sbin")
    told = report(place, board.entry())
    assert found(told, "clock").status == "warn"
    assert found(told, "clock").found.startswith("864")
    assert told.ok, "records go by the measured offset of the monotonic clocks"


def test_a_hostile_banner_ends_as_an_error_that_a_terminal_can_bear(place: Lab, good: SshBoard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def speak() -> None:
            connected, _ = server.accept()
            with connected:
                for _ in range(200):
                    try:
                        connected.sendall(b"\x1b[2J\x1b]0;owned\x07" + b"A" * 4000 + b"\r\n")
                    except OSError:
                        return

        threading.Thread(target=speak, daemon=True).start()
        inventory = place.inventory([good.entry(host="127.0.0.1", port=port)])
        key = (good.folder / "host_key.pub").read_text()
        inventory.with_suffix(".known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
        loaded = load_inventory(inventory)
        with pytest.raises(BoardError) as raised:
            asyncio.run(reach(loaded.boards[0], loaded.known_hosts))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 600


def test_all_that_is_wrong_with_boards_is_told_before_a_run_makes_anything(
    place: Lab, good: SshBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = good.entry(name="other", host="127.0.0.1")
    inventory = str(place.inventory([good.entry(python="/usr/bin/python3"), other]))
    arguments = ["run", "smoke", "--substrate", "ssh", "--out", str(tmp_path / "run")]
    assert main([*arguments, "--boards", inventory]) == 3
    said = capsys.readouterr().err
    assert "good (root@" in said
    assert "other (root@127.0.0.1:22): reach: its host key is not pinned" in said
    assert main([*arguments, "--boards", inventory, "--shaper", "netem"]) == 3
    assert main(arguments) == 2
    assert not (tmp_path / "run").exists()
