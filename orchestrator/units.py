"""Quantities with units: the only place that reads "20 ms", "10 Mbit/s" or "30 %" and turns them into base units.

Base units are seconds, bits per second, bytes, 1 per second, joules, watts, metres; shares are 0-1. Arithmetic is
decimal, so that "0.1 ms" is the float nearest to 0.0001 and what `write` prints is read back as the same float.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?"
_TEXT = re.compile(rf"\s*([+-]?)({NUMBER})\s*(\S.*?)?\s*")


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: `factors` says how many base units each unit is; the base unit itself comes first."""

    name: str
    examples: tuple[str, ...]
    factors: Mapping[str, str]
    hints: Mapping[str, str]  # what people write that is not a unit here -> why, and what to write instead
    most: float = math.inf
    written: tuple[str, ...] = ()  # units that `write` uses; none: all of them

    def parse(self, text: object) -> float:
        """Base units of "number unit"; raises ValueError that says how to write it."""
        match = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            bare = isinstance(text, int | float) and not isinstance(text, bool)
            wrong = "a number without a unit" if bare else f"not {self.name}"
            raise ValueError(f"{wrong}; write a number and its unit, such as {self._shown()}")
        sign, number, unit = match.groups()
        if unit is None:
            raise ValueError(f"a number without a unit; write a number and its unit, such as {self._shown()}")
        if unit not in self.factors:
            raise ValueError(self._unknown(unit))
        value = float(Decimal(number) * Decimal(self.factors[unit]))
        if sign == "-" and value != 0:
            raise ValueError("must not be negative")
        if not math.isfinite(value):
            raise ValueError("too large")
        if value > self.most:
            raise ValueError(f"more than {self.write(self.most)}")
        return value

    def write(self, value: float) -> str:
        """The shortest text that `parse` reads back as exactly this value."""
        exact = Decimal(repr(float(value)))
        texts = []
        for unit in self.written or self.factors:
            factor = Decimal(self.factors[unit])
            number = (exact / factor).normalize()
            if number * factor == exact:
                plain = f"{number:f}"
                texts.append(f"{plain if len(plain) <= 20 else number} {unit}")
        return min(texts, key=len)

    def _shown(self) -> str:
        return " or ".join(f'"{example}"' for example in self.examples)

    def _unknown(self, unit: str) -> str:
        if unit in self.hints:
            return f"{unit!r} is not a unit here: {self.hints[unit]}"
        lowered = {known.lower(): known for known in self.factors}
        close = difflib.get_close_matches(unit.lower(), lowered, n=1, cutoff=0.5)
        meant = f"; did you mean {lowered[close[0]]}?" if close else ""
        return f"unknown unit {unit!r}; known: {', '.join(self.factors)}{meant}"

    def pattern(self) -> str:
        """Regular expression (ECMA and Python) of the texts that `parse` accepts."""
        units = "|".join(re.escape(unit).replace("\\ ", " ") for unit in self.factors)
        return rf"^\s*\+?{NUMBER}\s*({units})\s*$"


_MEGABYTES = "with tc it means megabytes, elsewhere megabits; write Mbit/s"
_BITS = {
    **{f"{prefix}bit/s": factor for prefix, factor in (("", "1"), ("k", "1e3"), ("M", "1e6"), ("G", "1e9"))},
    **{f"{prefix}bit": factor for prefix, factor in (("", "1"), ("k", "1e3"), ("M", "1e6"), ("G", "1e9"))},
}
_RATE_HINTS = {
    **dict.fromkeys(("Mbps", "mbps", "MBps", "MB/s", "Mb/s"), _MEGABYTES),
    **dict.fromkeys(("kbps", "Kbps", "kB/s", "KB/s", "kb/s"), "write kbit/s"),
    **dict.fromkeys(("bps", "b/s", "B/s"), "write bit/s"),
    **dict.fromkeys(("Gbps", "gbps", "GB/s", "Gb/s"), "write Gbit/s"),
    **dict.fromkeys(("m", "M", "mbit", "mbit/s"), "write Mbit/s"),
}
_SIZES = {"B": "1", "kB": "1e3", "MB": "1e6", "GB": "1e9", "KiB": "1024", "MiB": "1048576", "GiB": "1073741824"}
_SIZE_HINTS = {
    **dict.fromkeys(("K", "k", "KB", "kb"), "write kB (1000 bytes) or KiB (1024)"),
    **dict.fromkeys(("M", "m", "mb", "Mb"), "write MB (10^6 bytes) or MiB (2^20)"),
    **dict.fromkeys(("G", "g", "gb", "Gb"), "write GB (10^9 bytes) or GiB (2^30)"),
    **dict.fromkeys(("b", "byte", "bytes"), "write B"),
    **dict.fromkeys(("Mbit", "kbit", "Gbit", "bit"), "sizes are in bytes; write B, kB, KiB, MB or MiB"),
}
_MINUTES = {"m": "m is metres; write min", "mins": "write min", "minutes": "write min", "minute": "write min"}
_TIME_HINTS = {
    **_MINUTES,
    **dict.fromkeys(("sec", "secs", "second", "seconds", "S"), "write s"),
    **dict.fromkeys(("msec", "MS", "Ms"), "write ms"),
    **dict.fromkeys(("d", "day", "days"), "write h, min or s"),
}

