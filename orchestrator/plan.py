"""The plan: everything decided, seed applied. The same scenario and seed give the same plan, byte for byte."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node_image.spec import NodeSpec, Role
from orchestrator.devices import DeviceProfile
from orchestrator.links.shape import LinkShape


@dataclass(frozen=True)
class PlannedNode:
    """A learning process: who it is, on what kind of device, and what it is told (`spec`)."""

    name: str
    role: Role
    group: str
    address: str
    profile: DeviceProfile
    spec: NodeSpec
    position_m: tuple[float, float] | None = None


@dataclass(frozen=True)
class DirectedLink:
    """One direction between two ends (node or switch names); `id` is `source>target`."""

    id: str
    source: str
    target: str
    shape: LinkShape
    seed: int


@dataclass(frozen=True)
class PlannedFault:
    """One disturbance with its victims chosen. `heal_s` None: it lasts for ever. Times since the run began."""

    index: int
    kind: str
    at_s: float
    heal_s: float | None
    nodes: tuple[str, ...]
    links: tuple[str, ...]  # ids of directed links
    parameters: Mapping[str, Any]  # the kind's own, base units, validated


@dataclass(frozen=True)
class Expectation:
    """`metric` must lie within [at_least, at_most] in the run's summary."""

    metric: str
    at_least: float | None
    at_most: float | None
    text: str  # as the user wrote it, for the table


@dataclass(frozen=True)
class Plan:
    """One run, decided."""

    name: str
    about: str
    seed: int
    stop_after_s: float
    substrate: str  # auto | simulation | mininet | docker | ssh, as asked
    nodes: tuple[PlannedNode, ...]  # coordinator first (if any), then devices by index
    switches: tuple[str, ...]
    links: tuple[DirectedLink, ...]
    faults: tuple[PlannedFault, ...]  # by at_s
    expectations: tuple[Expectation, ...]
