"""The fabric: the process that holds every node's TUN device and moves their packets along the plan's links.

`python -m orchestrator.links.fabric PARENT_PID SLOW_DOWN` is started by `delay_line.py` and speaks JSON lines on stdin
and stdout: each request {"do": ..., "number": n} is answered in order by one object with that number; one that failed
has {"error": text}.

    open      links [{id, source, target, seed, shape}], nodes [{name, address, and pid or board}]: `pid` of a process
              in the node's namespace here, `board` the (host, port) of the tunnel to a node elsewhere; answered with
              the length of the nodes' network prefix and `tunnels`: our (host, port) of each
    attach    nodes: those that came back in a new namespace, or behind a new port
    epoch     monotonic: the instant at which the run begins
    shape     link, shape, up: answered with what is in force then
    block     pairs [[source, target]]
    counters, traffic, lateness, missed, close

It dies with its parent, and its devices with it.
"""

import gc
import ipaddress
import json
import os
import resource
import select
import sys
from dataclasses import asdict
from typing import Any

from node_image.kernel import die_with_parent
from orchestrator.errors import EdgebedError
from orchestrator.links.forwarding import Forwarding
from orchestrator.links.link import Link
from orchestrator.links.readback import from_json, to_json
from orchestrator.links.shape import LinkShape
from orchestrator.links.trace import Trace, load_trace
from orchestrator.links.tun import End, Tunnel, open_tun
from orchestrator.plan import DirectedLink

STDIN, STDOUT = 0, 1
NICE = -15
READ_BYTES = 1 << 20
Answer = dict[str, Any]


