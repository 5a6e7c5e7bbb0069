"""Calibration: what CPU share makes this host as slow as a device's profile says.

The profile's cost model says how long one local step of the scenario's own model takes on the board. A node measures
how long the same step takes on this host (CPU time, one thread, no limit), and share = host / board. Measured once for
each (task, model, rule) in a process, so that compared runs have the same shares; recorded in environment.json.
"""

import json
from dataclasses import asdict
from typing import Any

from orchestrator.plan import PlannedNode
from orchestrator.substrates.processes import NodeProcess

CALIBRATE_WITHIN_S = 60.0


class Calibration:
    """Host seconds of one local step, by what is learned; shares follow from the profiles."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, float]] = {}
        self._found: dict[str, dict[str, float]] = {}

    async def share(self, node: PlannedNode, process: NodeProcess) -> float | None:
        """CPU share of a node; None (no limit) for one without local steps. Above 1: this host is too slow for it."""
        spec = node.spec
        key = json.dumps([asdict(spec.task), asdict(spec.model), asdict(spec.rule)], sort_keys=True, default=str)
        if key not in self._steps:
            self._steps[key] = await process.ask({"do": "calibrate"}, CALIBRATE_WITHIN_S)
        step = self._steps[key]
        board_s = spec.speed.seconds(step["macs"], step["ops"])
        if board_s <= 0 or step["host_s"] <= 0:
            return None
        share = step["host_s"] / board_s
        self._found[node.profile.name] = {**step, "board_s": board_s, "share": share}
        return share

    def found(self) -> dict[str, Any]:
        """By profile: seconds of a local step on this host and on the board, and the share that follows."""
        return dict(self._found)


CALIBRATION = Calibration()  # of this process: every run of a comparison gets the same shares
