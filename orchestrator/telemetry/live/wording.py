"""Events in words, for the log of the page: one line each, of one of a few kinds that a reader can filter by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.quantities import percent, seconds, with_unit

LONGEST = 600  # characters of a line; events.jsonl has all
KNOWN = {"t", "event", "n"}
FAULTS = {
    "fault_injected": "began",
    "fault_healed": "ended",
    "fault_resumed": "acts again",
    "fault_failed": "could not begin",
    "fault_not_healed": "could not be ended",
}
RUN = {
    "run_began": "The run began.",
    "run_resumed": "The run goes on: it was killed here.",
    "run_ended": "The run ended.",
}
LINKS = {"links_out_of_range": "out of range", "links_in_range": "in range again"}
NODES = {"node_ready": "is ready", "node_started": "started", "node_finished": "finished"}


@dataclass(frozen=True)
class Line:
    """One line of the log; `kind` is fault, link, node, run or problem, `about` the nodes and links it names."""

    t: float
    kind: str
    text: str
    about: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"t": self.t, "kind": self.kind, "text": self.text, "about": self.about}


def worded(t: float, event: str, raw: Mapping[str, Any]) -> Line:
    """The line of one event; one that is not known (of another version) is told field by field."""
    about = _about(raw)
    if event in FAULTS:
        failed = event in ("fault_failed", "fault_not_healed")
        seen = str(raw.get("error" if failed else "evidence") or "")
        whom = f" of {', '.join(about)}" if about else ""
        text = f"{raw.get('kind', 'fault')}{whom} {FAULTS[event]}{f': {seen}' if seen else ''}"
        return Line(t, "problem" if failed else "fault", text[:LONGEST], about)
    if event in RUN:
        return Line(t, "run", RUN[event], ())
    if event in NODES and "node" in raw:
        reason = f" ({str(raw['reason']).replace('_', ' ')})" if raw.get("reason") else ""
        return Line(t, "node", f"{raw['node']} {NODES[event]}{reason}", about)
    if event == "node_exited":
        if raw.get("asked"):
            return Line(t, "node", f"{raw.get('node')} stopped, as asked", about)
        words = " | ".join(str(raw.get("last_words", "")).splitlines()[-3:]) or "nothing on its stderr"
        text = f"{raw.get('node')} ended by itself (exit status {raw.get('returncode')}): {words}"
        return Line(t, "problem", text[:LONGEST], about)
    if event == "links_shaped" and isinstance(raw.get("links"), Mapping):
        text = "; ".join(f"{link} is now {_shape(shape)}" for link, shape in raw["links"].items())
        return Line(t, "link", text[:LONGEST], tuple(map(str, raw["links"])))
    if event in LINKS:
        return Line(t, "link", f"{', '.join(about)} {LINKS[event]}"[:LONGEST], about)
    if event == "bad_line":
        text = f"{raw.get('node')} wrote a line that is no record ({raw.get('error')}): {raw.get('line')}"
        return Line(t, "problem", text[:LONGEST], about)
    fields = ", ".join(f"{key} {value}" for key, value in raw.items() if key not in KNOWN)
    return Line(t, "run", f"{event.replace('_', ' ')}{f': {fields}' if fields else ''}"[:LONGEST], about)


def _shape(shape: Mapping[str, Any]) -> str:
    if not shape.get("up", True):
        return "down"
    rate = shape.get("rate_bps")
    texts = [
        "of any rate" if rate is None else with_unit(rate, "bit/s"),
        f"{seconds(shape.get('delay_s') or 0.0)} one way",
    ]
    return ", ".join(texts + ([f"loss {percent(shape['loss'])}"] if shape.get("loss") else []))


def _about(raw: Mapping[str, Any]) -> tuple[str, ...]:
    named = raw.get("nodes") or raw.get("links") or ([raw["node"]] if "node" in raw else ())
    return tuple(str(each) for each in named) if isinstance(named, (list, tuple)) else ()
