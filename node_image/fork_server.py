"""The fork server: holds torch loaded and forks a node in milliseconds, where a fresh process takes seconds.

`python -m node_image.fork_server FD [PLUGINS.json]` loads the run's plug-ins, if it has any, and speaks over the
inherited datagram-like socket FD (SOCK_SEQPACKET), one JSON object a packet (`programs` in place of the list: nodes are
attendants of somebody else's programs, and torch stays out):

    -> {"load": spec}                   <- {"loaded": true} or {"refused": text}: the task's data, once for all nodes
    -> {"fork": name, "spec": ..., "netns_pid": n, "cgroups": [...]} with three descriptors: stdin, stdout, stderr;
       for an attendant also "duty": {...} (node_image.workload.spec.Duty)
    <- {"forked": name, "pid": n}
    <- {"exited": name, "pid": n, "status": wait status}
    <- {"ready": true}  once, when everything is loaded

A node joins its control groups and its network namespace before it runs a line of an algorithm. It asks to die with
this process, and this process asks to die with the orchestrator. Only this thread forks (that request follows the
thread), and no other thread exists before a fork: torch's pools start in the children, with one thread each.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from node_image import plugins
from node_image.kernel import die_with_parent, enter_network_of
from node_image.loading import load_torch

LARGEST_REQUEST = 1 << 20
PROGRAMS = "programs"


def main() -> int:
    """Load, say ready, and serve until the orchestrator's end of the socket closes."""
    die_with_parent(os.getppid())
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the orchestrator decides
    wake_r, wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_w)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        _load(sys.argv[2:])
    except plugins.PluginError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    control.send(b'{"ready":true}')
    names: dict[int, str] = {}
    while True:
        readable, _, _ = select.select([control.fileno(), wake_r], [], [])
        if wake_r in readable:
            os.read(wake_r, 4096)
            _reap(control, names)
        if control.fileno() in readable:
            packet, fds, _, _ = socket.recv_fds(control, LARGEST_REQUEST, 3)
            if not packet:
                return 0
            request = json.loads(packet)
            if "load" in request:
                control.send(json.dumps(_load_task(request["load"])).encode())
                continue
            pid = os.fork()
            if pid == 0:
                os._exit(_child(request, fds, (control.detach(), wake_r, wake_w)))
            for fd in fds:
                os.close(fd)
            names[pid] = request["fork"]
            control.send(json.dumps({"forked": request["fork"], "pid": pid}).encode())


def _load(lists: list[str]) -> None:
    """Import what every node needs, and freeze it: collections in a child would touch, and so copy, shared pages."""
    if lists == [PROGRAMS]:
        import node_image.workload.attendant  # noqa: F401 - for the children
    else:
        load_torch()
        for each in lists:
            plugins.load_copies(Path(each))
    gc.collect()
    gc.freeze()


def _load_task(spec: str) -> dict[str, Any]:
    """Build what all nodes of a run have in common before the first is forked: they share its pages."""
    from node_image.learner import build
    from node_image.outcomes import UnfitError
    from node_image.spec import NodeSpec

    try:
        build(NodeSpec.from_json(spec))
    except UnfitError as error:
        return {"refused": str(error)}
    except Exception as error:
        if (mistake := plugins.find_mistake(error)) is None:
            raise
        return {"refused": str(mistake)}
    gc.collect()
    gc.freeze()
    return {"loaded": True}


def _reap(control: socket.socket, names: dict[int, str]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        report = {"exited": names.pop(pid), "pid": pid, "status": status}
        control.send(json.dumps(report).encode())


def _child(request: dict[str, Any], fds: list[int], ours: tuple[int, ...]) -> int:
    parent = os.getppid()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
    for fd in {*fds, *ours} - {0, 1, 2}:
        os.close(fd)
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        die_with_parent(parent)
        for procs in request["cgroups"]:
            with open(procs, "w") as file:  # noqa: PTH123 - one plain write to a kernel file, nothing else loaded
                file.write(str(os.getpid()))
        enter_network_of(request["netns_pid"])
        from node_image.spec import NodeSpec

        spec = NodeSpec.from_json(request["spec"])
        if "duty" in request:
            from node_image.workload.attendant import attend
            from node_image.workload.spec import Duty

            return attend(spec, Duty.from_dict(request["duty"]))
        from node_image.__main__ import serve

        return serve(spec)
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    sys.exit(main())
