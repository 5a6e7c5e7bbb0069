"""Programs of one's own on real links: measured, disturbed and bounded as our own nodes are, and gone with the run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.root

TCP_SHARE = 1448 / 1500  # of a packet on the link, what is the program's (timestamps on)

HTTP = """name: http
about: two devices fetch pages from an ordinary web server
stop_after: 9 s
devices:
  - {group: pi, count: 2, profile: raspberry_pi_4, link: {rate: 20 Mbit/s, delay: 5 ms}, cpu_share: 30 %}
workload:
  ends: time
  files: [fetch.py]
  coordinator:
    - name: web
      run: ["{python}", -m, http.server, --bind, "{node.address}", --directory, "{folder}", 8000]
      ready: {http: "http://{node.address}:8000/"}
  devices:
    - run: ["{python}", fetch.py, "http://coordinator:8000/fetch.py"]
      patterns: [{match: 'got (?P<pages>1) in (?P<fetch_s>[0-9.]+)'}]
  metrics:
    pages: {kind: counter}
    fetch_s: {kind: sample}
faults:
  - {kind: crash, at: 2 s, for: 2 s, nodes: [pi-1]}
  - {kind: pause, at: 3 s, for: 2 s, nodes: [pi-2]}
"""
FETCH = """
import sys, time, urllib.request
while True:
    began = time.monotonic()
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
            answer.read()
        print("got 1 in", time.monotonic() - began)
    except OSError as error:
        print("none:", error)
    while time.monotonic() - began < 0.05:
        pass  # busy, so that its CPU share is felt
"""
IPERF3 = """name: goodput
about: one device measures its link
stop_after: 30 s
devices:
  - {group: pi, count: 1, profile: raspberry_pi_4, link: {rate: 10 Mbit/s, delay: 5 ms, queue: 128 KiB}}
workload:
  ends: devices
  coordinator: [{name: server, run: [iperf3, --server], ready: {port: 5201}}]
  devices:
    - run: [iperf3, --client, "{coordinator.address}", --time, 6, --omit, 2, --format, k]
      patterns: [{match: '(?P<goodput_bps>[0-9.]+) Kbits/sec +receiver', times: {goodput_bps: 1000}}]
  metrics: {goodput_bps: {}}
