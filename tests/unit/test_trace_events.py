"""`edgebed trace`: a run as trace events, held to the rules of the format and to the run's own records."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analysis.load import NodeRecord, Run, load_run
from analysis.trace_events import trace
from node_image.records import Record
from node_image.spec import Chosen
from orchestrator.commands.trace import trace as command
from orchestrator.errors import UsageError
from orchestrator.outcome import RunOptions
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from tests.plans import fault, star
from tests.unit.recorded_runs import write_comparison

Event = dict[str, Any]
PHASES = {"M", "X", "i", "b", "e", "s", "f", "C"}
METADATA = {"process_name", "process_sort_index", "thread_name"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short simulated run in which a device leaves and comes back."""
    plan = star(2, algorithm=Chosen("fedavg", {"local_steps": 5}), stop_after_s=4.0,
                faults=(fault("dropout", 1.5, 3.0, nodes=("d-1",), parameters={"by": "crash"}),))  # fmt: skip
    folder = tmp_path_factory.mktemp("trace") / "run"
    return execute(plan, "", RunOptions(out=folder, substrate="simulation"), QuietDisplay()).directory


@pytest.fixture(scope="module")
def run(directory: Path) -> Run:
    return load_run(directory, "run")


@pytest.fixture(scope="module")
def events(run: Run) -> list[Event]:
    """As they come out of the file."""
    found: list[Event] = json.loads(json.dumps(trace(run)))["traceEvents"]
    return found


def process(events: list[Event], name: str) -> int:
    return next(int(e["pid"]) for e in events if e["name"] == "process_name" and e["args"]["name"] == name)


def rules_broken(events: list[Event]) -> list[str]:
    """What is not as the format's description has it (Trace Event Format, Google, 2016)."""
    broken = []
    spans: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    flows: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    slices: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        if event["ph"] not in PHASES or not all(type(event[key]) is int for key in ("ts", "pid", "tid")):
            broken.append(f"not an event: {event}")
        elif event["ts"] < 0:
            broken.append(f"before the beginning: {event}")
        elif event["ph"] == "M" and event["name"] not in METADATA:
            broken.append(f"no such metadata: {event}")
        elif event["ph"] == "i" and event["s"] not in ("g", "p", "t"):
            broken.append(f"an instant without a scope: {event}")
        elif event["ph"] == "C" and not all(type(each) in (int, float) for each in event["args"].values()):
            broken.append(f"a counter of something else than numbers: {event}")
        elif event["ph"] == "X":
            if event["dur"] < 0:
                broken.append(f"ends before it begins: {event}")
            slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] in "be":
            spans[event["pid"], event["cat"], event["id"], event["name"]].append(event)
        elif event["ph"] in "sf":
            flows[event["cat"], event["id"], event["name"]].append(event)
    for key, pair in spans.items():
        if [each["ph"] for each in pair] != ["b", "e"] or pair[0]["ts"] > pair[1]["ts"]:
            broken.append(f"not one begin and one end: {key}")
    for key, pair in flows.items():
        if [each["ph"] for each in pair] != ["s", "f"] or pair[0]["ts"] > pair[1]["ts"] or pair[1]["bp"] != "e":
            broken.append(f"not a flow from one slice to a later one: {key}")
        for end in pair:
            if not any(begin <= end["ts"] < stop for begin, stop in slices[end["pid"], end["tid"]]):
                broken.append(f"a flow without a slice to hold it: {end}")
    for track, found in slices.items():
        open_until: list[int] = []
        for begin, stop in sorted(found, key=lambda each: (each[0], -each[1])):
            while open_until and open_until[-1] <= begin:
                open_until.pop()
            if open_until and stop > open_until[-1]:
                broken.append(f"slices that overlap on track {track} at {begin}")
            open_until.append(stop)
    return broken


def test_a_trace_keeps_the_rules_of_the_format(events: list[Event]) -> None:
    assert {event["ph"] for event in events} == PHASES
    assert rules_broken(events) == []
    drawn = [event["ts"] for event in events if event["ph"] != "M"]
    assert drawn == sorted(drawn)


def test_the_rules_find_what_breaks_them(events: list[Event]) -> None:
    first = {phase: next(event for event in events if event["ph"] == phase) for phase in PHASES}
    for mistake in (
        [{**first["X"], "ts": -1}],
        [{**first["X"], "ph": "Q"}],
        [first["b"]],
        [first["s"], first["f"]],  # without the slices
        [{**first["X"], "ts": 0, "dur": 10}, {**first["X"], "ts": 5, "dur": 10}],
    ):
        assert rules_broken(mistake)


