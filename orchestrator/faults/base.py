"""What a kind of fault is: its own parameters, what it needs of a substrate, and how it acts and heals.

A fault acts through the substrate's levers alone and never asks which substrate it is. `inject` returns what it saw
happen (the evidence) and how to heal. A fault whose evidence is missing makes the run's verdict `unknown`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from orchestrator.faults.watch import Watch
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink, Plan, PlannedFault, PlannedNode
from orchestrator.substrates.base import Resource, Substrate

Targets = Literal["nodes", "links", "coordinator", "run"]


class FaultParameters(BaseModel):
    """A kind's own fields, beside the common ones (kind, at, for, victims) that the scenario reads for all kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoParameters(FaultParameters):
    """For kinds that need nothing beyond when and whom."""


class Exporter(Protocol):
    """Where the run's live metrics are read."""

    url: str

    def go_deaf(self, how: Literal["refuses", "hangs"]) -> None:
        """Answer nobody from now on. Blocks for an instant."""

    def hear_again(self) -> None:
        """Answer as ever."""


@dataclass
class World:
    """What a fault may touch: the plan (read), the levers, and the state that faults share."""

    plan: Plan
    substrate: Substrate
    blocked: dict[int, frozenset[tuple[str, str]]]  # fault index -> pairs it blocks now; partitions add up
    reshaped: dict[str, list[tuple[int, Callable[[LinkShape], LinkShape] | None]]]  # link -> changes in force
    down_by: dict[str, set[int]]  # node -> faults that keep it stopped
    frozen_by: dict[str, set[int]]  # node -> faults that keep it frozen
    slowed_by: dict[str, dict[int, float]]  # node -> the share of its speed that each fault leaves it
    standing: dict[str, dict[int, dict[str, Any]]]  # node -> by fault, what the node is ordered to do
    watch: Watch
    log: Callable[[str, dict[str, Any]], None]  # an event: its name and details
    limited: dict[tuple[str, Resource], dict[int, int]] = field(default_factory=dict)  # by fault: what it leaves a node
    undone: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # node -> what it could not be told in time
    superseded_by: dict[str, int] = field(default_factory=dict)  # node -> the fault that keeps a former life of it
    exporter: Exporter | None = None  # None: there is none
    deaf_by: set[int] = field(default_factory=set)  # faults that keep it from answering
    ending: bool = False  # the run is over: heal what must not stay, but start no node again

    def node(self, name: str) -> PlannedNode:
        """The planned node of that name."""
        return next(node for node in self.plan.nodes if node.name == name)

    def link(self, link_id: str) -> DirectedLink:
        """The planned link of that id."""
        return next(link for link in self.plan.links if link.id == link_id)


Heal = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Injected:
    """A fault that acts: what was seen, and how to end it. `heal` returns what was seen as it ended."""

    evidence: str
    heal: Heal


@dataclass(frozen=True)
class FaultKind:
    """A row of the table of kinds. `needs` looks at the parameters: a dropout by pause needs other levers."""

    about: str
    targets: Targets
    Parameters: type[FaultParameters]
    needs: Callable[[Mapping[str, Any]], frozenset[str]]
    inject: Callable[[PlannedFault, World], Awaitable[Injected]]
    refuses: Callable[[PlannedFault, Plan], list[str]] = lambda _fault, _plan: []  # why it cannot be in this plan
    # Of one that acted as its run was killed, and acts again as the run goes on, before time does. None: inject.
    again: Callable[[PlannedFault, World], Awaitable[Injected]] | None = None
    forgets: str = ""  # what of it nobody knows any more then; the run is degraded
    # Of parameters, victims and all nodes: the (source, target) pairs that it cuts off, where the plan lists them.
    pairs: Callable[[Mapping[str, Any], Sequence[str], Sequence[str]], tuple[tuple[str, str], ...]] = lambda *_: ()


async def over_at_once(_fault: PlannedFault, _world: World) -> Injected:
    """To go on with a fault that is an instant, or whose victims are gone with the run that was killed."""

    async def nothing() -> str:
        return "there was nothing left of it"

    return Injected("it was over with the run that was killed, and is not repeated", nothing)


def needs_learning(_fault: PlannedFault, plan: Plan) -> list[str]:
    """For kinds that are orders to Edgebed's own nodes: programs of one's own would not obey them."""
    return [] if plan.workload is None else ["the nodes are programs of one's own, which take no orders"]
