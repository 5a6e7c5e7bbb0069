"""A node as a process: `python -m node_image SPEC.json [PLUGINS.json]`, told what to do by the orchestrator over stdin.

One JSON object a line. Commands:
    {"do": "init", "run_id": text, "life": n, "listening": key, "pairs": {peer: key}, "state_dir": path}
                                               build the learner, open the port; keys (handshake.py) are 64 hex digits
    {"do": "calibrate"}                        measure a local step on this host (see calibrate.py)
    {"do": "probe", ...}                       measure a path (see probe.py); an "id" comes back with the answer
    {"do": "slow", "factor": number or null}   work takes that many times what the profile says (null: what it takes)
    {"do": ..., ...}                           what a fault has the node do: see orders.py
    {"do": "start", "start_at": seconds}       begin at this instant of CLOCK_MONOTONIC (null: now)
    {"do": "stop", "evaluate": bool}           end gracefully; test the model first where asked
Written to stdout: records (records.py), {"answer": ..., "to": command} and {"event": ...}: ready, started, finished,
told_to_end,
failed, checkpoint_broken, records_lost.

End of stdin before "stop" means that the orchestrator is gone: the node ends at once. Exit status: 0 stopped,
1 failed, 2 wrong usage, 128 + n by signal n.
"""

import asyncio
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from node_image import learner, plugins
from node_image.calibrate import calibrate
from node_image.clock import event_loop
from node_image.handshake import Identity
from node_image.loading import load_torch
from node_image.message import MAX_PAYLOAD_BYTES
from node_image.node import evaluate_finally, fingerprint, run_node
from node_image.obeying import Obeying, live
from node_image.orders import ORDERS
from node_image.recorder import Recorder
from node_image.spec import PORT, NodeSpec
from node_image.tcp import TcpRuntime
from node_image.tls import Tls

LEAST_PAYLOAD_BYTES = 8 * 2**20  # room for raw samples where the model is small
MODELS_IN_PAYLOAD = 4
SWITCH_S = 0.0002  # messages wait that long, and not 5 ms, for the thread that computes or writes a checkpoint


def main() -> int:
    """Be the node that the spec file named on the command line describes."""
    if len(sys.argv) not in (2, 3):
        sys.stderr.write("usage: python -m node_image SPEC.json [PLUGINS.json]\n")
        return 2
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded: nodes share cores
    try:
        for each in sys.argv[2:]:
            plugins.load_copies(Path(each))
    except plugins.PluginError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return serve(NodeSpec.from_json(Path(sys.argv[1]).read_text()))


def serve(spec: NodeSpec, stdin_fd: int = 0, stdout_fd: int = 1, port: int = PORT) -> int:
    """Obey commands until told to stop; the exit status. For a process of its own: it takes over signals.

    The caller should end with `os._exit`: an ordinary exit waits for work that the compute thread still does.
    """
    sys.setswitchinterval(SWITCH_S)
    lines_fd = os.dup(stdout_fd)
    os.dup2(2, stdout_fd)  # what a library prints must not end up between the records
    recorder = Recorder(lines_fd)
    try:
        with asyncio.Runner(loop_factory=partial(event_loop, spec.slow_down)) as runner:
            return runner.run(_obey(spec, stdin_fd, recorder, port))
    finally:
        recorder.close()
        sys.stderr.flush()


async def _obey(spec: NodeSpec, stdin_fd: int, recorder: Recorder, port: int) -> int:
    return await live(_Life(spec, recorder, port), stdin_fd)