def test_every_phase_evaluation_and_message_of_the_records_is_there_once(run: Run, events: list[Event]) -> None:
    slices = Counter(event["cat"] + (" " + event["name"]).split(" ")[1] for event in events if event["ph"] == "X")
    assert slices["computelocal"] == len(run.of("local_phase_s")) > 0
    assert slices["computeevaluate"] == len(run.of("evaluate_s")) > 0
    sent = [each for each in run.of("sent_payload_bytes") if each.record.labels["kind"] != "hello"]
    received = [each for each in run.of("received_payload_bytes") if each.record.labels["kind"] != "hello"]
    assert slices["messagesend"] == len(sent) > len(received) == slices["messagereceive"]  # one was lost by the fault
    assert sum(event["ph"] == "s" for event in events) == len(received)


def test_times_are_microseconds_of_the_scenario_s_clock(run: Run, events: list[Event]) -> None:
    phase = run.of("local_phase_s")[0]
    begins_us = round((phase.record.t - phase.record.value) * 1e6)
    slice_ = next(event for event in events if event["name"] == "local phase" and event["ts"] == begins_us)
    assert slice_["pid"] == process(events, phase.node)
    assert slice_["dur"] == pytest.approx(phase.record.value * 1e6, abs=1)
    assert slice_["args"]["steps"] == 5


def test_a_fault_is_a_span_by_itself_and_on_the_node_it_hit(events: list[Event]) -> None:
    fault_spans = [(e["pid"], e["name"], e["ts"]) for e in events if e.get("cat") == "fault"]
    itself, victim = process(events, "faults and links"), process(events, "d-1")
    assert sorted(fault_spans) == sorted(
        (pid, name, ts)
        for pid, name in ((itself, "dropout: d-1"), (victim, "fault: dropout"))
        for ts in (1_500_000, 3_000_000)
    )
    assert ("b", victim) in {(e["ph"], e["pid"]) for e in events if e["name"] == "down" and e["ts"] == 1_500_000}


def test_what_is_on_its_way_to_a_node_adds_up_to_nothing_once_all_has_arrived(events: list[Event]) -> None:
    queues: dict[int, list[float]] = defaultdict(list)
    for event in events:
        if event["name"] == "on its way to it":
            queues[event["pid"]].append(event["args"]["bytes"])
    assert len(queues) == 3
    for values in queues.values():
        assert values[-1] == 0
        assert min(values) == 0 < max(values)


def test_the_rates_of_a_link_add_up_to_its_bytes(run: Run, events: list[Event]) -> None:
    link = run.of("link_delivered_bytes")[0].record.labels["link"]
    told = [(event["ts"], event["args"]["delivered_bps"]) for event in events if event["name"] == f"link {link}"]
    ends = [at for at, _ in told[1:]] + [round(run.of("link_delivered_bytes")[-1].record.t * 1e6)]
    total = sum(rate * (end - begin) / 8e6 for (begin, rate), end in zip(told, ends, strict=True))
    bytes_ = sum(each.record.value for each in run.of("link_delivered_bytes") if each.record.labels["link"] == link)
    assert total == pytest.approx(bytes_, rel=1e-3)


def test_what_a_node_computes_at_the_same_time_lies_on_a_track_beside(run: Run) -> None:
    node = run.plan["nodes"][0]["name"]
    twice = tuple(NodeRecord(node, Record(t, "evaluate_s", 1.0)) for t in (2.0, 2.5))
    found = trace(Run(run.directory, "", run.plan, records=twice))["traceEvents"]
    assert rules_broken(found) == []
    assert [event["tid"] for event in found if event["ph"] == "X"] == [1, 2]


def test_the_command_writes_the_file_and_says_where(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    result = CliRunner().invoke(command, [str(directory), "-o", str(path)], standalone_mode=False)
    assert result.exception is None, result.output
    assert result.stdout.strip() == str(path)
    assert json.loads(path.read_text())["otherData"]["substrate"] == "simulation"


def test_of_a_comparison_one_run_must_be_named(tmp_path: Path) -> None:
    study = write_comparison(tmp_path / "study")
    result = CliRunner().invoke(command, [str(study)], standalone_mode=False)
    assert isinstance(result.exception, UsageError)
    assert "algorithm=fedavg-seed=1" in str(result.exception)
