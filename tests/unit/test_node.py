"""A node as a process: what it says, how it ends, and that it never outlives its orchestrator."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_image.node import run_part
from node_image.spec import Chosen, ComputeSpeed, NodeSpec, Peer, TaskSpec
from orchestrator.keys import RunKeys

KEYS = RunKeys("run")
ROOT = Path(__file__).parents[2]

COORDINATOR = NodeSpec(
    name="coordinator",
    role="coordinator",
    index=-1,
    devices=1,
    address="127.0.8.1",
    peers=(Peer("alice", "127.0.8.2"),),
    coordinator="coordinator",
    seed=1,
    data_seed=1,
    stop_after_s=3600.0,
    task=TaskSpec("none"),
    model=Chosen("none"),
    algorithm=Chosen("fake"),
    rule=Chosen("none"),
    speed=ComputeSpeed(1e9, 1e-6),
)
ALICE = replace(
    COORDINATOR,
    name="alice",
    role="device",
    index=0,
    address="127.0.8.2",
    peers=(Peer("coordinator", "127.0.8.1"),),
)


class Node:
    """A node process at the other end of its pipes."""

    def __init__(self, spec: NodeSpec, workdir: Path, port: int) -> None:
        self._state_dir = workdir / "state"
        self.keys = KEYS.new_life(spec)
        self.lines: list[dict[str, Any]] = []
        self._stderr = (workdir / f"{spec.name}.stderr").open("w+")
        path = workdir / f"{spec.name}.json"
        path.write_text(spec.to_json())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.fake_node", str(path), str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            bufsize=1,
        )

    def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")

    def init(self) -> None:
        self.tell(do="init", **self.keys, state_dir=str(self._state_dir))
        self.hear("event", "ready")

    def start(self) -> None:
        self.tell(do="start", start_at=time.monotonic())
        self.hear("event", "started")

    def hear(self, key: str, value: object) -> dict[str, Any]:
        """The next line in which `key` is `value`."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            if self.lines[-1].get(key) == value:
                return self.lines[-1]
        raise AssertionError(f"the node ended without {key} {value}: {self.lines} {self.stderr()}")

    def end(self) -> int:
        """Exit status, with everything it still said in `lines`."""
        assert self.process.stdout is not None
        self.lines += [json.loads(text) for text in self.process.stdout]
        return self.process.wait(10)

    def stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            if stream is not None:
                stream.close()


class Household:
    """Starts node processes and sees to it that none is left."""

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._nodes: list[Node] = []
        with socket.create_server(("127.0.8.1", 0)) as probe:
            self._port: int = probe.getsockname()[1]

    def node(self, spec: NodeSpec = ALICE, act: str = "wait", stop_after_s: float = 3600.0) -> Node:
        chosen = replace(spec, algorithm=Chosen("fake", {"act": act}), stop_after_s=stop_after_s)
        self._nodes.append(Node(chosen, self._workdir, self._port))
        return self._nodes[-1]

    def close(self) -> None:
        for node in self._nodes:
            node.close()


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    household = Household(tmp_path)
    yield household
    household.close()


def test_two_nodes_converse_finish_test_their_models_and_leave(household: Household) -> None:
    nodes = [household.node(spec, act="converse") for spec in (COORDINATOR, ALICE)]
    for node in nodes:
        node.init()
    for node in nodes:
        node.start()
    for node in nodes:
        assert node.hear("event", "finished")["reason"] == "returned"
    for node in nodes:
        node.tell(do="stop", evaluate=True)
    for node, accuracy in zip(nodes, (0.4, 0.5), strict=True):
        assert node.end() == 0
        assert node.stderr() == ""
        final = [line for line in node.lines if line.get("labels", {}).get("split") == "final"]
        assert [line["metric"] for line in final] == ["test_accuracy", "test_top_k"]  # the loss was not finite
        assert final[0]["value"] == pytest.approx(accuracy)
        assert final[1]["labels"] == {"k": "3", "split": "final"}
        assert [line["t"] for line in node.lines] == sorted(line["t"] for line in node.lines)
    received = [line for line in nodes[0].lines if line.get("labels") == {"kind": "update", "peer": "alice"}]
    assert [line["value"] for line in received] == [64 + 4 * 10]


