"""The agent: one on each board, for the length of a run. It holds the nodes there, their tunnels, and the lease.

Speaks JSON lines with the orchestrator over SSH, as the arrival does, which has become it: {"do": ..., "id": n} is
answered by {"answer": ..., "id": n} or {"error": text, "id": n}. What nodes say comes as {"node", "life", "line"},
their ends as {"node", "life", "exited": wait status, "cpu_s", "last_words"}.

    settle    store, run, lease_s: the run's own folder, and how long the orchestrator may be silent
    clock     nothing: the board's monotonic and wall clocks, now; renews the lease
    echo      data_address, count: a UDP port that sends so many datagrams back; closes by itself
    tunnel    node, data_address: a namespace for the node; answered with its UDP port
    connect   node, fabric (host, port), address, prefix: packets flow from here on
    shape     node, device, number, commands (of tc): its packets leave through class `number` of the data interface,
              which must be free, for the rest of the lease
    queues    device: what tc shows of it, with counters
    put       name, base64: a file in the run's folder
    start     node, life, spec, initial, plugins (names of files put), state: a process; answered with its pid
    tell      node, line: to its stdin (no answer); hang_up: end of its stdin (no answer)
    kill, freeze, thaw    node: signals, with what was seen
    terminate node, grace_s: told to end, killed if it lives after that; wait status, seconds, killed
    limit     node, kind (descriptors | disk), most (null: as before): limits of its process, with what was read back
    tear      node: half of its newest checkpoint is left
    meter     kind, parameters, began_s (of this board's clock): the board's own meter is sampled from now on; answered
              with what it covers and how well. What it measures comes as {"metered": {"t", "metric", "value"}}
    unmeter   nothing: it is read a last time; what came of it
    uses      CPU seconds and memory of every node
    fetch     node, name, offset: a piece of a file that the node left, in base64
    files     node: what it left
    end       all nodes die, the folder goes, the agent ends

Every effect here is a lease: when nothing is heard from the orchestrator for `lease_s`, or its connection ends, the
nodes die, frozen ones too, the tunnels close, the data interface is shaped no more and the folder goes. Whatever was
disturbed is as it was before the run.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node_image.board import run_folder
from node_image.board.nodes import Nodes
from node_image.board.shaping import Shaping, priority, queues, remove_left
from node_image.board.tunnel import Tunnel
from node_image.kernel import new_network
from node_image.meters import Metered, build
from node_image.recorder import Recorder
from node_image.records import Record

NICE = -15
FIRST_LEASE_S = 60.0  # until `settle` says how long
ECHO_WITHIN_S = 5.0
LARGEST_ECHO = 2048
OF_THE_BOARD = ("settle", "clock", "echo", "tunnel", "connect", "shape", "queues", "meter", "unmeter", "end")
OF_NODES = (
    *("put", "start", "tell", "hang_up", "kill", "terminate", "freeze", "thaw", "limit", "tear"),
    *("uses", "files", "fetch"),
)
Message = dict[str, Any]
Request = Callable[[Message], Awaitable[Message]]


class Agent:
    """Obeys until told to end, until the connection ends, or until the lease is over."""

    def __init__(self, recorder: Recorder) -> None:
        self.over = asyncio.Event()
        self._say = recorder.event
        self._heard_at = time.monotonic()
        self._lease_s = FIRST_LEASE_S
        self._owner = (int(os.environ.get("SUDO_UID", os.geteuid())), int(os.environ.get("SUDO_GID", os.getegid())))
        self._folder: run_folder.RunFolder | None = None
        self._nodes: Nodes | None = None
        self._tunnels: dict[str, Tunnel] = {}
        self._metered: Metered | None = None
        self._shaping = Shaping()
        self._obeying: set[asyncio.Task[None]] = set()
        self._requests: dict[str, Request] = {name: getattr(self, f"_{name}") for name in OF_THE_BOARD}

    def hear(self, line: bytes) -> None:
        """Take a line of stdin; the empty one is its end."""
        self._heard_at = time.monotonic()
        if not line:
            self.over.set()
            return
        task = asyncio.get_running_loop().create_task(self._obey(json.loads(line)))
        self._obeying.add(task)
        task.add_done_callback(self._obeying.discard)

    async def keep_lease(self) -> None:
        """End when nothing has been heard for too long."""
        while (left_s := self._heard_at + self._lease_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)
        self.over.set()

    async def close(self) -> None:
        """Let go of everything that is not as it was before."""
        if self._nodes is not None:
            await self._nodes.close()
        for tunnel in self._tunnels.values():
            tunnel.close()
        self._shaping.close()
        if self._folder is not None:
            self._folder.close()

    async def _obey(self, request: Message) -> None:
        answer: Message
        try:
            answer = {"answer": await self._request(request["do"])(request)}
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        if "id" in request:
            self._say({**answer, "id": request["id"]})

    def _request(self, do: str) -> Request:
        if do not in OF_NODES:
            return self._requests[do]
        if self._nodes is None:
            raise ValueError(f"{do} must follow settle")
        found: Request = getattr(self._nodes, do)
        return found

    async def _settle(self, request: Message) -> Message:
        """Make the run's folder; remove those of agents that were killed."""
        store, run = Path(request["store"]).expanduser(), run_folder.checked(request["run"])
        if run_folder.remove_left(store):  # else an agent of another run lives, whose shapes they may be
            remove_left()
        self._folder, self._lease_s = run_folder.RunFolder(store, run, self._owner), float(request["lease_s"])
        self._nodes = Nodes(self._folder, self._owner, lambda node: self._tunnels[node].namespace, self._say)
        sys.stderr.flush()
        log = os.open(self._folder.path / "agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 2)
        os.close(log)
        return {"pid": os.getpid(), "python": sys.version.split()[0], "user_id": self._owner[0]}

    async def _clock(self, request: Message) -> Message:
        return {"monotonic_s": time.monotonic(), "wall_s": time.time()}

    async def _echo(self, request: Message) -> Message:
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        own.settimeout(ECHO_WITHIN_S)
        try:
            own.bind((request["data_address"], 0))
            port = own.getsockname()[1]
        except OSError:
            own.close()
            raise
        threading.Thread(target=_echo, args=(own, int(request["count"])), daemon=True).start()
        return {"port": port}

    async def _tunnel(self, request: Message) -> Message:
        old = self._tunnels.pop(request["node"], None)
        if old is not None:
            old.close()
        tunnel = self._tunnels[request["node"]] = Tunnel(request["data_address"])
        return {"port": tunnel.port}

    async def _connect(self, request: Message) -> Message:
        host, port = request["fabric"]
        self._tunnels[request["node"]].connect((host, port), request["address"], request["prefix"])
        return {}

    async def _shape(self, request: Message) -> Message:
        await asyncio.to_thread(self._shaping.set, request["device"], request["commands"])
        self._tunnels[request["node"]].mark(priority(int(request["number"])))
        return {}

    async def _queues(self, request: Message) -> Message:
        return {"queues": await asyncio.to_thread(queues, request["device"])}

    async def _meter(self, request: Message) -> Message:
        await self._unmeter(request)
        meter = await asyncio.to_thread(build, request["kind"], **request["parameters"])
        began_s = float(request["began_s"])
        self._metered = Metered(meter, "board", self._say_metered, lambda: time.monotonic() - began_s)
        self._metered.start()
        return asdict(meter.about)

    async def _unmeter(self, request: Message) -> Message:
        metered, self._metered = self._metered, None
        return {} if metered is None else asdict(await asyncio.to_thread(metered.stop))

    def _say_metered(self, record: Record) -> None:
        self._say({"metered": {"t": record.t, "metric": record.metric, "value": record.value}})

    async def _end(self, request: Message) -> Message:
        asyncio.get_running_loop().call_soon(self.over.set)
        return {}


def _echo(own: socket.socket, count: int) -> None:
    with own, suppress(OSError):
        for _ in range(count):
            data, sender = own.recvfrom(LARGEST_ECHO)
            own.sendto(data, sender)


def _read_stdin(loop: asyncio.AbstractEventLoop, agent: Agent) -> None:
    with suppress(RuntimeError):  # the loop has ended
        for line in iter(sys.stdin.buffer.readline, b""):
            loop.call_soon_threadsafe(agent.hear, line)
        loop.call_soon_threadsafe(agent.hear, b"")


async def _serve(recorder: Recorder) -> None:
    agent = Agent(recorder)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, agent.over.set)
    threading.Thread(target=_read_stdin, args=(loop, agent), daemon=True).start()
    lease = loop.create_task(agent.keep_lease())
    recorder.event({"agent": os.getpid(), "root": _may_make_networks()})
    await agent.over.wait()
    lease.cancel()
    await agent.close()


def _hurry() -> None:
    """Run before the nodes, so that a packet does not wait for their computing; what we start is ordinary again."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def _may_make_networks() -> bool:
    try:
        os.close(new_network())
    except OSError:
        return False
    return True


def main() -> None:
    """Be the agent of this board."""
    lines = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not end up between the lines
    _hurry()
    recorder = Recorder(lines)
    asyncio.run(_serve(recorder))
    recorder.close()
    os._exit(0)


if __name__ == "__main__":
    main()
