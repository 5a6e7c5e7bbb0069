"""The fabric: the process that holds every node's TUN device and moves their packets along the plan's links.

`python -m orchestrator.links.fabric PARENT_PID` is started by `delay_line.py` and speaks JSON lines on stdin and
stdout: each request {"do": ...} is answered by one object, in order; a failed one by {"error": text}.

    open     nodes [{name, pid, address}], links [{id, source, target, seed, shape}]
    attach   nodes: those that came back in a new namespace
    epoch    monotonic: the instant at which the run begins
    shape    link, shape, up: answered with the shape that is in force now
    block    pairs [[source, target]]
    counters, traffic, lateness, missed
    close

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

from orchestrator.errors import EdgebedError
from orchestrator.links.forwarding import Forwarding
from orchestrator.links.kernel import die_with_parent
from orchestrator.links.link import Link
from orchestrator.links.readback import from_json, to_json
from orchestrator.links.routes import Routes
from orchestrator.links.shape import LinkShape
from orchestrator.links.trace import Trace, load_trace
from orchestrator.links.tun import open_tun
from orchestrator.plan import DirectedLink

NICE = -15
READ_BYTES = 1 << 20


class Fabric:
    """Answers requests; between them the forwarding loop runs."""

    def __init__(self, priority: str) -> None:
        self.forwarding = Forwarding(Routes(()), {})
        self._priority = priority
        self._prefix = 30
        self._unread = b""
        self._unsent = b""

    def serve(self) -> None:
        """Answer requests on stdin until told to close, or until stdin ends."""
        os.set_blocking(sys.stdin.fileno(), False)
        os.set_blocking(sys.stdout.fileno(), False)  # a slow reader must not stop the network
        while self.forwarding.running:
            # `open` puts a new forwarding in place of the one that waits for it.
            current = self.forwarding
            current.run(sys.stdin.fileno(), self._on_control)
