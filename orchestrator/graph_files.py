"""Networks that somebody drew or measured: GraphML, GML and latency matrices become sites and the cables between them.

Read are the attributes that the two usual sources of such files write:

- the Internet Topology Zoo (GraphML, GML): `LinkSpeedRaw` in bit/s, `Latitude` and `Longitude` in degrees. A cable
  without a delay between two places gets the time that light takes in fibre along the great circle: a lower bound.
- Shadow (GML): `latency` and `jitter` such as "50 ms", `packet_loss` 0-1, `host_bandwidth_up` and `_down` of a site.

Edges of a site with itself and edges that are there twice are left out, the latter after the first.
"""

import csv
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.named_files import read_named
from orchestrator.units import DURATION, RATE

MAX_SITES = 2_000
EARTH_RADIUS_M = 6_371_000.0
LIGHT_IN_FIBRE_M_PER_S = 299_792_458.0 / 1.468  # refractive index of G.652 fibre at 1550 nm
MS = 1e-3


@dataclass(frozen=True)
class Site:
    """A place of the network. Rates in bit/s of what is attached there, where the file says them."""

    name: str
    label: str
    up_bps: float | None = None
    down_bps: float | None = None


@dataclass(frozen=True)
class Cable:
    """Two sites that are linked: what the file says of each direction, by field of a link (`rate_bps`...)."""

    a: str
    b: str
    forward: Mapping[str, float] = field(default_factory=dict)
    backward: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteMap:
    """A network as its file has it now."""

    path: str
    sha256: str
    sites: tuple[Site, ...]
    cables: tuple[Cable, ...]

    def site(self, wanted: str) -> Site | None:
        """The site of that name, label or id."""
        return next((site for site in self.sites if wanted in (site.name, site.label)), None)


def find_sites(written: str, folder: Path) -> SiteMap:
    """Read a file by its suffix; a relative path starts at `folder`. ValueError says what is wrong with it."""
    readers: dict[str, Callable[[str], tuple[list[Site], list[Cable]]]] = {
        ".graphml": _read_graphml,
        ".gml": _read_gml,
        ".csv": read_matrix,
    }
    suffix = (folder / written).resolve().suffix
    if suffix not in readers:
        raise ValueError(f"{written}: known are {', '.join(readers)} (a matrix of round-trip times in ms)")
    path, sha256, (sites, cables) = read_named(written, folder, readers[suffix])
    if not 1 <= len(sites) <= MAX_SITES:
        raise ValueError(f"{written}: {len(sites)} sites; 1 to {MAX_SITES} can be used")
    return SiteMap(path, sha256, tuple(sites), tuple(cables))


def read_matrix(text: str) -> tuple[list[Site], list[Cable]]:
    """Round-trip times in ms, a row and a column a site, with or without names; empty: not linked.

    One direction gets half of the round-trip time. Of two different values for a pair, each direction has its own.
    """
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)
    ]
    if not rows:
        raise ValueError("is empty")
    labels: list[str] | None = None
    if not any(_is_number(cell) for cell in rows[0]):
        labels = [cell for cell in rows.pop(0) if cell]
    if rows and not all(_is_number(row[0]) or not row[0] for row in rows):
        own = [row.pop(0) for row in rows]
        if labels is not None and len(labels) == len(own) + 1:
            labels.pop(0)  # a word in the corner, which is no site's name
        labels = labels or own
    if labels is None:
        labels = [f"site-{number}" for number in range(1, len(rows) + 1)]
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows) or len(labels) != len(rows):
            raise ValueError(f"row {number} has {len(row)} values; {len(rows)} rows want as many ({len(labels)} names)")
    sites = _named([(label, {}) for label in labels])
    cables = []
    for a in range(len(rows)):
        for b in range(a + 1, len(rows)):
            there, back = rows[a][b], rows[b][a]
            if there or back:
                ways = [{"delay_s": _milliseconds(value, a, b) * MS / 2} for value in (there or back, back or there)]
                cables.append(Cable(sites[a].name, sites[b].name, *ways))
    return sites, cables


