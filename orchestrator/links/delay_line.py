"""delay_line: the user-space shaper as the orchestrator uses it. Starts the fabric, speaks to it, ends it.

Nothing here blocks the event loop, and nothing crosses a shaped link: requests go through the fabric's own pipe.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import RunBrokeError
from orchestrator.links.lateness import Lateness
from orchestrator.links.readback import ShapeNotAppliedError, differences, from_json, in_words, to_json
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink
from orchestrator.substrates.base import LinkCount

ANSWER_WITHIN_S = 60.0
END_WITHIN_S = 5.0
LARGEST_ANSWER_BYTES = 256 << 20


@dataclass(frozen=True)
class Missed:
    """Packets that were on no link: all 0 in a healthy run."""

    unread: dict[str, int]  # by node: the fabric fetched them too late, the kernel dropped them
    no_route: int  # to an address that nobody has, or that cannot be reached
    refused: int  # the receiving node's device was gone


class DelayLine:
    """The network of a run. `open` it first, `close` it whatever happens; `priority` says how it was scheduled.

    Open it in a thread that lives as long as the run: the fabric dies with the thread that started it.
    """

    def __init__(self) -> None:
        self.priority = ""
        self._process: Process | None = None
        self._log: Path | None = None
        self._turn = asyncio.Lock()
        self._asked = 0
        self._traffic: dict[str, dict[int, tuple[int, int, int]]] = {}  # by node, by bin

    @property
    def pid(self) -> int | None:
        """The fabric's process, while it is open."""
        return None if self._process is None else self._process.pid

    async def open(self, links: tuple[DirectedLink, ...], nodes: Mapping[str, tuple[int, str]], log: Path) -> None:
        """Start the fabric and give every node (by name: a pid in its namespace, and its address) a device `eb0`.

        The fabric's stderr goes to `log`. Raises RunBrokeError when a device cannot be made.
        """
        self._log = log
        root = str(Path(__file__).parents[2])
        with log.open("wb") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "orchestrator.links.fabric", str(os.getpid())),
                stdin=PIPE,
                stdout=PIPE,
                stderr=stderr,
                limit=LARGEST_ANSWER_BYTES,
                start_new_session=True,  # Ctrl-C is for the orchestrator, which then closes us in order
                env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
            )
        answer = await self._ask({"do": "open", "links": [asdict(link) for link in links], "nodes": _nodes_json(nodes)})
        self.priority = answer["priority"]

    async def attach(self, nodes: Mapping[str, tuple[int, str]]) -> None:
        """Give nodes that came back in a new namespace (same name and address) a new device."""
        await self._ask({"do": "attach", "nodes": _nodes_json(nodes)})

    async def epoch(self, monotonic_s: float) -> None:
        """The run begins at this instant of time.monotonic(): traces, traffic bins and lateness count from there."""
        self._traffic.clear()
        await self._ask({"do": "epoch", "monotonic": monotonic_s})

    async def shape(self, link: DirectedLink, shape: LinkShape, up: bool) -> str:
        """Change a link and read it back; raises ShapeNotAppliedError if the fabric has another shape then."""
        answer = await self._ask({"do": "shape", "link": link.id, "shape": to_json(shape), "up": up})
        wrong = differences(shape, from_json(answer["shape"]))
        if answer["up"] != up:
            wrong.append(f"up: asked {up}, found {answer['up']}")
        if wrong:
            raise ShapeNotAppliedError(link.id, wrong)
        state = "up" if up else "down"
        return f"{link.id}: {state}, {in_words(shape)}; {answer['retimed']} packets under way re-timed, none lost"

    async def block(self, pairs: frozenset[tuple[str, str]]) -> str:
        """Let exactly these (source, target) nodes hear nothing; packets under way between them count as dropped."""
        answer = await self._ask({"do": "block", "pairs": sorted(pairs)})
        found = frozenset((source, target) for source, target in answer["pairs"])
        if found != pairs:
            raise ShapeNotAppliedError("all", [f"blocked pairs: asked {sorted(pairs)}, found {sorted(found)}"])
        return f"{len(found)} pairs blocked: {', '.join(f'{a}>{b}' for a, b in sorted(found)) or 'none'}"

    async def counters(self) -> dict[str, LinkCount]:
        """Counters of every directed link, by id."""
        answer = await self._ask({"do": "counters"})
        return {name: LinkCount(**count) for name, count in answer["links"].items()}

    async def traffic(self) -> dict[str, list[tuple[int, int, int]]]:
        """Per node: (index of a 0.1 s bin since the epoch, bytes sent, bytes received), bins with traffic only."""
        answer = await self._ask({"do": "traffic"})
        for name, bins in answer["bins"].items():
            known = self._traffic.setdefault(name, {})
            for index, sent, received in bins:  # a bin that was still open when last asked comes again with the rest
                _, before_sent, before_received = known.get(index, (index, 0, 0))
                known[index] = (index, before_sent + sent, before_received + received)
        return {name: list(bins.values()) for name, bins in self._traffic.items()}

    async def lateness(self) -> Lateness:
        """How late packets were delivered since the epoch."""
        return Lateness(**await self._ask({"do": "lateness"}))

    async def missed(self) -> Missed:
        """Packets that no link accounts for. Asks the kernel for each node: not for often."""
        return Missed(**await self._ask({"do": "missed"}))

    async def close(self) -> None:
        """End the fabric, and all devices with it. Never raises; closing twice does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the fabric ends when its stdin does
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RunBrokeError(f"the fabric is not running: cannot ask it to {request['do']!r}")
        async with self._turn:
            self._asked += 1
            answer: dict[str, Any] = {"number": 0}
            try:
                process.stdin.write(json.dumps({**request, "number": self._asked}).encode() + b"\n")
                await process.stdin.drain()
                while answer.pop("number") != self._asked:  # the answer to a request that was cancelled is passed over
                    async with asyncio.timeout(ANSWER_WITHIN_S):
                        line = await process.stdout.readline()
                    if not line:
                        raise self._broken(request, "has ended")
                    answer = json.loads(line)
            except (TimeoutError, ConnectionError) as error:
                raise self._broken(request, f"gave no answer ({type(error).__name__})") from error
        if "error" in answer:
            raise RunBrokeError(f"the fabric could not {request['do']}: {answer['error']}")
        return answer

    def _broken(self, request: dict[str, Any], what: str) -> RunBrokeError:
        last_words = ""
        if self._log is not None and self._log.exists():
            last_words = "\n".join(self._log.read_text(errors="replace").splitlines()[-32:])
        return RunBrokeError(f"the fabric {what} when asked to {request['do']!r}; its last words:\n{last_words}")


def _nodes_json(nodes: Mapping[str, tuple[int, str]]) -> list[dict[str, Any]]:
    return [{"name": name, "pid": pid, "address": address} for name, (pid, address) in nodes.items()]
