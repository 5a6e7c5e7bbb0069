"""A life of a node of which another has taken the place: it may go on, but what it says is no word of the run's."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from node_image.handshake import KIND as HELLO
from node_image.records import Record
from orchestrator.errors import RunBrokeError
from orchestrator.plan import PlannedNode

STOPPED = -19  # how the run is told of it: as if SIGSTOP had been the end of that life


def attempts(name: str, lines: Iterable[str]) -> str:
    """What it tried, from the records that it made since: in words, as evidence."""
    did, dropped = Counter[str](), Counter[str]()
    for line in lines:
        with suppress(ValueError):  # events, and lines that are none of ours
            record = Record.from_line(line)
            if record.metric == "dropped_messages":
                dropped[record.labels["reason"]] += round(record.value)
            elif record.metric in ("sent_payload_bytes", "received_payload_bytes") and record.labels["kind"] != HELLO:
                did[record.metric] += 1
    lost = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "none"
    return (
        f"the superseded {name} took in {did['received_payload_bytes']} messages that had waited for it, "
        f"sent {did['sent_payload_bytes']} into connections that nobody holds, dropped: {lost}"
    )


class NobodySuperseded:
    """For substrates that cannot have a node twice; preflight has refused what would need it."""

    async def supersede(self, node: PlannedNode, after_s: float) -> str:
        """Refused."""
        raise RunBrokeError(f"{node.name} cannot be superseded here; 'supersede' is not in `can`")

    async def release_superseded(self, node: PlannedNode) -> str:
        """Refused."""
        return await self.supersede(node, 0.0)

    async def end_superseded(self, node: PlannedNode) -> str:
        """Refused."""
        return await self.supersede(node, 0.0)
