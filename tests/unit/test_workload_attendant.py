"""An attendant and the programs that it starts: their order, their readiness, their words; and none outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from node_image.records import Record
from node_image.spec import Chosen, ComputeSpeed, NodeSpec, TaskSpec
from node_image.workload.readings import GrowingFile, Readings
from node_image.workload.spec import Duty, NodeWorkload, Pattern, Program, Ready

ROOT = Path(__file__).parents[2]
NOTHING = Chosen("workload")
SPEC = NodeSpec(
    name="d-1",
    role="device",
    index=0,
    devices=1,
    address="127.0.9.1",
    peers=(),
    coordinator=None,
    seed=1,
    data_seed=1,
    stop_after_s=60.0,
    task=TaskSpec("workload"),
    model=NOTHING,
    algorithm=NOTHING,
    rule=NOTHING,
    speed=ComputeSpeed(1e9, 1e-6),
)
ATTEND = """
import json, os, sys
from node_image.spec import NodeSpec
from node_image.workload import attendant
from node_image.workload.spec import Duty
attendant.END_WITHIN_S = 0.5
spec, duty = json.loads(sys.argv[1])
os._exit(attendant.attend(NodeSpec.from_json(spec), Duty.from_dict(duty)))
"""


def python(name: str, source: str, **more: Any) -> Program:
    return Program(name, (sys.executable, "-u", "-c", source), **more)


class Attended:
    """An attendant at the other end of its pipes."""

    def __init__(self, folder: Path, *programs: Program, declared: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        environment = {"PATH": os.environ["PATH"], "WHERE": "here"}
        duty = Duty(NodeWorkload(programs), declared or {}, environment, str(folder), str(folder))
        self.lines: list[dict[str, Any]] = []
        self._stderr = (folder / "attendant.stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", ATTEND, json.dumps([SPEC.to_json(), asdict(duty)])],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            bufsize=1,
        )
        self.tell(do="init")
        self.hear(event="ready")

    def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")

    def start(self) -> None:
        self.tell(do="start", start_at=time.monotonic())

    def hear(self, **wanted: object) -> dict[str, Any]:
        """The next line that has these values."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            if wanted.items() <= self.lines[-1].items():
                return self.lines[-1]
        raise AssertionError(f"it ended without {wanted}: {self.lines} {self.stderr()}")

    def stop(self) -> int:
        self.tell(do="stop")
        assert self.process.stdout is not None
        self.lines += [json.loads(text) for text in self.process.stdout]
        return self.process.wait(20)

    def stderr(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()

    def told(self, event: str) -> list[str]:
        return [line["program"] for line in self.lines if line.get("event") == event]

    def records(self) -> list[tuple[str, float, str]]:
        found = [line for line in self.lines if "metric" in line]
        return [(line["metric"], line["value"], line["labels"].get("name", "")) for line in found]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._stderr):
            if stream is not None:
                stream.close()


Begin = Callable[..., Attended]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    begun: list[Attended] = []

    def one(*programs: Program, declared: Mapping[str, str] | None = None) -> Attended:
        begun.append(Attended(tmp_path, *programs, declared=declared))
        return begun[-1]

    yield one
    for each in begun:
        each.close()


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_programs_run_one_after_the_other_beside_their_services(begin: Begin, tmp_path: Path) -> None:
    service = python("service", "import time; print('up at last'); time.sleep(60)", ready=Ready(log="up .* last"))
    first = python("first", "import os, sys; print(os.environ); print('aside', file=sys.stderr); open('done', 'w')")
    second = python("second", "import os; assert os.path.exists('done')")
    attended = begin(service, first, second)
    attended.tell(do="prepare", id=3)
    assert attended.hear(to="prepare")["answer"] == {"ready": ["service"]}
    assert attended.told("program_started") == ["service"]
    attended.start()
    attended.hear(event="finished")
    assert attended.told("program_started") == ["service", "first", "second"]
    assert attended.told("program_ended") == ["first", "second"]
    assert attended.stop() == 0
    said = (tmp_path / "first.stdout").read_text()
    assert "'WHERE': 'here'" in said
    assert "HOME" not in said
    assert (tmp_path / "first.stderr").read_text() == "aside\n"


def test_a_port_that_is_listened_to_is_not_spoken_to(begin: Begin, tmp_path: Path) -> None:
    port = 18_443
    source = f"import socket; s = socket.create_server(('127.0.9.1', {port})); s.accept(); print('spoken to')"
    attended = begin(python("service", source, ready=Ready(port=port)))
    attended.tell(do="prepare", id=1)
    assert attended.hear(to="prepare")["answer"] == {"ready": ["service"]}
    assert attended.stop() == 0
    assert (tmp_path / "service.stdout").read_text() == ""


