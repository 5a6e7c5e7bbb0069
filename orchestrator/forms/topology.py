"""How a topology is written in YAML; `topology.py` says what each of them makes of the devices."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, TypeAdapter

from orchestrator.contact_files import Contacts, find_contacts
from orchestrator.forms.base import Count, Form, Name, Reading, one_of, read_by, read_path
from orchestrator.forms.link import PLAIN, AnyLink
from orchestrator.graph_files import SiteMap, find_sites
from orchestrator.units import LENGTH, Length, Share, Speed


class Star(Form):
    """Every device to the coordinator."""

    kind: Literal["star"] = "star"


class Gateway(Form):
    """A gateway and the groups whose devices it serves."""

    name: Name
    groups: tuple[Name, ...]


def _read_gateways(value: Any, reading: Reading) -> int | tuple[Gateway, ...]:
    if isinstance(value, list) and value:
        return _LIST_OF_GATEWAYS.validate_python(value, context=reading)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("must be how many (2), or a list of {name, groups}")


_LIST_OF_GATEWAYS = TypeAdapter(tuple[Gateway, ...])
Gateways = Annotated[int | tuple[Gateway, ...], read_by(_read_gateways, Count | tuple[Gateway, ...])]


class TwoTier(Form):
    """Devices to gateways (`gw-1`... by turns, or as told), gateways by `uplink` to the coordinator."""

    kind: Literal["two_tier"]
    gateways: Gateways
    uplink: AnyLink


class Peering(Form):
    """Devices linked to each other; see the module for the links' shapes."""

    link: AnyLink | None = None


class Ring(Peering):
    """Each device to the next, the last to the first."""

    kind: Literal["ring"]


class Line(Peering):
    """Each device to the next."""

    kind: Literal["line"]


class Full(Peering):
    """Each device to every other."""

    kind: Literal["full"]


def _read_area(value: Any, _: Reading) -> tuple[float, float]:
    sides = value if isinstance(value, list | tuple) else [value, value]
    if len(sides) != 2:
        raise ValueError('must be one length (a square) or two, such as ["100 m", "50 m"]')
    width, height = (LENGTH.parse(side) for side in sides)
    return width, height


Area = Annotated[
    tuple[float, float],
    read_by(_read_area, Length | tuple[Length, Length]),
    PlainSerializer(lambda sides: [LENGTH.write(side) for side in sides], return_type=list[str]),
]


class RandomGeometric(Peering):
    """Devices at random places in `area`, linked while they are within `radio_range` of each other.

    With a `speed` they move: straight ahead, at every second with probability `turn` in a new direction, reflected at
    the borders. Links then go down and come up again as devices leave each other's range and return.
    """

    kind: Literal["random_geometric"]
    area: Area
    radio_range_m: Annotated[Length, Field(gt=0)]
    speed_m_per_s: Speed = 0.0
    turn: Share = 0.05


class ExplicitLink(Form):
    """A link between two nodes, switches or groups (of which each device is meant); `link.up` leads from the first."""

    between: tuple[str, str]
    link: AnyLink | None = None


class Explicit(Form):
    """Exactly these links. One without `link` has that of the device at its first end, or else at its second."""

    kind: Literal["explicit"]
    switches: tuple[Name, ...] = ()
    links: tuple[ExplicitLink, ...]


SitesFile = Annotated[
    SiteMap,
    read_path("a .graphml, .gml or .csv file", find_sites),
    PlainSerializer(lambda sites: sites.path, return_type=str),
]


def _read_places(value: Any, _: Reading) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping of groups to a site or a list of sites")  # noqa: TRY004 - for pydantic
    return {
        str(group): tuple(str(each) for each in (sites if isinstance(sites, list) else [sites]))
        for group, sites in value.items()
        if sites != []
    }


Placement = Annotated[dict[str, tuple[str, ...]], read_by(_read_places, dict[str, str | tuple[str, ...]])]


class Network(Form):
    """The network of a file (GraphML, GML, or a matrix of round-trip times as CSV): its sites are switches.

    `link` is what cables have that the file does not say. `at` says on which sites the devices of a group hang, by
    turns (and `coordinator`); else devices take all sites by turns and the coordinator the first. Packets take the
    way of fewest hops.
    """

    kind: Literal["network"]
    file: SitesFile
    link: AnyLink = Field(default_factory=lambda: PLAIN)
    at: Placement = Field(default_factory=dict)


ContactsFile = Annotated[
    Contacts, read_path("a contact trace", find_contacts), PlainSerializer(lambda trace: trace.path, return_type=str)
]


class Contact(Peering):
    """Links that come and go as a contact trace says (`time CONN a b up|down`), played `faster` times as fast."""

    kind: Literal["contacts"]
    file: ContactsFile
    faster: Annotated[float, Field(gt=0, le=1e6)] = 1.0


FORMS: dict[str, type[Form]] = {
    "contacts": Contact,
    "explicit": Explicit,
    "full": Full,
    "line": Line,
    "network": Network,
    "random_geometric": RandomGeometric,
    "ring": Ring,
    "star": Star,
    "two_tier": TwoTier,
}
AnyForm = Contact | Explicit | Full | Line | Network | RandomGeometric | Ring | Star | TwoTier


def _read_topology(value: Any, reading: Reading) -> Any:
    return one_of(FORMS, value, reading)


Topology = Annotated[
    AnyForm,
    read_by(_read_topology, Annotated[AnyForm, Field(discriminator="kind")]),
]
