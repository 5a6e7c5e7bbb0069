"""NodeSpec: all that a node is told before it starts. A slice of the plan, with no new facts; one JSON file a node."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["coordinator", "device"]
PORT = 7000  # every node listens here, inside its own namespace


@dataclass(frozen=True)
class Peer:
    """Another node that this one may speak to."""

    name: str
    address: str


@dataclass(frozen=True)
class ComputeSpeed:
    """Cost model of a device: seconds = macs / macs_per_s + ops * op_overhead_s (one thread)."""

    macs_per_s: float
    op_overhead_s: float

    def seconds(self, macs: float, ops: float) -> float:
        """Seconds that work of so many multiply-accumulates in so many tensor operations takes."""
        return macs / self.macs_per_s + ops * self.op_overhead_s


@dataclass(frozen=True)
class Chosen:
    """A plug-in by its registered name, with its own parameters as the scenario gives them (already validated)."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskSpec:
    """What is learned and which part of it this device holds.

    Every node derives its own share from (`name`, `parameters`, `partition`, `data_seed`, device index, count), so
    that all of them agree on the split without sending it.
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    partition: Chosen = field(default_factory=lambda: Chosen("iid"))
    stream_per_s: float | None = None  # samples that arrive a second; None: all there from the start
    data_dir: str | None = None


@dataclass(frozen=True)
class NodeSpec:
    """One node. `index` counts devices from 0 (the coordinator has -1); `seed` is its own, derived from the run's."""

    name: str
    role: Role
    index: int
    devices: int  # number of devices in the run
    address: str
    peers: tuple[Peer, ...]  # whom it may speak to (star: device -> coordinator; coordinator -> all devices)
    coordinator: str | None
    seed: int
    data_seed: int  # the same for all nodes: split of the data and initial weights
    stop_after_s: float
    task: TaskSpec
    model: Chosen
    algorithm: Chosen
    rule: Chosen
    speed: ComputeSpeed

    def to_json(self) -> str:
        """Stable text: sorted keys, so that the same spec is the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)

    @staticmethod
    def from_json(text: str) -> "NodeSpec":
        """Inverse of `to_json`."""
        raw = json.loads(text)
        task = raw.pop("task")
        partition = Chosen(**task.pop("partition"))
        return NodeSpec(
            peers=tuple(Peer(**peer) for peer in raw.pop("peers")),
            task=TaskSpec(partition=partition, **task),
            model=Chosen(**raw.pop("model")),
            algorithm=Chosen(**raw.pop("algorithm")),
            rule=Chosen(**raw.pop("rule")),
            speed=ComputeSpeed(**raw.pop("speed")),
            **raw,
        )