def test_http_is_ready_once_it_answers_with_success(begin: Begin) -> None:
    source = """
import http.server
class Slow(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Slow.asked += 1
        self.send_response(200 if Slow.asked > 2 else 503)
        self.end_headers()
http.server.HTTPServer(("127.0.9.1", 18444), Slow).serve_forever()
"""
    attended = begin(python("service", source, ready=Ready(http="http://127.0.9.1:18444/health")))
    attended.tell(do="prepare", id=1)
    assert attended.hear(to="prepare")["answer"] == {"ready": ["service"]}
    assert attended.stop() == 0


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            python("broken", "print('no room'); exit(3)", ready=Ready(port=1)),
            "broken ended (exit status 3) before port 1",
        ),
        (python("slow", "import time; time.sleep(60)", ready=Ready(port=1, within_s=0.2)), "slow was not ready before"),
        (Program("absent", ("/no/such/program",), ready=Ready(port=1)), "absent cannot be started"),
    ],
)
def test_a_service_that_does_not_become_ready_is_told_with_its_last_words(
    program: Program, reason: str, begin: Begin
) -> None:
    attended = begin(program)
    attended.tell(do="prepare", id=1)
    found = attended.hear(to="prepare")["answer"]["error"]
    assert found.startswith(reason)
    assert program.name != "broken" or found.endswith("no room")


def test_a_program_that_fails_ends_the_node_and_its_last_words_are_the_nodes(begin: Begin) -> None:
    service = python("service", "import os, time; print(os.getpid()); time.sleep(60)", ready=Ready(log=r"\d"))
    attended = begin(service, python("broken", "raise SystemExit('out of paper')"))
    attended.start()
    assert attended.hear(event="failed")["error"].startswith("broken ended by itself with exit status 1")
    assert attended.process.wait(20) == 1
    assert "out of paper" in attended.stderr()
    assert "Traceback" not in attended.stderr()
    started = next(line for line in attended.lines if line.get("program") == "service")
    assert gone(started["pid"])


CHILDREN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
source = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", source])
print("child", child.pid)
time.sleep(60)
"""


def test_stopping_ends_what_a_program_has_forked_even_where_it_will_not(begin: Begin, tmp_path: Path) -> None:
    attended = begin(python("stubborn", CHILDREN, ready=Ready(log="child")))
    attended.tell(do="prepare", id=1)
    attended.hear(to="prepare")
    child = int((tmp_path / "stubborn.stdout").read_text().split()[1])
    assert alive(child)
    assert attended.stop() == 0
    assert gone(child)


def test_a_program_dies_with_its_attendant(begin: Begin) -> None:
    attended = begin(python("service", "import time; print('up'); time.sleep(60)", ready=Ready(log="up")))
    attended.tell(do="prepare", id=1)
    attended.hear(to="prepare")
    pid = next(line["pid"] for line in attended.lines if line.get("event") == "program_started")
    os.kill(attended.process.pid, signal.SIGKILL)
    assert gone(pid)


def test_what_a_program_says_becomes_records(begin: Begin) -> None:
    source = """
import json, time
print("\\x1b[32mINFO\\x1b[0m : round 3: accuracy 81.5 %, goodput 12 kbit/s")
print("accuracy nan %")
with open("said.jsonl", "w") as file:
    file.write(json.dumps({"hits": 2, "other": 5, "test_loss": 0.5, "why": "words"}) + "\\n[1]\\nnot json\\n")
"""
    patterns = (
        Pattern(r"accuracy (?P<test_accuracy>\S+) %", {"test_accuracy": 0.01}),
        Pattern(r"round (?P<round>\d+)"),
        Pattern(r"goodput (?P<goodput_bps>\d+)", {"goodput_bps": 1000.0}),
    )
    declared = {"goodput_bps": "sample", "hits": "counter"}
    attended = begin(python("said", source, patterns=patterns, records="said.jsonl"), declared=declared)
    attended.start()
    attended.hear(event="finished")
    assert attended.stop() == 0
    assert sorted(attended.records()) == [
        ("program_count", 2, "hits"),
        ("program_sample", 12000.0, "goodput_bps"),
        ("round", 3.0, ""),
        ("test_accuracy", pytest.approx(0.815), ""),
        ("test_loss", 0.5, ""),
    ]


def test_a_growing_file_is_read_line_by_line_and_anew_where_it_became_shorter(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    file = GrowingFile(path)
    assert list(file.new_lines()) == []
    path.write_text("one\ntw")
    assert list(file.new_lines()) == ["one"]
    path.write_text("one\ntwo\n")
    assert list(file.new_lines()) == ["two"]
    path.write_text("new\n")
    assert list(file.new_lines()) == ["new"]


def test_a_pattern_may_be_found_several_times_in_a_line() -> None:
    found: list[Record] = []
    take = Readings({"t_s": "sample"}, lambda: 1.5, found.append).matching([Pattern(r"t=(?P<t_s>\d+)")])
    take("t=1 t=2")
    assert [(record.t, record.value) for record in found] == [(1.5, 1.0), (1.5, 2.0)]
