"""Background traffic on real links, as the substrate uses it: one process (traffic/player.py) plays all flows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from orchestrator.links.lateness import Lateness
from orchestrator.links.servant import Servant
from orchestrator.plan import Plan
from orchestrator.receipt import Check

LATENESS_TOLERANCE_S = 0.005  # 99th percentile


class BackgroundTraffic:
    """`open` once the links are up, `close` whatever happens. Nothing is started where nothing flows."""

    def __init__(self, plan: Plan) -> None:
        self._flows = plan.traffic
        self._slow_down = plan.slow_down
        self._addresses = {node.name: node.address for node in plan.nodes}
        self._ends = {name for flow in plan.traffic for name in (flow.source, flow.target)}
        self._player = Servant("the player of background traffic", "orchestrator.traffic.player")
        self.close = self._player.close

    async def open(self, pids: Mapping[str, int], log: Path) -> None:
        """Start it; `pids` hold the nodes' namespaces. Raises RunBrokeError where a socket cannot be had."""
        if self._flows:
            await self._player.start((str(self._slow_down),), log)
            flows = [asdict(flow) for flow in self._flows]
            await self._player.ask({"do": "open", "flows": flows, "nodes": self._nodes(pids)})

    async def attach(self, name: str, pid: int) -> None:
        """A node has come back in another namespace, that of this process."""
        if name in self._ends:
            await self._player.ask({"do": "attach", "nodes": self._nodes({name: pid})})

    async def epoch(self, monotonic_s: float, from_s: float = 0.0) -> None:
        """The run begins at this instant; what was due before `from_s` of it is not sent."""
        if self._flows:
            await self._player.ask({"do": "epoch", "monotonic": monotonic_s, "from_s": from_s})

    async def bytes_by_node(self) -> dict[str, tuple[int, int]]:
        """IP bytes sent and received so far."""
        if not self._flows:
            return {}
        sent, received = Counter[str](), Counter[str]()
        answer = await self._player.ask({"do": "counters"})
        for flow, (_, sent_bytes, _, received_bytes, _) in zip(self._flows, answer["flows"], strict=True):
            sent[flow.source] += sent_bytes
            received[flow.target] += received_bytes
        return {name: (sent[name], received[name]) for name in self._ends}

    async def fidelity(self) -> list[Check]:
        """How late its packets left, and which could not."""
        if not self._flows:
            return []
        late = Lateness(**await self._player.ask({"do": "lateness"}))
        unsent = sum(numbers[4] for numbers in (await self._player.ask({"do": "counters"}))["flows"])
        ok, why = late.p99_s <= LATENESS_TOLERANCE_S, "the kernel took no more from the player"
        return [
            Check("background_lateness_p99_s", "traffic", 0.0, late.p99_s, LATENESS_TOLERANCE_S, ok),
            Check("background_unsent_packets", "traffic", 0.0, float(unsent), 0.0, not unsent, why),
        ]

    def _nodes(self, pids: Mapping[str, int]) -> list[dict[str, str | int]]:
        return [
            {"name": name, "pid": pid, "address": self._addresses[name]}
            for name, pid in pids.items()
            if name in self._ends
        ]
