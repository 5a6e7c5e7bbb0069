"""Series and their values now, and how they are written out: OpenMetrics 1.0 or Prometheus' older text format.

Written for speed: a series keeps the text before its value, so that a scrape is one format a sample. The library's
own writer escapes every label of every sample anew and takes some twenty times as long (`python -m bench.exporter`).
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from orchestrator.telemetry.families import Family

Labels = Mapping[str, str]


class Count:
    """One series of a counter: it grows."""

    __slots__ = ("_text", "_value")

    def __init__(self, family: Family, labels: Labels) -> None:
        self._text = f"{family.sample_name}{_braced(labels)} "
        self._value = 0.0

    def add(self, value: float) -> None:
        """Grow by `value`."""
        self._value += value

    def samples(self) -> Iterable[tuple[str, float]]:
        """The text before the value, and the value."""
        return ((self._text, self._value),)

    def line(self) -> str:
        """As it is written out now."""
        return f"{self._text}{self._value!r}\n"


class Level(Count):
    """One series of a gauge (or a fact): the last value given."""

    __slots__ = ()

    def add(self, value: float) -> None:
        """Be `value` from now on."""
        self._value = value


class Spread:
    """One series of a histogram: how many values lie in each bucket, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum", "_texts")

    def __init__(self, family: Family, labels: Labels) -> None:
        self._bounds = family.buckets
        self._counts = [0] * (len(family.buckets) + 1)
        self._sum = 0.0
        bounds = [*(repr(float(bound)) for bound in family.buckets), "+Inf"]
        name = family.name
        self._texts = [f"{name}_bucket{_braced({**labels, 'le': bound})} " for bound in bounds]
        self._texts += [f"{name}_count{_braced(labels)} ", f"{name}_sum{_braced(labels)} "]

    def add(self, value: float) -> None:
        """One more observation."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def line(self) -> str:
        """As it is written out now: several lines."""
        return "".join([f"{text}{value!r}\n" for text, value in self.samples()])

    def samples(self) -> Iterator[tuple[str, float]]:
        """Buckets (each with all below it), count and sum."""
        total = 0
        texts = iter(self._texts)
        for count in self._counts:
            total += count
            yield next(texts), total
        yield next(texts), total
        yield next(texts), self._sum


Series = Count | Level | Spread
_KINDS: dict[str, type[Count] | type[Level] | type[Spread]] = {
    "counter": Count,
    "gauge": Level,
    "histogram": Spread,
    "info": Level,
}


class Table:
    """All series of a view, by family and labels. Bounded: beyond `largest` none is added."""

    def __init__(self, families: Mapping[str, Family], largest: int, constant: Labels | None = None) -> None:
        self._largest = largest
        self._constant = constant or {}  # labels that every series has
        self._rows: dict[str, tuple[Family, dict[tuple[str, ...], Series]]] = {
            name: (family, {}) for name, family in families.items()
        }
        self.size = 0

    def series(self, name: str, labels: Labels) -> Series | None:
        """The series of these labels (those that the family has; empty ones are left out); None past the bound."""
        family, row = self._rows[name]
        key = tuple(labels.get(label, "") for label in family.labels)
        found = row.get(key)
        if found is None and self.size < self._largest:
            present = {label: value for label, value in zip(family.labels, key, strict=True) if value}
            own = {**self._constant, **present}
            found = row[key] = _KINDS[family.kind](family, own)
            self.size += 1
        return found

    def set(self, name: str, value: float, **labels: str) -> None:
        """Give a gauge its value, or let a counter grow by it."""
        series = self.series(name, labels)
        if series is not None:
            series.add(value)

    def rows(self) -> Iterator[tuple[Family, list[Series]]]:
        """Families that have series, with copies of their rows: another thread may add to them meanwhile."""
        for family, row in self._rows.values():
            if row:
                yield family, list(row.values())

    def text(self, *, openmetrics: bool) -> str:
        """Everything as it is now, ready for a scraper."""
        parts = []
        for family, row in self.rows():
            parts.append(header(family, openmetrics=openmetrics))
            parts += [series.line() for series in row]
        return "".join(parts) + ("# EOF\n" if openmetrics else "")


def header(family: Family, *, openmetrics: bool) -> str:
    """The lines that say what a family is. The older format has no infos, and counters by their whole name."""
    name = family.name if openmetrics else family.sample_name
    kind = "gauge" if family.kind == "info" and not openmetrics else family.kind
    unit = f"# UNIT {name} {family.unit}\n" if family.unit and openmetrics else ""
    escaped = family.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        escaped = escaped.replace('"', r"\"")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n{unit}"


def _braced(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
