"""The orchestrator's end of the fork server: an answer that comes after whoever asked has gone."""

import asyncio
import os
from pathlib import Path
from typing import Any

from orchestrator.substrates.processes import ForkServer


def test_a_node_forked_after_a_signal_ended_the_wait_for_it_is_no_mistake(tmp_path: Path) -> None:
    complaints: list[dict[str, Any]] = []

    async def play() -> int:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        server = ForkServer()
        server.launch(tmp_path / "log", ["programs"])
        try:
            await server.ready()
            with (tmp_path / "output").open("w") as output:
                fds = (output.fileno(),) * 3
                request = {"spec": "no spec", "cgroups": [], "netns_pid": os.getpid()}
                forking = asyncio.create_task(server.fork({"fork": "device-1", **request}, fds))
                await asyncio.sleep(0)  # it has asked
                forking.cancel()
                _, exited = await server.fork({"fork": "device-2", **request}, fds)
                return await exited
        finally:
            server.close()

    assert os.waitstatus_to_exitcode(asyncio.run(play())) != 0
    assert complaints == []
