"""What was counted so far, kept while a run lasts: who goes on with a run that was killed knows where counting stopped.

Counters of links, CPU and traffic are the processes' that are killed with the run. The records say what they grew by, a
sample at a time; `so_far.json`, written after each sample, says that this sample is whole, and what the links had
counted. A sample that it does not know was torn by the kill and does not count.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from node_image.records import Record
from orchestrator.receipt import Check
from orchestrator.rundir import SO_FAR
from orchestrator.substrates.base import LinkCount

LOST = "run_killed"  # why packets were dropped that were on a link when the run was killed
SAMPLED = {
    *("cpu_s", "cpu_throttled_s", "energy_joules", "memory_bytes"),
    *("link_delivered_bytes", "link_dropped_packets", "link_offered_bytes"),
    *("received_background_bytes", "received_wire_bytes", "sent_background_bytes", "sent_wire_bytes"),
}


@dataclass(frozen=True)
class SoFar:
    """The last whole sample: when, the links' counters of all lives of the run, and what the substrate watched."""

    t: float = 0.0
    links: Mapping[str, LinkCount] = field(default_factory=dict)
    watched: tuple[Check, ...] = ()
    watched_until_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """What is written to so_far.json."""
        return {
            "t": self.t,
            "links": {name: asdict(count) for name, count in self.links.items()},
            "watched": [asdict(check) for check in self.watched],
            "watched_until_s": self.watched_until_s,
        }

    @staticmethod
    def of(directory: Path) -> "SoFar":
        """Of a run directory; nothing where no sample was taken."""
        path = directory / SO_FAR
        if not path.exists():
            return SoFar()
        raw = json.loads(path.read_text(encoding="utf-8"))
        links = {name: LinkCount(**count) for name, count in raw["links"].items()}
        return SoFar(raw["t"], links, tuple(Check(**check) for check in raw["watched"]), raw["watched_until_s"])


def is_sampled(record: Record) -> bool:
    """Whether a record of the orchestrator's own is what a counter grew by since the sample before."""
    return record.metric in SAMPLED and record.meter is None


def closed(count: LinkCount) -> LinkCount:
    """The counters of a link that is gone: what was on it is lost, and that is told."""
    dropped, in_bytes = Counter(count.dropped), count.dropped_bytes
    if count.in_flight_packets:
        dropped[LOST] += count.in_flight_packets
        in_bytes = None if in_bytes is None else {**in_bytes, LOST: in_bytes.get(LOST, 0) + count.in_flight_bytes}
    return replace(count, dropped=dict(dropped), dropped_bytes=in_bytes, in_flight_packets=0, in_flight_bytes=0)


def together(before: LinkCount, now: LinkCount) -> LinkCount:
    """What a link has counted in former lives of its run and in this one."""
    in_bytes = None
    if before.dropped_bytes is not None and now.dropped_bytes is not None:
        in_bytes = dict(Counter(before.dropped_bytes) + Counter(now.dropped_bytes))
    return LinkCount(
        offered_packets=before.offered_packets + now.offered_packets,
        offered_bytes=before.offered_bytes + now.offered_bytes,
        delivered_packets=before.delivered_packets + now.delivered_packets,
        delivered_bytes=before.delivered_bytes + now.delivered_bytes,
        dropped=dict(Counter(before.dropped) + Counter(now.dropped)),
        dropped_bytes=in_bytes,
        in_flight_packets=now.in_flight_packets,
        in_flight_bytes=now.in_flight_bytes,
        duplicated_packets=before.duplicated_packets + now.duplicated_packets,
        as_laid=now.as_laid,
    )
