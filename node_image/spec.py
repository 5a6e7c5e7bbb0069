"""NodeSpec: all that a node is told before it starts. A slice of the plan, with no new facts; one JSON file a node."""

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["coordinator", "device"]
PORT = 7000  # every node listens here, inside its own namespace
LEFT_OUT = "left out of JSON where it is the default"  # of a plan: metadata of fields that came later


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
class Limits:
    """What a device has for a model; None: no bound. `rate_bps` is that of its own link upwards."""

    memory_bytes: int | None = None
    macs_per_s: float | None = None
    rate_bps: float | None = None


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
    arrival: str = "as_split"  # the order in which a device's samples arrive (node_image.data.arrival)
    classes: tuple[int, ...] = ()  # only these, relabelled from 0 in this order; none named: all
    public: int = 0  # samples taken out of the training set that every node holds
    drift: tuple[Chosen, ...] = ()  # how the devices' samples change during the run (node_image.data.drift)


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
    selection: Chosen = field(default_factory=lambda: Chosen("everything"))
    initial: str | None = None  # safetensors file of initial weights, by the names of the network's parts
    limits: Limits = field(default_factory=Limits)
    phase_every_s: float = 0.0  # local phases of the device begin at least so long after each other
    track: tuple[tuple[float, float, float], ...] = ()  # where it is: (time s, x m, y m), in order of time
    slow_down: float = field(default=1.0, metadata={LEFT_OUT: True})  # real seconds in one of the run's (clock.py)

    def dials(self, peer: str) -> bool:
        """Whether it is for this node to connect to a peer: devices dial the coordinator, else whose name comes first.

        Of each pair one side dials, so that two connections never meet half-way.
        """
        if self.coordinator in (peer, self.name):
            return peer == self.coordinator
        return self.name < peer

    def to_json(self) -> str:
        """Stable text: sorted keys, so that the same spec is the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1)

    def position_m(self, now: float) -> tuple[float, float] | None:
        """Where the node is at `now` (s), on a straight line between the points of its track; None without one."""
        if not self.track:
            return None
        later = bisect_right(self.track, now, key=lambda point: point[0])
        if later == 0 or later == len(self.track):
            return self.track[max(0, later - 1)][1:]
        (t0, x0, y0), (t1, x1, y1) = self.track[later - 1 : later + 1]
        share = (now - t0) / (t1 - t0)
        return x0 + share * (x1 - x0), y0 + share * (y1 - y0)

    @staticmethod
    def from_json(text: str) -> "NodeSpec":
        """Inverse of `to_json`."""
        raw = json.loads(text)
        task = raw.pop("task")
        partition = Chosen(**task.pop("partition"))
        drift = tuple(Chosen(**each) for each in task.pop("drift"))
        classes = tuple(task.pop("classes"))
        return NodeSpec(
            peers=tuple(Peer(**peer) for peer in raw.pop("peers")),
            task=TaskSpec(partition=partition, drift=drift, classes=classes, **task),
            model=Chosen(**raw.pop("model")),
            algorithm=Chosen(**raw.pop("algorithm")),
            rule=Chosen(**raw.pop("rule")),
            speed=ComputeSpeed(**raw.pop("speed")),
            selection=Chosen(**raw.pop("selection")),
            limits=Limits(**raw.pop("limits")),
            track=tuple((t, x, y) for t, x, y in raw.pop("track")),
            **raw,
        )
