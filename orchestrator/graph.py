"""What a topology decides: nodes and switches, linked in pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.forms.base import Mistake
from orchestrator.forms.link import Link, OneWay
from orchestrator.mobility import Spell, Track

MAX_LINKS = 100_000  # directed


class TopologyError(ValueError):
    """These devices cannot be linked so; `mistakes` are paths below `topology` and what is wrong there."""

    def __init__(self, *mistakes: Mistake) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(text for _, text in mistakes))


@dataclass(frozen=True)
class End:
    """A node with its own link to the network, if it has one."""

    name: str
    group: str
    link: Link | None


@dataclass(frozen=True)
class Edge:
    """Two ends that are linked: `forward` from a to b, `backward` from b to a; `away`: when out of range."""

    a: str
    b: str
    forward: OneWay
    backward: OneWay
    away: tuple[Spell, ...] = ()


@dataclass(frozen=True)
class Graph:
    """What a topology decides. `tracks` say where devices are, where the topology has places."""

    edges: tuple[Edge, ...]
    switches: tuple[str, ...] = ()
    tracks: Mapping[str, Track] = field(default_factory=dict)


def check_size(links: int) -> None:
    """TopologyError where there are more directed links than can be run."""
    if links > MAX_LINKS:
        raise TopologyError(((), f"makes {links} directed links or more; at most {MAX_LINKS} can be run"))
