"""How a topology is written in YAML; `topology.py` says what each of them makes of the devices."""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, TypeAdapter

from orchestrator.forms.base import Count, Form, Name, Reading, one_of, read_by
from orchestrator.forms.link import AnyLink
from orchestrator.units import LENGTH, Length


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
    """Devices at random places in `area`, linked where they are within `radio_range` of each other."""

    kind: Literal["random_geometric"]
    area: Area
    radio_range_m: Annotated[Length, Field(gt=0)]


class ExplicitLink(Form):
    """A link between two nodes, switches or groups (of which each device is meant); `link.up` leads from the first."""

    between: tuple[str, str]
    link: AnyLink | None = None


class Explicit(Form):
    """Exactly these links. One without `link` has that of the device at its first end, or else at its second."""

    kind: Literal["explicit"]
    switches: tuple[Name, ...] = ()
    links: tuple[ExplicitLink, ...]


FORMS: dict[str, type[Form]] = {
    "explicit": Explicit,
    "full": Full,
    "line": Line,
    "random_geometric": RandomGeometric,
    "ring": Ring,
    "star": Star,
    "two_tier": TwoTier,
}
AnyForm = Explicit | Full | Line | RandomGeometric | Ring | Star | TwoTier


def _read_topology(value: Any, reading: Reading) -> Any:
    return one_of(FORMS, value, reading)


Topology = Annotated[
    AnyForm,
    read_by(_read_topology, Annotated[AnyForm, Field(discriminator="kind")]),
]