def test_a_node_whose_time_is_up_says_so_and_waits_to_be_stopped(household: Household) -> None:
    node = household.node(stop_after_s=0.05)
    node.init()
    node.start()
    assert node.hear("event", "finished")["reason"] == "time_up"
    node.tell(do="stop")
    assert node.end() == 0
    assert not any(line.get("metric") == "test_accuracy" for line in node.lines)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        ("raise", "RuntimeError: the algorithm gave up"),
        ("diverge", "node_image.recorder.NotFiniteError: train_loss is nan"),
        ("time out", "TimeoutError: of the algorithm's own"),
    ],
)
def test_an_algorithm_that_fails_ends_its_node_with_its_last_words(household: Household, act: str, error: str) -> None:
    node = household.node(act=act)
    node.init()
    node.start()
    assert node.hear("event", "failed")["error"].startswith(error)
    assert node.end() == 1
    assert "Traceback" in node.stderr()
    assert error in node.stderr()


def test_a_taken_port_is_a_failure_with_a_reason(household: Household) -> None:
    household.node().init()
    second = household.node()
    second.tell(do="init", **second.keys, state_dir="unused")
    assert "Address already in use" in second.hear("event", "failed")["error"]
    assert second.end() == 1


@pytest.mark.parametrize("line", ["no json", '{"do": "dance"}', "{}", "[]", '{"do": "start", "start_at": 0}'])
def test_an_order_that_makes_no_sense_is_a_failure_and_no_hang(household: Household, line: str) -> None:
    node = household.node()
    assert node.process.stdin is not None
    node.process.stdin.write(line + "\n")
    node.hear("event", "failed")
    assert node.end() == 1


@pytest.mark.parametrize("act", ["wait", "compute"])
def test_a_node_ends_at_once_when_its_orchestrator_is_gone(household: Household, act: str) -> None:
    node = household.node(act=act)
    node.init()
    node.start()
    assert node.process.stdin is not None
    node.process.stdin.close()
    assert node.end() == 1
    assert node.stderr() == ""


def test_an_orchestrator_that_stops_a_node_may_close_the_pipe_at_once(household: Household) -> None:
    node = household.node()
    node.init()
    node.start()
    node.tell(do="stop", evaluate=True)
    assert node.process.stdin is not None
    node.process.stdin.close()
    assert node.end() == 0
    assert node.lines[-2]["metric"] == "test_top_k"
    assert node.lines[-1]["event"] == "model"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("act", ["wait", "compute"])
def test_a_signal_ends_a_node_without_a_traceback(household: Household, number: signal.Signals, act: str) -> None:
    node = household.node(act=act)
    node.init()
    node.start()
    node.process.send_signal(number)
    assert node.end() == 128 + number
    assert node.stderr() == ""


def test_what_a_library_prints_does_not_mix_with_the_records(household: Household) -> None:
    node = household.node(act="print")
    node.init()
    node.start()
    node.tell(do="stop")
    assert node.end() == 0
    assert node.stderr() == "a library talks\n"


def test_probes_run_beside_each_other_before_the_start(household: Household) -> None:
    node = household.node()
    node.tell(do="probe", id=8, role="listen", seconds=0.2)
    node.tell(do="probe", id=9, role="ping")
    assert node.hear("to", "probe") == {"answer": {"error": "KeyError: 'to'"}, "to": "probe", "id": 9}
    assert node.hear("to", "probe") == {"answer": {}, "to": "probe", "id": 8}
    node.init()


def test_a_nodes_keys_are_in_no_file_argument_or_environment(household: Household, tmp_path: Path) -> None:
    node = household.node()
    node.init()
    process = Path("/proc") / str(node.process.pid)
    seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    seen += b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for key in (node.keys["listening"], node.keys["pairs"]["coordinator"]):
        assert key.encode() not in seen
        assert bytes.fromhex(key) not in seen


def test_a_part_ends_when_it_returns_or_when_its_time_is_up() -> None:
    assert asyncio.run(run_part(asyncio.sleep(0), stop_in_s=10)) == "returned"
    assert asyncio.run(run_part(asyncio.sleep(3600), stop_in_s=0.001)) == "time_up"
    assert asyncio.run(run_part(asyncio.sleep(3600), stop_in_s=-5)) == "time_up"
