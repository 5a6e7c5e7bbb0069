"""A run as Chrome trace events, which Perfetto (ui.perfetto.dev) shows as a time line. Pure.

Times are whole microseconds of the scenario's clock since the run began. Process 0 of the trace stands for the
orchestrator, with the faults; then each node is a process, the coordinator first:

    track "pi-1"              computing: a slice for each local phase and each evaluation; and a mark of 1 us for each
                              message handed to the transport or arrived. A flow (an arrow) joins a message's two marks
    tracks "update to x"      messages on their way, from the hand-over to the arrival
    tracks "fault: dropout"   while a fault acts on the node; likewise "down" and "paused"
    counters                  bytes on their way to it (the queue), test accuracy, and what its program measures

Single steps are not recorded, their number and mean are: a local phase tells both. Links are counters of process 0:
bits per second, means over the time since the sample before. The form: "Trace Event Format", Google, 2016.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from analysis.activity import COMPUTING, Span, lanes
from analysis.load import Run
from analysis.messages import messages

Event = dict[str, Any]
Pids = Mapping[str, int]  # processes of the trace, by node
ORCHESTRATOR = 0
OWN_TRACK, EVENTS_TRACK = 1, 1  # threads: a node's own, which bears its name; the orchestrator's
MARK_US = 1
TITLES = {"local_phase_s": "local phase", "evaluate_s": "evaluate"}
GAUGES = {"test_accuracy": "split", "program_value": "name"}  # shown as counters, told apart by this label
LINKS = {"link_offered_bytes": "offered_bps", "link_delivered_bytes": "delivered_bps"}
SHOWN_AS_SPANS = ("fault_injected", "fault_healed")


def trace(run: Run) -> dict[str, Any]:
    """The whole trace, a JSON object; `otherData` says which run it is, and what of the run could not be read."""
    pids = {lane.node: place for place, lane in enumerate(lanes(run), ORCHESTRATOR + 1)}
    parts = (_events(run), _faults(run, pids), _states(run, pids), _computing(run, pids), _messages(run, pids))
    drawn = [event for part in (*parts, _gauges(run, pids), _links(run)) for event in part]
    return {
        "traceEvents": [*_titles(pids), *sorted(drawn, key=lambda event: int(event["ts"]))],
        "displayTimeUnit": "ms",
        "otherData": {
            "scenario": run.name,
            "run": run.label,
            "seed": run.plan.get("seed"),
            "substrate": run.fact("substrate"),
            "shaper": run.fact("shaper"),
            "clock": "microseconds of scenario time since the run began",
            "problems": list(run.problems),
        },
    }


def _titles(pids: Pids) -> Iterator[Event]:
    """Names of processes and tracks, and the order of processes."""
    for name, pid in {"faults and links": ORCHESTRATOR, **pids}.items():
        yield _event("M", "process_name", 0, pid, args={"name": name})
        yield _event("M", "process_sort_index", 0, pid, args={"sort_index": pid})
        track = "events" if pid == ORCHESTRATOR else name
        yield _event("M", "thread_name", 0, pid, args={"name": track})


def _events(run: Run) -> Iterator[Event]:
    """What the orchestrator did, line by line, but for the faults."""
    for event in run.events:
        if event["event"] not in SHOWN_AS_SPANS:
            details = {key: value for key, value in event.items() if key not in ("t", "event")}
            name = f"{event['event']} {event.get('node', '')}".strip()
            yield _event("i", name, _us(event.get("t", 0.0)), ORCHESTRATOR, cat="event", s="t", args=details)


def _faults(run: Run, pids: Pids) -> Iterator[Event]:
    """Every fault as it acted: once by itself, and once with each node that it touched."""
    for number, fault in enumerate(run.acted):
        span = fault.at_s, run.length_s if fault.heal_s is None else fault.heal_s
        args = {"victims": list(fault.victims), "healed": fault.heal_s is not None}
        some = ", ".join(fault.victims[:3]) + (", ..." if len(fault.victims) > 3 else "")
        yield from _span("fault", f"{fault.kind}: {some}", span, ORCHESTRATOR, f"fault {number}", args)
        for node in dict.fromkeys((*fault.touched, *fault.victims)):
            if node in pids:
                yield from _span("fault", f"fault: {fault.kind}", span, pids[node], f"fault {number} {node}", args)


def _states(run: Run, pids: Pids) -> Iterator[Event]:
    """When a node did not run, or was paused."""
    for lane in lanes(run):
        for state in ("down", "paused"):
            for number, span in enumerate(lane.spans[state]):
                yield from _span("state", state, span, pids[lane.node], f"{state} {number} {lane.node}", {})


def _computing(run: Run, pids: Pids) -> Iterator[Event]:
    """Local phases and evaluations. Slices of one track may not overlap: what would goes to a track beside it."""
    means: dict[str, deque[float]] = defaultdict(deque)  # of the steps of each local phase, in the order of the phases
    for entry in run.of("local_step_s"):
        means[entry.node].append(entry.record.value)
    found: dict[str, list[tuple[int, int, str, Event]]] = defaultdict(list)
    for metric in COMPUTING:
        for entry in run.of(metric):
            lasted_s = entry.record.value
            args = {"lasted_s": lasted_s}
            if metric == "local_phase_s" and means[entry.node] and (mean_s := means[entry.node].popleft()) > 0:
                args |= {"steps": round(lasted_s / mean_s), "mean_step_s": mean_s}
            span = _us(entry.record.t - lasted_s), _us(entry.record.t)
            found[entry.node].append((*span, TITLES[metric], args))
    for node, spans in found.items():
        if node in pids:
            yield from _on_tracks(pids[node], node, sorted(spans, key=lambda span: span[:2]))


def _on_tracks(pid: int, node: str, spans: Iterable[tuple[int, int, str, Event]]) -> Iterator[Event]:
    free_us: dict[int, int] = {}  # from when on each track is free
    for began_us, end_us, name, args in spans:
        track = next(number for number in count(OWN_TRACK) if free_us.get(number, 0) <= began_us)
        if track not in free_us and track > OWN_TRACK:
            yield _event("M", "thread_name", 0, pid, track, args={"name": f"{node}, at the same time"})
        free_us[track] = end_us
        yield _event("X", name, began_us, pid, track, cat="compute", dur=end_us - began_us, args=args)


def _messages(run: Run, pids: Pids) -> Iterator[Event]:
    """Each message where it was handed over, on its way, and where it arrived; and how much is on its way to each."""
    queued: dict[str, list[tuple[int, float]]] = defaultdict(list)  # changes of the bytes on their way, by receiver
    for number, message in enumerate(messages(run).all):
        if message.sender not in pids or message.receiver not in pids:
            continue
        here, there = pids[message.sender], pids[message.receiver]
        sent_us = _us(message.sent_s)
        args: Event = {"bytes": message.size_bytes, "from": message.sender, "to": message.receiver}
        mark: Event = {"cat": "message", "dur": MARK_US}
        if message.arrived_s is None:
            lost = {**args, "arrived": "never, or it cannot be told when"}
            yield _event("X", f"send {message.kind} to {message.receiver}", sent_us, here, args=lost, **mark)
            continue
        arrived_us = max(sent_us, _us(message.arrived_s))  # clocks of two boards are never quite the same
        args["under_way_s"] = message.arrived_s - message.sent_s
        flow: Event = {"cat": "message", "id": number}
        yield _event("X", f"send {message.kind} to {message.receiver}", sent_us, here, args=args, **mark)
        yield _event("s", message.kind, sent_us, here, **flow)
        yield from _span(
            "message",
            f"{message.kind} to {message.receiver}",
            (message.sent_s, message.arrived_s),
            here,
            f"message {number}",
            args,
        )
        yield _event("X", f"receive {message.kind} of {message.sender}", arrived_us, there, args=args, **mark)
        yield _event("f", message.kind, arrived_us, there, bp="e", **flow)
        queued[message.receiver] += [(sent_us, message.size_bytes), (arrived_us, -message.size_bytes)]
    for node, changes in queued.items():
        yield from _added_up("on its way to it", pids[node], changes)


def _added_up(name: str, pid: int, changes: Iterable[tuple[int, float]]) -> Iterator[Event]:
    """A counter that begins at 0, with one value for each instant at which it changes."""
    by_instant: dict[int, float] = defaultdict(float)
    for at_us, change in changes:
        by_instant[at_us] += change
    value = 0.0
    for at_us in sorted(by_instant):
        value += by_instant[at_us]
        yield _event("C", name, at_us, pid, args={"bytes": value})


def _gauges(run: Run, pids: Pids) -> Iterator[Event]:
    for metric, label in GAUGES.items():
        for entry in run.of(metric):
            if entry.node in pids:
                told_apart = entry.record.labels.get(label, "")
                name = told_apart if metric == "program_value" else f"{metric} {told_apart}".strip()
                yield _event("C", name, _us(entry.record.t), pids[entry.node], args={"value": entry.record.value})


def _links(run: Run) -> Iterator[Event]:
    """Bit rates of links. A sample without a record is one in which nothing came or went: the rate is 0 there."""
    metrics = {metric: run.of(metric) for metric in LINKS}
    instants = sorted({entry.record.t for entries in metrics.values() for entry in entries})
    since = dict(zip(instants, [0.0, *instants], strict=False))
    rates: dict[str, dict[float, dict[str, float]]] = defaultdict(
        lambda: defaultdict(lambda: dict.fromkeys(LINKS.values(), 0.0))
    )
    for metric, entries in metrics.items():
        for entry in entries:
            t = entry.record.t
            if t > since[t]:
                rates[entry.record.labels.get("link", "")][since[t]][LINKS[metric]] += (
                    entry.record.value * 8 / (t - since[t])
                )
    ends = {begin: end for end, begin in since.items()}
    for link, by_begin in rates.items():
        for begin, rate in by_begin.items():
            yield _event("C", f"link {link}", _us(begin), ORCHESTRATOR, args=rate)
            if ends[begin] not in by_begin:
                yield _event("C", f"link {link}", _us(ends[begin]), ORCHESTRATOR, args=dict.fromkeys(rate, 0.0))


def _span(kind: str, name: str, span: Span, pid: int, number: str, args: Event) -> Iterator[Event]:
    """A span that may overlap others of its name: an asynchronous event, its begin and its end."""
    begin_us = _us(span[0])
    same: Event = {"cat": kind, "id": number}
    yield _event("b", name, begin_us, pid, args=args, **same)
    yield _event("e", name, max(begin_us, _us(span[1])), pid, **same)


def _event(phase: str, name: str, at_us: int, pid: int, track: int = OWN_TRACK, **more: Any) -> Event:
    return {"ph": phase, "name": name, "ts": at_us, "pid": pid, "tid": track, **more}


def _us(t: float) -> int:
    """Microseconds, as whole numbers: spans that touch in truth do in the trace; nothing is before the run began."""
    return max(0, round(t * 1e6))
