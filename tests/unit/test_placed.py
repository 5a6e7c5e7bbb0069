"""A node in its place: how its process is ended, and what is said of it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.substrates.placed import Placed
from orchestrator.substrates.processes import NodeProcess
from tests.plans import star

DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
OBEDIENT = (
    "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(143)); print('x', flush=True); time.sleep(60)"
)


class OneProcess:
    """Stands in for the control groups of a node that is one process."""

    child: "subprocess.Popen[bytes]"

    def cpu_s(self) -> float:
        return 0.0

    def pids(self) -> tuple[int, ...]:
        return ()

    async def kill(self) -> None:
        self.child.kill()  # which knows whether it has ended


async def _terminated(program: str, folder: Path, grace_s: float) -> tuple[str, Placed]:
    group = OneProcess()
    placed = Placed(star().nodes[1], 0, group, folder)  # type: ignore[arg-type]  # only what ending a process needs
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        group.child = child
        exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        process = NodeProcess(placed.node.name, folder, asyncio.Queue())
        await process.adopt(child.pid, exited, os.dup(child.stdin.fileno()), os.dup(child.stdout.fileno()))

        def wait() -> None:
            code = child.wait()
            status = -code if code < 0 else code << 8
            asyncio_loop.call_soon_threadsafe(exited.set_result, status)

        asyncio_loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(asyncio.to_thread(wait))
        placed.live(process)
        evidence = await placed.terminate(grace_s)
        await waiting
    return evidence, placed


@pytest.mark.parametrize(
    ("program", "grace_s", "words"),
    [
        (OBEDIENT, 20.0, ("(exit status 143)", "within its grace of 20 s")),
        (DEAF, 0.3, ("lived on for its grace of 0.3 s", "was killed (exit status -9)")),
    ],
)
def test_a_process_that_is_deaf_to_sigterm_is_killed_after_its_grace_and_said_so(
    program: str, grace_s: float, words: tuple[str, ...], tmp_path: Path
) -> None:
    evidence, placed = asyncio.run(_terminated(program, tmp_path, grace_s))
    assert all(word in evidence for word in words), evidence
    assert placed.process is None


def test_a_node_that_is_not_there_cannot_be_told_to_end(tmp_path: Path) -> None:
    placed = Placed(star().nodes[1], 0, OneProcess(), tmp_path)  # type: ignore[arg-type]
    assert asyncio.run(placed.terminate(1.0)) == "d-1: had ended before"
