"""Histories for tests of the checkers: of one small run that is all right, and ways to tamper with it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from node_image.records import Record
from node_image.spec import Chosen
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from orchestrator.verify import CHECKS
from orchestrator.verify.checked import Checked
from orchestrator.verify.history import Event, History, read_history
from tests.contract.cases import CASES, SLOW_BOARD
from tests.plans import fault, ring

FAULTS = (
    fault("crash", 1.0, 1.6, nodes=("d-1",), index=0),
    fault("pause", 2.0, 2.6, nodes=("d-2",), index=1),
    fault("straggler", 2.8, 3.6, nodes=("d-1",), index=2, parameters={"speed": 0.25}),
    fault("partition", 3.0, 3.8, nodes=("d-3",), index=3, parameters={"direction": "both"}),
    fault("disconnect", 4.2, 4.8, nodes=("d-2",), index=4),
)


def disturbed(directory: Path) -> History:
    """Three devices learn with FedAsync for twelve seconds, and five faults come over them."""
    return recorded(CASES["fedasync"].plan(12.0, FAULTS, local_steps=10), directory)


def gossiping(directory: Path) -> History:
    """Four devices in a ring learn with DSGD, undisturbed."""
    algorithm = Chosen("dsgd", {"local_steps": 30, "rounds": 10})
    return recorded(ring(4, algorithm=algorithm, profile=SLOW_BOARD, stop_after_s=5.0), directory)


def recorded(plan: Plan, directory: Path) -> History:
    execute(plan, "name: test\n", RunOptions(directory, substrate="simulation"), QuietDisplay())
    return read_history(directory)


def said(id_: str, history: History) -> Checked:
    """What the checker of an invariant says."""
    return CHECKS[id_][1](history)


def truth(id_: str, history: History) -> str:
    return said(id_, history).truth


def changed(history: History, node: str, change: Callable[[Record], Record | None]) -> History:
    """With the records of a node changed one by one; None leaves one out."""
    kept = tuple(record for each in history.nodes[node] if (record := change(each)) is not None)
    return replace(history, nodes={**history.nodes, node: kept}, _by_metric={})


def with_records(history: History, node: str, *records: Record) -> History:
    """With more records of a node, each in its place."""
    everything = sorted([*history.nodes[node], *records], key=lambda record: record.t)
    return replace(history, nodes={**history.nodes, node: tuple(everything)}, _by_metric={})


def with_events(history: History, change: Callable[[Event], Event | None]) -> History:
    """With the events changed one by one, and numbered anew; None leaves one out."""
    kept = [event for each in history.events if (event := change(each)) is not None]
    return replace(history, events=[replace(event, number=number) for number, event in enumerate(kept, 1)])


def without_event(history: History, name: str, **details: Any) -> History:
    """Without the events of that name with these details."""

    def keep(event: Event) -> Event | None:
        return None if event.name == name and details.items() <= dict(event.details).items() else event

    return with_events(history, keep)


def with_links(history: History, **changes: Any) -> History:
    """With the counters of the first link changed."""
    assert history.links is not None
    first = next(iter(history.links))
    return replace(history, links={**history.links, first: replace(history.links[first], **changes)})


def with_report(history: History, index: int, **changes: Any) -> History:
    """With what is told of one fault changed."""
    told = [replace(each, **changes) if each.index == index else each for each in history.faults]
    return replace(history, faults=told)


def first(history: History, node: str, metric: str, **labels: str) -> Record:
    return next(record for record in history.of(node, metric) if labels.items() <= dict(record.labels).items())
