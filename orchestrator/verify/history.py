"""A run's history: what it has written down, read once and put in order for the checkers."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

from node_image import registry
from node_image.parameters import read
from node_image.records import Record
from orchestrator.errors import UsageError
from orchestrator.faults.schedule import FaultReport
from orchestrator.plan import Plan, plan_from_json
from orchestrator.substrates.base import LinkCount
from orchestrator.summary import Summary, read_run

VIRTUAL_TOLERANCE_S = 2e-6  # times are written with six digits
REAL_TOLERANCE_S = 0.25  # between what happens and its being seen and written, on a busy machine
Records = Sequence[Record]


@dataclass(frozen=True)
class Event:
    """A line of events.jsonl. `number` None: written before events were numbered."""

    number: int | None
    t: float
    name: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """Everything that the checkers look at. `is_virtual`: times are exact, and no record can have been lost."""

    plan: Plan
    is_virtual: bool
    events: Sequence[Event]
    nodes: Mapping[str, Records]  # by node, in the order written
    own: Records  # of the orchestrator
    links: Mapping[str, LinkCount] | None  # at the end; None: not written
    faults: Sequence[FaultReport]
    summary: Summary
    baseline_accuracy: float | None = None  # of the same run without its faults
    margin: float = 0.0  # of accuracy that the faults may cost
    _by_metric: dict[str, dict[str, list[Record]]] = field(default_factory=dict)

    @property
    def tolerance_s(self) -> float:
        """How far apart two times of one instant may be."""
        return VIRTUAL_TOLERANCE_S if self.is_virtual else REAL_TOLERANCE_S

    def of(self, node: str, metric: str) -> list[Record]:
        """A node's records of one metric, in order."""
        found = self._by_metric.get(node)
        if found is None:
            found = self._by_metric[node] = defaultdict(list)
            for record in self.nodes.get(node, ()):
                found[record.metric].append(record)
        return found.get(metric, [])

    def named(self, *names: str) -> Iterator[Event]:
        """The events of these names, in order."""
        return (event for event in self.events if event.name in names)

    @cached_property
    def ended_s(self) -> float | None:
        """When the run ended, and every fault with it; None: it did not come so far."""
        return next((event.t for event in self.named("run_ended")), None)

    @cached_property
    def incomplete(self) -> frozenset[str]:
        """Nodes of which records are missing: lost on a path that was cut, or with a node that had kept them."""
        lost = {str(event.details["node"]) for event in self.named("node_records_lost")}
        lost |= {str(event.details["node"]) for event in self.named("records_delayed") if event.details["lost"]}
        for fault in self.faults:
            if fault.kind == "metrics_down" and fault.injected_at_s is not None:
                until_s = inf if fault.healed_at_s is None else fault.healed_at_s
                died = [e for e in self.named("node_exited") if fault.injected_at_s <= e.t <= until_s]
                lost |= {str(event.details["node"]) for event in died} & set(fault.nodes)
                killed = [e for e in self.named("run_resumed") if fault.injected_at_s <= e.t <= until_s]
                lost |= {str(node) for event in killed for node in event.details["nodes"]} & set(fault.nodes)
        return frozenset(lost)

    @cached_property
    def coordinator(self) -> str | None:
        """The coordinator's name."""
        return next((node.name for node in self.plan.nodes if node.role == "coordinator"), None)

    def parameters_of(self, fault: int) -> Mapping[str, Any]:
        """A planned fault's own parameters, by its index; none of one that is not in the plan."""
        return next((each.parameters for each in self.plan.faults if each.index == fault), {})

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return self.plan.nodes[0].spec.algorithm.name

    def parameter(self, name: str) -> Any:
        """What the algorithm's parameter is, written or not; None where it has none of that name."""
        chosen = self.plan.nodes[0].spec.algorithm
        known = registry.ALGORITHMS.get(chosen.name)
        return getattr(read(known.Parameters, chosen.parameters), name, None) if known is not None else None


def read_history(directory: Path) -> History:
    """The history of a run directory, whatever of it is there; UsageError where that is too little."""
    try:
        plan = plan_from_json((directory / "plan.json").read_text(encoding="utf-8"))
        result = _json(directory / "result.json")
        if result is None:
            raise UsageError(
                f"{directory} has no result.json: the run lives still, or was killed; to go on with it: "
                f"edgebed run --resume {directory}"
            )
        faults = [FaultReport(**_tuples(each)) for each in result["faults"]]
        is_virtual = result["substrate"] == "simulation"
        return gather(directory, plan, read_run(plan, directory), faults, result["summary"], is_virtual=is_virtual)
    except OSError as error:
        raise UsageError(f"{directory} cannot be read as a run: {error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{directory} is of another version of Edgebed, or damaged: {error}") from error


def gather(
    directory: Path,
    plan: Plan,
    records: tuple[Mapping[str, Records], Records],
    faults: Sequence[FaultReport],
    summary: Summary,
    *,
    is_virtual: bool,
) -> History:
    """The history of a run of which the records (of its nodes, and the orchestrator's own) have been read already."""
    counted = _json(directory / "links.json")
    return History(
        plan,
        is_virtual,
        tuple(read_events(directory / "events.jsonl")),
        *records,
        None if counted is None else {name: LinkCount(**each) for name, each in counted["links"].items()},
        faults,
        summary,
    )


def read_events(path: Path) -> Iterator[Event]:
    """The events of a file; none if there is no file. A torn last line is skipped."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        yield Event(raw.pop("n", None), raw.pop("t"), raw.pop("event"), raw)


def _json(path: Path) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
