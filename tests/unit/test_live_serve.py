"""`edgebed serve` and `edgebed run --serve`: sockets, ports in use, and a page beside a run."""

import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator import command
from orchestrator.cli import main
from orchestrator.commands import serve
from orchestrator.compare import Comparison, PlannedVariant
from orchestrator.outcome import RunOptions
from orchestrator.rundir import RunDirectory
from orchestrator.telemetry.live.beside import (
    DEFAULT_PORT,
    LOOPBACK,
    listen,
    listen_here_or_anywhere,
    page_beside,
    url_of,
)
from tests.unit.recorded_runs import write_comparison, write_run


def test_the_socket_is_on_loopback_alone() -> None:
    with listen(0) as sock:
        assert sock.getsockname()[0] == LOOPBACK


def test_a_port_in_use_gives_another_one_and_one_line_that_says_so() -> None:
    with listen(0) as taken:
        port = taken.getsockname()[1]
        sock, said = listen_here_or_anywhere(port)
        with sock:
            assert said == f"port {port} cannot be had (Address already in use); the page is at {url_of(sock)} instead"
            assert sock.getsockname()[1] != port


def test_without_a_port_it_is_the_usual_one_or_a_free_one() -> None:
    sock, said = listen_here_or_anywhere(None)
    with sock:
        assert (sock.getsockname()[1] == DEFAULT_PORT) == (said == "")


def test_a_page_beside_a_run_is_served_by_another_process_and_ends_with_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    sock = listen(0)
    url = url_of(sock)
    with page_beside(run, sock), urllib.request.urlopen(f"{url}api/runs/run/state", timeout=20) as answer:
        assert json.load(answer)["facts"]["name"] == "dropout30"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)


def test_what_runs_beside_ends_when_its_input_does_or_is_killed() -> None:
    for script in ("import sys; sys.stdin.read()", "import time; time.sleep(60)"):
        process = command.start_beside((sys.executable, "-c", script), (), {})
        command.end_beside(process, 0.2)
        assert process.returncode is not None


def test_the_newest_run_is_that_which_began_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import os

    for name, age_s in (("zz-old", 1000), ("aa-new", 10), ("mm-older", 2000)):
        plan = write_run(tmp_path / "runs" / name) / "plan.json"
        os.utime(plan, (plan.stat().st_mtime - age_s,) * 2)
    assert serve._newest() == Path("runs/aa-new")


def test_no_run_at_all_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "edgebed: no runs in runs/ yet; try: edgebed run smoke --serve\n"
    assert main(["serve", "nothing"]) == 2


def test_a_folder_with_traces_of_a_run_is_found_without_its_plan(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "plan.json").unlink()
    assert serve._find(str(run)) == run
    both = write_comparison(tmp_path / "both")
    (both / "compare.json").unlink()  # as long as its first run lasts
    assert serve._find(str(both)) == both


def test_records_are_on_disk_while_the_run_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader beside the run sees them in less than a second of records, and a kill loses no more than that."""
    from node_image.records import Record

    clock = iter(range(100))
    monkeypatch.setattr("orchestrator.rundir.time.monotonic", lambda: float(next(clock)))
    (tmp_path / "nodes" / "pi-1").mkdir(parents=True)
    directory = RunDirectory(tmp_path)
    directory.record(Record(1.0, "round", 1.0), "pi-1")
    directory.record(Record(1.0, "node_up", 1.0))
    try:
        assert (tmp_path / "nodes" / "pi-1" / "records.jsonl").read_text().count("\n") == 1
        assert (tmp_path / "records.jsonl").read_text().count("\n") == 1
    finally:
        directory.close()


def test_serve_has_its_address_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[tuple[Path, bool]] = []

    def remember(folder: Path, sock: socket.socket, rows: object, *, beside: bool) -> None:
        served.append((folder, beside))

    monkeypatch.setattr("orchestrator.telemetry.live.server.serve", remember)
    run = write_run(tmp_path / "run")
    with listen(0) as taken:
        assert main(["serve", str(run), "--port", str(taken.getsockname()[1])]) == 0
    said = capsys.readouterr()
    assert served == [(run, False)]
    assert "http://127.0.0.1:" in said.out
    assert said.err.count("\n") == 1


def test_a_sweep_has_its_page_for_as_long_as_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep itself is left out here; what it would see is a page that answers."""
    told: list[str] = []
    asked: list[str] = []

    def swept(variants: Sequence[PlannedVariant], _text: str, options: RunOptions, *_rest: object) -> Comparison:
        options.out.mkdir()
        with urllib.request.urlopen(told[0].split()[0]) as answer:
            asked.append(answer.read().decode())
        return Comparison("smoke", options.out, (), len(variants))

    monkeypatch.setattr("orchestrator.sweep.sweep", swept)
    monkeypatch.setattr("orchestrator.terminal.sweep.PlainSweep.page", lambda _, text: told.append(text))
    arguments = ["sweep", "smoke", "--substrate", "simulation", "--serve", "--port", "0", "--out", str(tmp_path / "o")]
    assert main(arguments) == 130, "the sweep above carried out none of its runs"
    assert "<title>Edgebed</title>" in asked[0]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(told[0].split()[0])
