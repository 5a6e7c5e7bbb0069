"""kill -9 of orchestrators at random moments, with nodes on boards: nothing stays there, nothing of others goes.

Five in the gate, all at once; EDGEBED_SOAK=100 for more. On each board there is also a process of somebody else's under
a name like ours, and a file in the store.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import host_state
from tests.killed import kill_at_random, until
from tests.sshd import Lab, SshBoard, lab, missing

AT_ONCE = 5
BATCHES = max(1, min(int(os.environ.get("EDGEBED_SOAK", "5")), 100) // AT_ONCE)
LONGEST_S = 9.0  # set-up, run and teardown of five at once on two cores
LIKE_OURS = "python -m node_image"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(240 + 90 * BATCHES),
]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab")) as made:
        for number in (1, 2):
            made.board(f"b{number}")
        yield made


def foreign_process(board: SshBoard) -> "subprocess.Popen[bytes]":
    """On the board, in its own namespaces; it dies with the board."""
    init = board.init()
    return subprocess.Popen(
        ["nsenter", f"--target={init}", "--pid", "--mount", "--net", "bash", "-c", f"exec -a '{LIKE_OURS}' sleep 3600"]
    )


def has_foreign_process(board: SshBoard) -> bool:
    return any(line.startswith(LIKE_OURS) for line in board.processes())


def left_on(board: SshBoard) -> list[str]:
    """What a run has left there."""
    processes = [line for line in board.processes() if not line.startswith(LIKE_OURS)]
    return [*processes, *(str(path) for path in board.store.glob("run-*"))]


def test_killed_with_boards_they_leave_nothing_there_and_touch_nothing_of_others(place: Lab, tmp_path: Path) -> None:
    drawn, killed = random.Random(2), 0
    inventory = place.inventory([board.entry() for board in place.boards])
    options = ("--substrate", "ssh", "--boards", str(inventory))
    others = [foreign_process(board) for board in place.boards]
    try:
        for board in place.boards:
            (board.store / "mine.txt").write_text("mine")
        until(lambda: all(map(has_foreign_process, place.boards)), lambda: "no process of somebody else's")
        before = host_state(tmp_path)
        for batch in range(BATCHES):
            killed += kill_at_random(drawn, tmp_path / str(batch), options, AT_ONCE, LONGEST_S, last_has_nodes=True)
            until(
                lambda: host_state(tmp_path) == before and not any(map(left_on, place.boards)),
                lambda: (host_state(tmp_path), [left_on(board) for board in place.boards]),
            )
            assert all(map(has_foreign_process, place.boards))
            assert all((board.store / "mine.txt").read_text() == "mine" for board in place.boards)
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert killed > BATCHES * AT_ONCE / 2, "most were killed in the middle of their lives"
