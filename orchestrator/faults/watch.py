"""What has come to pass in a run, for faults that wait for it: metrics' values, and faults that have begun."""

import asyncio
from collections import defaultdict

from node_image.records import METRICS, Record
from orchestrator.plan import Condition

# Counters that faults read back as evidence, by all their labels.
TALLIED = {"altered_messages", "discarded_updates", "dropped_messages", "failed_saves", "reconnects", "rejected_frames"}


class Watch:
    """A view of the records, as they come; `until` returns once a condition is met, at once if it has been."""

    def __init__(self) -> None:
        self._total: dict[str, float] = {}  # of counters, over all nodes
        self._tallies: defaultdict[tuple[str, frozenset[tuple[str, str]]], float] = defaultdict(
            float
        )  # metric, labels and node
        self._begun: set[int] = set()
        self._waiting: list[tuple[Condition, asyncio.Future[str]]] = []

    def add(self, node: str | None, record: Record) -> None:
        """One more record."""
        if record.metric in TALLIED:
            self._tallies[record.metric, frozenset({"node": node or "", **record.labels}.items())] += record.value
        for condition, future in self._waiting:
            if not future.done() and (seen := self.meets(condition, node, record)) is not None:
                future.set_result(seen)
        if METRICS[record.metric].kind == "counter":
            self._total[record.metric] = self._total.get(record.metric, 0.0) + record.value

    def meets(self, condition: Condition, node: str | None, record: Record) -> str | None:
        """What is seen where one more record, not added yet, meets a condition; None: it does not."""
        is_counter = METRICS[record.metric].kind == "counter"
        value = record.value + (self._total.get(record.metric, 0.0) if is_counter else 0.0)
        if condition.metric != record.metric or not _within(condition, value):
            return None
        whose = "" if is_counter or node is None else f" of {node}"
        return f"{record.metric}{whose} was {value:g}"

    def total(self, metric: str, **labels: str) -> float:
        """Sum of a counter so far, of the records with these labels; `node` is who wrote them."""
        wanted = labels.items()
        return sum(value for (name, found), value in self._tallies.items() if name == metric and wanted <= found)

    def by(self, metric: str, label: str, **labels: str) -> dict[str, float]:
        """As `total`, for each value of a label."""
        values = {dict(found).get(label) for name, found in self._tallies if name == metric}
        sums = {value: self.total(metric, **{label: value}, **labels) for value in values if value is not None}
        return {value: total for value, total in sums.items() if total}

    def began(self, fault: int) -> None:
        """A fault acts from now on."""
        self._begun.add(fault)
        for condition, future in self._waiting:
            if condition.after == fault and not future.done():
                future.set_result(f"fault {fault} had begun")

    async def until(self, condition: Condition) -> str:
        """Wait; says what was seen."""
        if condition.after in self._begun:
            return f"fault {condition.after} had begun"
        total = self._total.get(condition.metric or "")
        if total is not None and _within(condition, total):
            return f"{condition.metric} was {total:g}"
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, future))
        try:
            return await future
        finally:
            self._waiting = [each for each in self._waiting if each[1] is not future]


def _within(condition: Condition, value: float) -> bool:
    low_enough = condition.at_most is None or value <= condition.at_most
    return low_enough and (condition.at_least is None or value >= condition.at_least)
