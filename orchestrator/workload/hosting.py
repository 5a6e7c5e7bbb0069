"""Nodes as attendants of programs: forked as learning nodes are, by a server that has no torch to load."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node_image.fork_server import PROGRAMS
from orchestrator.journal import Journal
from orchestrator.plan import Plan, PlannedNode
from orchestrator.substrates.hosting import ProcessHosting
from orchestrator.substrates.placed import Placed
from orchestrator.substrates.processes import Output
from orchestrator.workload.launch import HOSTS, duty, furnish, hosts_text

BESIDE_READY_S = 30.0  # for a program to start at all, on a busy machine


class ProgramHosting(ProcessHosting):
    """See Hosting. The folder of a node's programs is where a learning node would keep its checkpoint."""

    def __init__(self, plan: Plan, directory: Path, run_id: str, journal: Journal, output: Output) -> None:
        super().__init__(directory, run_id, journal, output)
        self._plan = plan

    async def open(self, nodes: tuple[PlannedNode, ...], stack: AsyncExitStack) -> None:
        """Write down the nodes' names, and put the workload's files into their folders, as well."""
        await super().open(nodes, stack)
        (self._directory / HOSTS).write_text(hosts_text(self._plan), encoding="utf-8")
        for node in nodes:
            folder = self._directory / "nodes" / node.name / "state"
            folder.mkdir(mode=0o700)
            if node.workload is not None:
                await asyncio.to_thread(furnish, node.workload, folder)

    async def ready(self) -> None:
        """Wait for the fork server; there are no data to load."""
        await self._server.ready()

    def _loads(self) -> tuple[str, ...]:
        return (PROGRAMS,)

    def _more_for(self, placed: Placed) -> dict[str, Any]:
        folder = Path(self.state_dir(placed))
        return {"duty": asdict(duty(self._plan, placed.node, folder, self._directory))}


async def prepare(nodes: Iterable[Placed]) -> None:
    """Have the services that come first started, the coordinator's before the devices'; returns when all are ready.

    So a run begins when what everybody speaks to can be spoken to. Raises RunBrokeError with a service's last words.
    """
    placed = list(nodes)
    for role in ("coordinator", "device"):
        asked = [_prepare(each) for each in placed if each.node.workload is not None and each.node.role == role]
        await asyncio.gather(*asked)


async def _prepare(placed: Placed) -> None:
    workload = placed.node.workload
    if workload is None or placed.process is None:
        return
    patience_s = sum(program.ready.within_s for program in workload.programs if program.ready is not None)
    await placed.process.ask({"do": "prepare"}, patience_s + BESIDE_READY_S)
