"""The virtual clock jumps, keeps order, and refuses what would not wait for it."""

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulation.virtual_time import DeadlockError, VirtualTimeLoop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_an_hour_of_sleep_ends_after_exactly_an_hour_of_virtual_time() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return now()

    assert run(main()) == 3600.0


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_timers_fire_by_time_and_equal_times_in_the_order_in_which_they_were_set(delays: list[float]) -> None:
    async def main() -> list[tuple[float, int]]:
        fired: list[tuple[float, int]] = []
        loop = asyncio.get_running_loop()
        for number, delay in enumerate(delays):
            loop.call_at(delay, lambda number=number: fired.append((now(), number)))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        await asyncio.sleep(101)
        return fired

    assert run(main()) == sorted((delay, number) for number, delay in enumerate(delays))


def test_timeouts_task_groups_and_queues_work_as_in_real_time() -> None:
    async def main() -> list[object]:
        queue: asyncio.Queue[float] = asyncio.Queue(1)
        seen: list[object] = []

        async def put() -> None:
            for _ in range(3):
                await asyncio.sleep(2)
                await queue.put(now())

        async with asyncio.TaskGroup() as group:
            group.create_task(put())
            seen.extend([await queue.get() for _ in range(3)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await queue.get()
        return [*seen, now()]

    assert run(main()) == [2.0, 4.0, 6.0, 11.0]


def test_a_cancelled_timer_does_not_move_the_clock() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        for _ in range(1000):
            loop.call_later(1e6, print).cancel()
        await asyncio.sleep(1)
        return now()

    assert run(main()) == 1.0


def test_a_timer_in_the_past_fires_now_and_time_never_goes_back() -> None:
    async def main() -> list[float]:
        await asyncio.sleep(5)
        seen: list[float] = []
        asyncio.get_running_loop().call_at(1.0, lambda: seen.append(now()))
        await asyncio.sleep(0.5)
        return [*seen, now()]

    assert run(main()) == [5.0, 5.5]


def test_a_deadlock_is_an_error_at_once_and_names_who_waits_and_where() -> None:
    async def wait_for_ever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.sleep(7)
        await asyncio.gather(
            asyncio.create_task(wait_for_ever(), name="d-1"), asyncio.create_task(wait_for_ever(), name="d-2")
        )

    with pytest.raises(DeadlockError, match=r"deadlock at 7\.0.*d-1 at locks\.py.*; d-2 at"):
        run(main())


def test_threads_are_refused() -> None:
    with pytest.raises(RuntimeError, match="call the function directly"):
        run(asyncio.to_thread(lambda: None))


def test_sockets_and_subprocesses_are_refused() -> None:
    async def connect() -> None:
        await asyncio.open_connection("127.0.0.1", 9)

    async def spawn() -> None:
        await asyncio.create_subprocess_exec("true")

    async def read() -> None:
        with socket.socket() as one:
            asyncio.get_running_loop().add_reader(one, print)

    for forbidden in (connect(), spawn(), read()):
        with pytest.raises(RuntimeError, match="real input or output"):
            run(forbidden)


def test_an_interrupt_cancels_the_main_task_however_busy_the_loop_is() -> None:
    async def main() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            await asyncio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        run(main())


def test_what_a_step_raises_ends_the_loop() -> None:
    def fail(_: None) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        loop.cancel(loop.schedule(1.0, fail, None))
        loop.schedule(2.0, fail, None)
        await asyncio.sleep(3)

    with pytest.raises(ZeroDivisionError):
        run(main())