DURATION = Quantity(
    "a duration",
    ("20 ms", "60 s"),
    {"s": "1", "ms": "1e-3", "us": "1e-6", "µs": "1e-6", "min": "60", "h": "3600"},
    _TIME_HINTS,
)
RATE = Quantity("a rate", ("10 Mbit/s",), _BITS, _RATE_HINTS, written=("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))
SHARE = Quantity("a share", ("30 %",), {"%": "0.01"}, {"percent": "write %"}, most=1.0)
DRIFT = Quantity(
    "a drift", ("100 ppm",), {"ppm": "1e-6", "%": "0.01"}, {"ms/s": "write ppm (1 ms/s is 1000 ppm)"}, most=0.5
)
SIZE = Quantity("a size", ("64 KiB", "50 MB"), _SIZES, _SIZE_HINTS)
PER_SECOND = Quantity(
    "a number per second",
    ("20 samples/s",),
    {"samples/s": "1", "/s": "1", "clips/s": "1", "samples/min": "0.01666666666666666666666666667"},
    {"Hz": "write /s", "fps": "write samples/s"},
    written=("samples/s",),
)
ENERGY = Quantity("an energy", ("5 kJ",), {"J": "1", "mJ": "1e-3", "kJ": "1e3", "MJ": "1e6", "Wh": "3600"}, {})
POWER = Quantity("a power", ("2.3 W",), {"W": "1", "mW": "1e-3", "kW": "1e3"}, {})
TEMPERATURE = Quantity("a temperature", ("80 °C",), {"°C": "1", "degC": "1"}, {"C": "write °C", "K": "write °C"})
LENGTH = Quantity("a length", ("100 m",), {"m": "1", "cm": "0.01", "km": "1e3"}, {})
SPEED = Quantity("a speed", ("2 m/s",), {"m/s": "1", "km/h": "0.2777777777777777777777777778"}, {}, written=("m/s",))
MAC_RATE = Quantity(
    "a computing speed", ("1 GMAC/s",), {"MAC/s": "1", "MMAC/s": "1e6", "GMAC/s": "1e9", "TMAC/s": "1e12"}, {}
)
ENERGY_PER_MBIT = Quantity("an energy per Mbit", ("0.44 J/Mbit",), {"J/Mbit": "1", "mJ/Mbit": "1e-3"}, {})


def field_of(quantity: Quantity) -> tuple[Any, ...]:
    """Pydantic metadata: a float in base units, read from text with a unit, and written so into JSON and YAML."""
    schema = {
        "type": "string",
        "pattern": quantity.pattern(),
        "description": f"{quantity.name}: {quantity.examples[0]}",
    }
    return (
        BeforeValidator(quantity.parse),
        PlainSerializer(quantity.write, return_type=str, when_used="json-unless-none"),
        WithJsonSchema(schema),
    )


Duration = Annotated[float, *field_of(DURATION)]
Rate = Annotated[float, *field_of(RATE)]
Share = Annotated[float, *field_of(SHARE)]
Drift = Annotated[float, *field_of(DRIFT)]
Size = Annotated[float, *field_of(SIZE)]
PerSecond = Annotated[float, *field_of(PER_SECOND)]
Energy = Annotated[float, *field_of(ENERGY)]
Power = Annotated[float, *field_of(POWER)]
Temperature = Annotated[float, *field_of(TEMPERATURE)]
Length = Annotated[float, *field_of(LENGTH)]
Speed = Annotated[float, *field_of(SPEED)]
MacRate = Annotated[float, *field_of(MAC_RATE)]
EnergyPerMbit = Annotated[float, *field_of(ENERGY_PER_MBIT)]
