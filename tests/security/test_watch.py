"""The watches themselves: what they must notice, they do."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.watch import MIB, StuckError, audited, busy_at_most, resident_bytes


def test_what_is_opened_or_started_is_noticed_inside_the_block_alone(tmp_path: Path) -> None:
    (tmp_path / "before").write_text("x")
    with audited() as events:
        assert events == set()
        (tmp_path / "file").write_text("x")
        socket.socket().close()
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert {"open", "socket.__new__", "subprocess.Popen"} <= events
    noticed = len(events)
    (tmp_path / "file").unlink()
    assert len(events) == noticed


def test_what_is_stuck_is_noticed_and_what_is_quick_is_not() -> None:
    with busy_at_most(60):
        sum(range(1000))
    with pytest.raises(StuckError), busy_at_most(0.05):
        while True:
            pass


def test_memory_that_is_kept_is_noticed() -> None:
    before = resident_bytes()
    kept = bytearray(b"x" * (32 * MIB))
    assert resident_bytes() - before > 24 * MIB
    assert len(kept) == 32 * MIB