"""

ROOT = Path(__file__).parents[2]
FLOWER = ROOT / ".flower" / "bin" / "flwr"
FLOWER_VERSION = "1.41.0"


def without_flower() -> str:
    """Why Flower cannot run here; empty where it can."""
    if not FLOWER.exists():
        return "Flower is not installed (make flower)"
    said = subprocess.run([FLOWER, "--version"], capture_output=True, text=True, check=False).stdout
    return "" if FLOWER_VERSION in said else f"the scenario is for Flower {FLOWER_VERSION}, and here is {said.strip()}"


def start(folder: Path, scenario: str, *more: str) -> "subprocess.Popen[bytes]":
    path = folder / "own.yaml"
    path.write_text(scenario)
    (folder / "fetch.py").write_text(FETCH)
    argv = [sys.executable, "-m", "orchestrator", "run", str(path), "--out", str(folder / "run"), "--trust", *more]
    return subprocess.Popen([*argv, "--keep", "always"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "result.json").read_text())
    return found


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def pages(folder: Path, node: str) -> list[float]:
    found = lines_of(folder / "run" / "nodes" / node / "records.jsonl")
    return [each["t"] for each in found if each["labels"].get("name") == "pages"]


@pytest.mark.timeout(120)
def test_a_web_server_and_its_readers_are_measured_disturbed_and_bounded_as_nodes_are(tmp_path: Path) -> None:
    assert start(tmp_path, HTTP).wait(90) in (0, 6)  # 6: this machine was too busy to be exact
    result = result_of(tmp_path)
    assert [fault["error"] for fault in result["faults"]] == [None, None]
    crashed, paused = pages(tmp_path, "pi-1"), pages(tmp_path, "pi-2")
    healed_s = result["faults"][0]["healed_at_s"]
    assert min(crashed) < 2.0 < healed_s < max(crashed)
    assert not [t for t in crashed if 2.2 < t < healed_s]
    assert not [t for t in paused if 3.3 < t < 5.0]
    assert max(paused) > 5.0
    summary = result["summary"]
    assert summary["program.pages"] == len(crashed) + len(paused)
    assert summary["program.fetch_s"] > 0.02  # a connection and a page: two round trips of 10 ms
    assert summary["wire_bytes"] > summary["program.pages"] * len(FETCH)
    assert summary["energy_joules"] > 0
    own = lines_of(tmp_path / "run" / "records.jsonl")
    used_s = sum(each["value"] for each in own if each["metric"] == "cpu_s" and each["labels"]["node"] == "pi-2")
    assert 0.05 < used_s < 0.30 * 9 * 1.2  # it would take all it can get
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert {"rtt_s", "rate_bps", "loss"} <= {check["what"] for check in receipt["checks"]}


@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("iperf3") is None, reason="iperf3 is not installed (apt-get install iperf3)")
def test_what_iperf3_finds_is_the_rate_of_the_link_less_the_headers(tmp_path: Path) -> None:
    assert start(tmp_path, IPERF3, "--no-probe").wait(90) in (0, 6)
    goodput_bps = result_of(tmp_path)["summary"]["program.goodput_bps"]
    assert goodput_bps == pytest.approx(TCP_SHARE * 10e6, rel=0.02)


@pytest.mark.timeout(120)
def test_kill_minus_9_of_the_orchestrator_ends_the_programs_too(tmp_path: Path) -> None:
    run = start(tmp_path, HTTP, "--no-probe")
    events = tmp_path / "run" / "events.jsonl"
    started: list[int] = []
    deadline = time.monotonic() + 60
    while len(started) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
        started = [line["pid"] for line in lines_of(events) if line["event"] == "node_program_started"]
    assert len(started) == 3
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def interrupted(folder: Path, moment: str, strike: Callable[["subprocess.Popen[str]"], None]) -> tuple[int, str]:
    """A run that this is done to once it has said `moment`: how it ended, and all that it wrote."""
    (folder / "own.yaml").write_text(HTTP.replace("stop_after: 9 s", "stop_after: 60 s"))
    (folder / "fetch.py").write_text(FETCH)
    argv = [sys.executable, "-m", "orchestrator", "run", str(folder / "own.yaml"), "--out", str(folder / "run")]
    with subprocess.Popen(
        [*argv, "--trust", "--no-probe"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as run:
        deadline = time.monotonic() + 90
        events = folder / "run" / "events.jsonl"
        while not (events.exists() and moment in events.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        strike(run)
        said, _ = run.communicate(timeout=60)
    return run.returncode, said


@pytest.mark.timeout(180)
@pytest.mark.parametrize("moment", ["node_program_started", "fault_injected"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_process_group_ends_a_run_in_order(moment: str, number: int, tmp_path: Path) -> None:
    """As from a shell, a CI job or a service that ends all that it started."""
    code, said = interrupted(tmp_path, moment, lambda run: os.killpg(run.pid, number))
    assert "Traceback" not in said
    assert code == 130, said
    assert "learn" not in said, "programs work, whatever that is"
    assert result_of(tmp_path)["status"] == "interrupted"


@pytest.mark.timeout(180)
def test_a_fork_server_that_dies_breaks_the_run_in_words(tmp_path: Path) -> None:
    def strike(run: "subprocess.Popen[str]") -> None:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        (server,) = [pid for pid in children if b"node_image.fork_server" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(server), signal.SIGKILL)

    code, said = interrupted(tmp_path, "run_began", strike)
    assert "Traceback" not in said
    assert code == 4, said
    assert "the fork server ended by itself" in said


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(bool(without_flower()), reason=without_flower())
def test_flower_as_it_is_learns_over_the_links_and_loses_a_supernode_that_comes_back(tmp_path: Path) -> None:
    """The scenario that users get, with fewer SuperNodes and rounds; its report has both counts of bytes."""
    scenario = yaml.safe_load((ROOT / "scenarios" / "flower.yaml").read_text())
    workload = scenario["workload"]
    for key in ("path", "files"):
        workload[key] = [str((ROOT / "scenarios" / each).resolve()) for each in workload[key]]
    workload["coordinator"][1]["run"][-1] = "num-server-rounds=3 min-nodes=1"
    scenario["devices"][0]["count"] = 2
    scenario["stop_after"] = "240 s"
    scenario["faults"][0] |= {"share": "50 %", "for": "5 s"}
    scenario["expect"] = [{"metric": "test_accuracy", "at_least": "60 %"}]
    assert start(tmp_path, yaml.safe_dump(scenario), "--no-probe", "--allow-degraded").wait(360) == 0
    result = result_of(tmp_path)
    summary = result["summary"]
    assert summary["round"] == 3
    assert summary["program.results"] >= 1
    (fault,) = result["faults"]
    assert fault["error"] is None
    assert fault["healed_at_s"] > fault["injected_at_s"]
    assert summary["wire_bytes"] > summary["program.flower_bytes"] > 0, "headers, polling, what is sent again"
    argv = [sys.executable, "-m", "orchestrator", "report", str(tmp_path / "run")]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    report = (tmp_path / "run" / "report.html").read_text()
    assert "program: flower bytes" in report
    assert "sent on the wire" in report
