"""Quantities as a reader wants them: `1.23 MB`, `45.0 ms`, `71.3 %`. The inverse of `units.py`, for people only."""

import re

from node_image.records import METRICS

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SYMBOLS = {"bytes": "B", "bit/s": "bit/s", "J": "J", "s": "s", "ratio": "%"}
_SUFFIXES = {"_bytes": "bytes", "_bps": "bit/s", "_joules": "J", "_s": "s", "_share": "ratio", "_ratio": "ratio"}
_TITLES = {
    "aggregated_updates": "updates aggregated",
    "cpu_s": "CPU time",
    "cpu_throttled_s": "time held back by CPU shares",
    "discarded_updates": "updates discarded",
    "dropped_messages": "messages given up",
    "energy_joules": "modelled energy",
    "energy_missing_s": "time a meter did not see",
    "evaluate_s": "time of an evaluation",
    "inference_s": "inference of a sample",
    "lasted_s": "run lasted",
    "link_delivered_bytes": "delivered by links",
    "link_dropped_packets": "packets dropped by links",
    "link_offered_bytes": "offered to links",
    "local_phase_s": "time of a local phase",
    "local_step_s": "time of a local step",
    "measured_energy_joules": "measured energy",
    "memory_bytes": "memory of a node",
    "received_background_bytes": "traffic of others received",
    "received_payload_bytes": "payload received",
    "received_wire_bytes": "received on the wire",
    "round": "rounds",
    "round_s": "time of a round",
    "rtt_s": "round-trip time",
    "samples_seen": "training samples used",
    "sent_background_bytes": "traffic of others sent",
    "sent_payload_bytes": "payload sent",
    "sent_tls_bytes": "added by TLS to the payload sent",
    "sent_wire_bytes": "sent on the wire",
    "test_accuracy": "accuracy",
    "test_accuracy_last_fifth_mean": "accuracy, mean of the last fifth",
    "update_age_s": "age of an update",
    "version": "model versions",
    "wire_bytes": "sent on the wire",
}
_STATISTICS = {
    "_device_mean": "mean of devices",
    "_device_min": "least of a device",
    "_device_max": "most of a device",
    "_mean": "mean",
    "_min": "least",
    "_max": "most",
    "_p50": "median",
    "_p95": "95th percentile",
}


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
    own = metric.removeprefix("program.")  # a metric that a workload declares
    base = re.sub(r"(_device)?_(mean|min|max|p\d+)$", "", own.split(".")[0])
    if base in METRICS:
        return METRICS[base].unit
    if base.startswith(("test_accuracy", "test_top_")):
        return "ratio"
    return next((unit for suffix, unit in _SUFFIXES.items() if base.endswith(suffix)), "")


def words(metric: str) -> str:
    """A metric, or a figure of the summary, as words for people: `sent_payload_bytes.update` is `payload sent: update`.

    Names that are not known stay as they are, with spaces.
    """
    if target := re.fullmatch(r"time_to_accuracy_(\d+)_s", metric):
        return f"time to {target[1]} % accuracy"
    if top := re.fullmatch(r"test_top_(\d+)", metric):
        return f"top-{top[1]} accuracy"
    whole, _, part = metric.partition(".")
    base, statistic = whole, ""
    for suffix, text in _STATISTICS.items():
        if whole.endswith(suffix) and whole.removesuffix(suffix) in (*_TITLES, *METRICS):
            base, statistic = whole.removesuffix(suffix), text
            break
    if not statistic and base in METRICS and METRICS[base].kind == "sample":
        statistic = "median"  # as in the summary: of samples, the plain name is their median
    title = _TITLES.get(base) or _without_unit(base).replace("_", " ")
    part = _without_unit(part) if whole == "program" else part
    return title + (f": {part.replace('_', ' ')}" if part else "") + (f", {statistic}" if statistic else "")


def _without_unit(name: str) -> str:
    for suffix in ("_joules", "_s", "_bps"):
        name = name.removesuffix(suffix)
    return name


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