class _Life(Obeying):
    """What a node that learns does from its first command to its end."""

    def __init__(self, spec: NodeSpec, recorder: Recorder, port: int) -> None:
        super().__init__(
            spec,
            recorder,
            {
                "init": self._init,
                "calibrate": self._calibrate,
                "slow": self._slow,
                **dict.fromkeys(ORDERS, self._order),
                "start": self._start,
                "stop": self._stop,
            },
        )
        self._port = port
        self._runtime: TcpRuntime | None = None
        self._part: asyncio.Task[None] | None = None

    def now(self) -> float:
        """Seconds since the run began; 0 before it."""
        return 0.0 if self._runtime is None else self._runtime.elapsed()

    def came_to(self) -> str:
        """Its round or version, and its local phases, where they are known."""
        return "" if self._runtime is None else str(self._runtime.progress)

    async def close(self) -> None:
        """Let go of everything: algorithm, probes, connections."""
        if self._part is not None:
            self._part.cancel()
            await asyncio.gather(self._part, return_exceptions=True)
        await super().close()
        if self._runtime is not None:
            await self._runtime.close()

    async def _init(self, command: dict[str, Any]) -> None:
        built = await asyncio.to_thread(_build, self.spec)
        identity = Identity(
            self.spec.name,
            str(command["run_id"]),
            bytes.fromhex(command["listening"]),
            {peer: bytes.fromhex(key) for peer, key in command["pairs"].items()},
            int(command["life"]),
        )
        model_bytes = 4 * built.parameters
        self._runtime = TcpRuntime(
            self.spec,
            identity,
            built,
            self.recorder,
            Path(command["state_dir"]),
            port=self._port,
            max_payload_bytes=min(MAX_PAYLOAD_BYTES, max(LEAST_PAYLOAD_BYTES, MODELS_IN_PAYLOAD * model_bytes)),
            tls=Tls.of(command["tls"]) if "tls" in command else None,
        )
        await self._runtime.listen()
        self.recorder.event({"event": "ready", "t": 0.0, "pid": os.getpid()})

    async def _calibrate(self, command: dict[str, Any]) -> None:
        if self._runtime is None:
            raise ValueError("calibrate must follow init")
        answer = await asyncio.to_thread(calibrate, self._runtime.learner)
        self.answer(command, answer)

    async def _slow(self, command: dict[str, Any]) -> None:
        if self._runtime is None:
            raise ValueError("slow must follow init")
        factor = command["factor"]
        self._runtime.slow_down(None if factor is None else float(factor))
        if "id" in command:
            self.answer(command, {"factor": factor})

    async def _order(self, command: dict[str, Any]) -> None:
        if self._runtime is None:
            raise ValueError(f"{command['do']} must follow init")
        self.answer(command, await ORDERS[command["do"]](self._runtime, command))

    async def _start(self, command: dict[str, Any]) -> None:
        if self._runtime is None or self._part is not None:
            raise ValueError("start must follow init, once")
        self._part = asyncio.get_running_loop().create_task(self._live(self._runtime, command["start_at"]))

    async def _live(self, runtime: TcpRuntime, start_at: float | None) -> None:
        """The run as this node lives it. After its end the node still answers for its connections until stopped."""
        try:
            await runtime.start(start_at)
            self.recorder.event({"event": "started", "t": runtime.elapsed()})
            ending = await run_node(runtime, self.spec)
            self.recorder.event({"event": "finished", "t": runtime.elapsed(), "reason": ending})
        except Exception as error:
            self.fail(error)

    async def _stop(self, command: dict[str, Any]) -> None:
        if self._runtime is not None and self._part is not None:
            self._part.cancel()
            await asyncio.gather(self._part, return_exceptions=True)
            self._runtime.stop_clock()
            if command.get("evaluate", False):
                await evaluate_finally(self._runtime)
                t = round(self._runtime.elapsed(), 6)  # as the records of the same instant
                self.recorder.event({"event": "model", "t": t, **fingerprint(self._runtime.learner)})
        self.end(0)


def _build(spec: NodeSpec) -> learner.Learner:
    if "torch" not in sys.modules:  # it is in a fork of the fork server
        load_torch()
    return learner.build(spec)


if __name__ == "__main__":
    exit_status = main()
    sys.stderr.flush()
    os._exit(exit_status)