def _milliseconds(text: str, a: int, b: int) -> float:
    if not _is_number(text) or not 0 <= float(text) < 1e6:
        raise ValueError(f"row {a + 1}, column {b + 1}: must be milliseconds (found {text!r})")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_graphml(text: str) -> tuple[list[Site], list[Cable]]:
    import networkx

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("declares a document type or entities, which no GraphML file needs; it is not read")
    try:
        return _of_graph(networkx.parse_graphml(text))
    except (networkx.NetworkXError, SyntaxError, KeyError, TypeError) as error:  # ElementTree's errors are SyntaxErrors
        raise ValueError(f"no GraphML that can be read: {error}") from error


def _read_gml(text: str) -> tuple[list[Site], list[Cable]]:
    import networkx

    try:
        try:
            graph = networkx.parse_gml(text, label="id")
        except networkx.NetworkXError as error:
            if "duplicated" not in str(error):
                raise
            # Zoo files have some edges twice and do not say so.
            graph = networkx.parse_gml(re.sub(r"graph\s*\[", "graph [\n  multigraph 1", text, count=1), label="id")
        return _of_graph(graph)
    except (networkx.NetworkXError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no GML that can be read: {error}") from error


def _of_graph(graph: Any) -> tuple[list[Site], list[Cable]]:
    ids = list(graph.nodes)
    sites: dict[Any, Site] = dict(
        zip(ids, _named([(str(graph.nodes[each].get("label", each)), graph.nodes[each]) for each in ids]), strict=True)
    )
    ways: dict[tuple[Any, Any], Mapping[str, float]] = {}
    for a, b, said in graph.edges(data=True):
        if a != b:
            ways.setdefault((a, b), _way(said, graph.nodes[a], graph.nodes[b]))
    cables: dict[frozenset[Any], Cable] = {}
    for (a, b), forward in ways.items():
        backward = ways.get((b, a), forward)
        cables.setdefault(frozenset((a, b)), Cable(sites[a].name, sites[b].name, forward, backward))
    return list(sites.values()), list(cables.values())


def _named(written: list[tuple[str, Mapping[str, Any]]]) -> list[Site]:
    """Sites whose names are good for a plan: small letters, digits and hyphens, each once."""
    taken: set[str] = set()
    sites: list[Site] = []
    for label, said in written:
        plain = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:24]
        name = plain if plain[:1].isalpha() else f"site-{plain or len(sites)}"
        number = 1
        while (name if number == 1 else f"{name}-{number}") in taken:
            number += 1
        name = name if number == 1 else f"{name}-{number}"
        taken.add(name)
        rates = [_rate(said[key]) if key in said else None for key in ("host_bandwidth_up", "host_bandwidth_down")]
        sites.append(Site(name, label, *rates))
    return sites


def _way(said: Mapping[str, Any], a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, float]:
    """What an edge says of one direction, in a link's fields."""
    found: dict[str, float] = {}
    for key in ("LinkSpeedRaw", "bandwidth", "rate"):
        if key in said:
            found["rate_bps"] = _rate(said[key])
            break
    for key, name in (("latency", "delay_s"), ("delay", "delay_s"), ("jitter", "jitter_s")):
        if key in said:
            found[name] = _duration(said[key])
    if "packet_loss" in said:
        loss = float(said["packet_loss"])
        if not 0 <= loss < 1:
            raise ValueError(f"packet_loss must be 0 or more and less than 1 (found {loss:g})")
        found["loss"] = loss
    if "delay_s" not in found and all(isinstance(end.get("Latitude"), int | float) for end in (a, b)):
        found["delay_s"] = great_circle_m(a, b) / LIGHT_IN_FIBRE_M_PER_S
    return found


def _rate(value: Any) -> float:
    """Bit/s of a number, or of a text with its unit (Shadow writes "1 Gbit")."""
    if isinstance(value, int | float) or _is_number(str(value)):
        if not float(value) > 0:
            raise ValueError(f"a rate must be more than 0 (found {value!r})")
        return float(value)
    return RATE.parse(re.sub(r"\s+", " ", str(value).strip()))


def _duration(value: Any) -> float:
    """Seconds of a text with its unit; a bare number is in milliseconds, as those who write none mean it."""
    if isinstance(value, int | float):
        return float(value) * MS
    return DURATION.parse(re.sub(r"\s+", " ", str(value).strip()))


def great_circle_m(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Distance in metres of two places (`Latitude`, `Longitude` in degrees), by the haversine formula."""
    lat_a, lat_b = math.radians(a["Latitude"]), math.radians(b["Latitude"])
    half = math.radians(b["Longitude"] - a["Longitude"]) / 2
    square = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, square)))