class Fabric:
    """Answers requests; between them its forwarding moves packets."""

    def __init__(self, priority: str, slow_down: float) -> None:
        self._forwarding = Forwarding(slow_down)
        self._priority = priority
        self._prefix = 32
        self._unread = b""
        self._unsent = b""
        self._answers = {
            "open": self._open,
            "attach": self._attach,
            "epoch": self._epoch,
            "shape": self._shape,
            "block": self._block,
            "counters": self._counters,
            "traffic": self._traffic,
            "lateness": self._lateness,
            "missed": self._missed,
            "close": self._close,
        }

    def serve(self) -> None:
        """Answer requests on stdin until told to close, or until stdin ends."""
        os.set_blocking(STDIN, False)
        os.set_blocking(STDOUT, False)  # a slow reader must not stop the network
        self._forwarding.watch(STDIN, select.EPOLLIN)
        self._forwarding.run(self._on_control)
        os.set_blocking(STDOUT, True)
        os.write(STDOUT, self._unsent)

    def _on_control(self, fd: int) -> None:
        if fd == STDOUT:
            self._send()
            return
        received = os.read(STDIN, READ_BYTES)
        if not received:
            self._forwarding.running = False
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            idle = not self._unsent
            self._unsent += json.dumps(self._answer(line)).encode() + b"\n"
            if idle:
                self._forwarding.watch(STDOUT, select.EPOLLOUT)

    def _send(self) -> None:
        sent = os.write(STDOUT, self._unsent)
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._forwarding.unwatch(STDOUT)

    def _answer(self, line: bytes) -> Answer:
        request = json.loads(line)
        try:
            answer = self._answers[request["do"]](request)
        except (EdgebedError, OSError, ValueError) as error:
            answer = {"error": str(error)}
        return {**answer, "number": request["number"]}

    def _open(self, request: Answer) -> Answer:
        planned = tuple(DirectedLink(**{**each, "shape": from_json(each["shape"])}) for each in request["links"])
        links = {each.id: Link(each.shape, each.seed, trace=_trace(each.shape)) for each in planned}
        self._forwarding.lay(planned, links)
        self._prefix = covering_prefix([node["address"] for node in request["nodes"]])
        answer = self._attach(request)
        # From here on nothing makes cycles: a collection would be a pause of the network.
        gc.collect()
        gc.freeze()
        gc.disable()
        return answer

    def _attach(self, request: Answer) -> Answer:
        tunnels = {}
        for node in request["nodes"]:
            end = self._tunnel(node) if "board" in node else self._device(node)
            self._forwarding.attach(node["name"], node["address"], end)
            if isinstance(end, Tunnel):
                tunnels[node["name"]] = end.local
        return {"prefix": self._prefix, "priority": self._priority, "tunnels": tunnels}

    def _device(self, node: Answer) -> End:
        try:
            return open_tun(node["pid"], node["address"], self._prefix)
        except OSError as error:
            raise OSError(
                f"cannot open a TUN device for node {node['name']} (pid {node['pid']}, {node['address']}/"
                f"{self._prefix}): {error.strerror or error}. It needs root and /dev/net/tun; see `edgebed doctor`"
            ) from error

    def _tunnel(self, node: Answer) -> End:
        host, port = node["board"]
        try:
            return Tunnel(host, port)
        except OSError as error:
            raise OSError(
                f"cannot send to {host}, where node {node['name']} is: {error.strerror or error}. "
                "Is the data address of that board right, and is there a route to it?"
            ) from error

    def _epoch(self, request: Answer) -> Answer:
        self._forwarding.begin(request["monotonic"])
        return {"epoch": request["monotonic"]}

    def _shape(self, request: Answer) -> Answer:
        link = self._forwarding.links.get(request["link"])
        if link is None:
            return {"error": f"there is no link {request['link']!r}"}
        shape = from_json(request["shape"])
        retimed = self._forwarding.shape(link, shape, request["up"], _trace(shape))
        return {"shape": to_json(link.shape), "up": link.up, "retimed": retimed}

    def _block(self, request: Answer) -> Answer:
        self._forwarding.block(frozenset((source, target) for source, target in request["pairs"]))
        return {"pairs": sorted(self._forwarding.blocked)}

    def _counters(self, request: Answer) -> Answer:
        return {"links": {name: asdict(count) for name, count in self._forwarding.counted().items()}}

    def _traffic(self, request: Answer) -> Answer:
        return {"bins": self._forwarding.traffic()}

    def _lateness(self, request: Answer) -> Answer:
        return asdict(self._forwarding.lateness.summary())

    def _missed(self, request: Answer) -> Answer:
        stations = self._forwarding.stations.values()
        return {
            "unread": {station.name: missed for station in stations if (missed := station.tun.missed_packets())},
            "no_route": self._forwarding.no_route_packets,
            "refused": self._forwarding.refused_packets,
        }

    def _close(self, request: Answer) -> Answer:
        self._forwarding.running = False
        return {"closed": True}


def _trace(shape: LinkShape) -> Trace | None:
    return None if shape.trace is None else load_trace(shape.trace)


def covering_prefix(addresses: list[str]) -> int:
    """Length of the longest network prefix that holds all addresses as hosts (neither network nor broadcast)."""
    hosts = [int(ipaddress.IPv4Address(address)) for address in addresses]
    for prefix in range(30, 0, -1):
        size = 1 << (32 - prefix)
        same_network = len({host // size for host in hosts}) == 1
        if same_network and all(0 < host % size < size - 1 for host in hosts):
            return prefix
    raise ValueError("the nodes' addresses share no network")


def raise_priority() -> str:
    """Ask to be run before ordinary processes; says what was granted."""
    got = []
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        got.append(f"nice {NICE}")
    except PermissionError:
        got.append(f"nice {os.getpriority(os.PRIO_PROCESS, 0)} (a higher priority was refused)")
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        got.append("SCHED_RR 1")
    except PermissionError:
        got.append("SCHED_OTHER (real time was refused)")
    return ", ".join(got)


def main() -> None:
    """Serve the process that started us; the arguments are its id and how many real seconds one of the run's lasts."""
    die_with_parent(int(sys.argv[1]))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Fabric(raise_priority(), float(sys.argv[2])).serve()


if __name__ == "__main__":
    main()
