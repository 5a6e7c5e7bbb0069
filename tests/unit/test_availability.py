"""Availability traces of other projects become ours, and nothing in them is executed."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.spells import read_spells

TOOL = Path(__file__).parents[2] / "scripts" / "availability.py"
TRACE = {  # as in FedScale: present from active to inactive, again every finish_time
    1: {"duration": 100, "active": [10, 50], "inactive": [30, 60], "finish_time": 100, "model": "a phone"},
    2: {"duration": 100, "active": [0], "inactive": [100], "finish_time": 100, "model": "another"},
}
MESSAGES = """2020-02-05 10:00:00\tscreen_lock
2020-02-05 10:00:10\twifi
2020-02-05 10:00:20\tbattery_charged_on
2020-02-05 10:00:25\t88%
2020-02-05 10:01:00\t4g
2020-02-05 10:02:00\twifi
2020-02-05 10:03:00\tscreen_unlock
"""


def convert(kind: str, content: bytes, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    file = folder / "trace"
    file.write_bytes(content)
    return subprocess.run([sys.executable, TOOL, kind, file, *options], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_trace_of_fedscale_says_when_devices_are_away(protocol: int, tmp_path: Path) -> None:
    done = convert("fedscale", pickle.dumps(TRACE, protocol), tmp_path, "--until", "180")
    assert done.returncode == 0, done.stderr
    away = read_spells(done.stdout)
    assert away["client1"] == ((0, 10), (30, 50), (60, 110), (130, 150), (160, None))
    assert "client2" not in away


def test_a_trace_of_flash_has_devices_while_locked_charging_and_on_wifi(tmp_path: Path) -> None:
    content = json.dumps({"0": {"guid": "x", "model": "a phone", "messages": MESSAGES}}).encode()
    done = convert("flash", content, tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_spells(done.stdout)["user0"] == ((0, 20), (60, 120), (180, None))


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("was-here"),))  # type: ignore[return-value]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(protocol: int, tmp_path: Path) -> None:
    done = convert("fedscale", pickle.dumps({1: Hostile()}, protocol), tmp_path)
    assert done.returncode == 2
    assert "more than plain data" in done.stderr
    assert not (tmp_path / "was-here").exists()
    assert not Path("was-here").exists()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("fedscale", b""),
        ("fedscale", pickle.dumps(TRACE)[:-20]),
        ("fedscale", pickle.dumps([1, 2])),
        ("fedscale", pickle.dumps({1: {"active": [1]}})),
        ("fedscale", b"0."),
        ("fedscale", b"(s."),
        ("flash", b"{"),
        ("flash", b'{"0": {"messages": "yesterday"}}'),
        ("flash", b"[]"),
    ],
)
def test_what_is_no_trace_is_refused_in_one_line(kind: str, content: bytes, tmp_path: Path) -> None:
    done = convert(kind, content, tmp_path)
    assert done.returncode == 2, done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr
