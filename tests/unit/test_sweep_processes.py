"""A sweep in real processes: what is killed, what goes on, what is left. One sweep goes through it all."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.outcome import INTERRUPTED
from orchestrator.resume import held

SCENARIO = """\
name: swept
stop_after: 4 s
devices: [{group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}]
learning: {task: digits, model: linear, algorithm: {name: fedavg, local_steps: 20}, rule: {name: backprop}}
"""
SEEDS = 3
Event = Mapping[str, Any]


class Sweep:
    """`edgebed sweep` as a user starts it; `events` are read as they come."""

    def __init__(self, folder: Path, *more: str) -> None:
        (folder / "swept.yaml").write_text(SCENARIO)
        argv = [sys.executable, "-m", "orchestrator", "sweep", str(folder / "swept.yaml"), "--substrate", "simulation"]
        argv += ["--seeds", str(SEEDS), "--jobs", "1", "--out", str(folder / "out"), "--json", *more]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events = self._read()

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.process.kill()
        self.process.communicate()

    def _read(self) -> Iterator[Event]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def until(self, kind: str, label: str) -> None:
        """Read on to an event of that run."""
        for event in self.events:
            if event["event"] == kind and event.get("label") == label:
                return
        assert self.process.stderr is not None
        raise AssertionError(f"no {kind} of {label}: {self.process.stderr.read()}")

    def end(self) -> list[Event]:
        """The rest of the events, when it has ended."""
        rest = list(self.events)
        self.process.communicate()
        return rest

    def worker(self) -> int:
        """The process that carries out its runs."""
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_killed_interrupted_and_resumed_it_makes_every_run_once_and_leaves_no_process(tmp_path: Path) -> None:
    with Sweep(tmp_path) as killed:
        killed.until("run", "seed=1")
        killed.until("progress", "seed=2")
        orphan = killed.worker()
        killed.process.kill()
    with held(tmp_path / "out"):  # its process holds the folder for as long as it lives
        assert not alive(orphan)
    first = tmp_path / "out" / "seed=1" / "result.json"
    written = first.stat().st_mtime_ns

    with Sweep(tmp_path, "--resume") as resumed:
        resumed.until("progress", "seed=2")
        os.kill(resumed.worker(), signal.SIGKILL)
        resumed.until("run", "seed=2")
        resumed.until("progress", "seed=3")
        worker = resumed.worker()
        resumed.process.send_signal(signal.SIGINT)
        *_, result = resumed.end()
    assert resumed.process.returncode == result["exit_code"] == INTERRUPTED
    assert [run["label"] for run in result["runs"]] == ["seed=1", "seed=2"]
    (lost,) = result["runs"][1]["lost"]
    assert "SIGKILL" in lost
    assert not alive(worker)

    with Sweep(tmp_path, "--resume") as last:
        events = last.end()
    assert last.process.returncode == 0
    assert next(event for event in events if event["event"] == "sweep") == {"event": "sweep", "runs": SEEDS, "kept": 2}
    assert [event["label"] for event in events if event["event"] == "run"] == ["seed=3"]
    (row,) = events[-1]["table"]
    assert (row["runs"], row["failed"], row["spreads"]["test_accuracy"]["n"]) == (SEEDS, 0, SEEDS)
    assert first.stat().st_mtime_ns == written
    assert (tmp_path / "out" / "table.csv").read_text().startswith("runs,failed,degraded,")


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
