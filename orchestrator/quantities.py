"""Quantities as a reader wants them: `1.23 MB`, `45.0 ms`, `71.3 %`. The inverse of `units.py`, for people only."""

import re

from node_image.records import METRICS

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SYMBOLS = {"bytes": "B", "J": "J", "s": "s", "ratio": "%"}
_SUFFIXES = {"_bytes": "bytes", "_joules": "J", "_s": "s", "_share": "ratio", "_ratio": "ratio"}


def with_unit(value: float, symbol: str) -> str:
    """Three digits and an SI prefix (powers of 1000): `with_unit(1234567, "B")` is `1.23 MB`."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{_three_digits(value / factor)} {prefix}{symbol}"
    return f"{_three_digits(value)} {symbol}"


def seconds(value: float) -> str:
    """A length of time: `12.3 ms` below one second, else seconds."""
    if 0 < abs(value) < 1:
        scaled, symbol = (value * 1e3, "ms") if abs(value) >= 1e-3 else (value * 1e6, "µs")
        return f"{_three_digits(scaled)} {symbol}"
    return f"{value:.1f} s"


def percent(ratio: float) -> str:
    """A ratio (0-1) in per cent: `71.3 %`."""
    return f"{100 * ratio:.1f} %"


def clock(value_s: float) -> str:
    """Minutes and seconds, for what passes while one watches: `3:07`."""
    minutes, rest = divmod(max(0, round(value_s)), 60)
    return f"{minutes}:{rest:02d}"


def unit_of(metric: str) -> str:
    """Unit of a metric or of a figure of the summary derived from one (`round_s_p95`); empty if it has none."""
    base = re.sub(r"(_device)?_(mean|min|max|p\d+)$", "", metric.split(".")[0])
    if base in METRICS:
        return METRICS[base].unit
    if base.startswith(("test_accuracy", "test_top_")):
        return "ratio"
    return next((unit for suffix, unit in _SUFFIXES.items() if base.endswith(suffix)), "")


def words(metric: str) -> str:
    """A metric's name as words, without the unit that its values carry: `energy_joules` is `energy`."""
    for suffix in ("_joules", "_s"):
        metric = metric.removesuffix(suffix)
    return metric.replace("_", " ")


def of_metric(metric: str, value: float | None) -> str:
    """The value of a metric with its unit; `-` when there is none."""
    if value is None:
        return "-"
    unit = unit_of(metric)
    if unit == "ratio":
        return percent(value)
    if unit == "s":
        return seconds(value)
    if unit in _SYMBOLS:
        return with_unit(value, _SYMBOLS[unit])
    return _three_digits(value) if value % 1 else f"{value:.0f}"


def _three_digits(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
