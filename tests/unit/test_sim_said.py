"""The reader of a simulation hears of events at once, of records soon, and of everything in order."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from node_image.recorder import FLUSH_S
from node_image.records import Record
from orchestrator.simulation.said import Said
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from orchestrator.substrates.base import NodeExit, NodeLine

EVENT = NodeLine("a", '{"event":"started"}')
EXIT = NodeExit("a", 0, True, "")


def heard(act: Callable[[Said], Coroutine[Any, Any, None]]) -> list[tuple[float, NodeLine | NodeExit]]:
    """What the reader gets, and when."""

    async def main() -> list[tuple[float, NodeLine | NodeExit]]:
        loop = cast(VirtualTimeLoop, asyncio.get_running_loop())
        said = Said(loop)
        got: list[tuple[float, NodeLine | NodeExit]] = []

        async def listen() -> None:
            async for item in said:
                got.append((loop.now, item))

        listening = asyncio.create_task(listen())
        await act(said)
        said.close()
        await listening
        return got

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def test_an_event_is_heard_at_once_with_the_records_before_it() -> None:
    async def act(said: Said) -> None:
        said.record("a", 0.0, "round", 1.0, {})
        said.put(EVENT)
        await asyncio.sleep(1)

    assert heard(act) == [(0.0, NodeLine("a", Record(0.0, "round", 1.0).to_line())), (0.0, EVENT)]


def test_records_are_heard_after_as_long_as_those_of_a_real_node() -> None:
    async def act(said: Said) -> None:
        for second in (1.0, 1.05, 3.0):
            await asyncio.sleep(second - asyncio.get_running_loop().time())
            said.record("a", second, "round", second, {})
        await asyncio.sleep(1)

    assert [at_s for at_s, _ in heard(act)] == [1.0 + FLUSH_S, 1.0 + FLUSH_S, 3.0 + FLUSH_S]


def test_what_is_left_when_it_closes_is_heard_too() -> None:
    async def act(said: Said) -> None:
        said.record("a", 0.0, "round", 1.0, {})
        said.put(EXIT)

    assert [item for _, item in heard(act)][1:] == [EXIT]
