"""The receipt for people: checks that asked the same of many links or nodes become one line, with the worst of them.

Reads what `receipt.json` holds: `{"what", "where", "asked", "found", "tolerance", "ok", "why"}` a check, base units.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import quantities

Check = Mapping[str, Any]

TITLES = {
    "rtt_s": "round-trip time",
    "rate_bps": "rate",
    "loss": "packet loss",
    "delay_s": "one-way delay",
    "lateness_p99_s": "lateness of packets, 99th percentile",
    "packets_missed": "packets the emulation lost",
    "background_lateness_p99_s": "lateness of background traffic, 99th percentile",
    "background_unsent_packets": "packets of background traffic that could not be sent",
    "waiting_for_cpu_ratio": "waiting for a free core",
    "step_time_ratio": "time of a local step, of what the profile says",
}
# What to do when a check is out of tolerance, by what was checked.
LINKS_REMEDY = "a quieter machine, fewer devices or lower rates: packets were not moved in time"
CPU_REMEDY = "fewer devices, a machine with more cores or nothing beside it: nodes waited for a processor"
REMEDIES = {"waiting_for_cpu_ratio": CPU_REMEDY, "step_time_ratio": CPU_REMEDY}


@dataclass(frozen=True)
class Line:
    """Checks of one kind that asked for the same, in tolerance or not compared alike; `worst` is furthest off."""

    what: str
    where: tuple[str, ...]
    asked: float | None
    tolerance: float | None
    found: tuple[float, float] | None  # least and greatest; None where nothing came back
    worst: Check
    ok: bool | None
    why: str

    @property
    def title(self) -> str:
        """What was checked, in words."""
        return TITLES.get(self.what, self.what.replace("_", " "))

    @property
    def remedy(self) -> str:
        """What to do if it is out of tolerance."""
        return REMEDIES.get(self.what, LINKS_REMEDY)


def lines(checks: Iterable[Check]) -> list[Line]:
    """A line for each group of like checks: out of tolerance first, not compared last."""
    groups: dict[tuple[Any, ...], list[Check]] = {}
    for check in checks:
        key = (check["ok"], check["what"], _rounded(check["asked"]), _rounded(check["tolerance"]), check["why"])
        groups.setdefault(key, []).append(check)
    order = {False: 0, True: 1, None: 2}
    return [_line(group) for _, group in sorted(groups.items(), key=lambda item: order[item[0][0]])]


def failures(checks: Iterable[Check]) -> list[Line]:
    """Those out of tolerance."""
    return [line for line in lines(checks) if line.ok is False]


def tells(checks: Iterable[Check], note: str) -> bool:
    """Whether a note of the run only repeats a check that is out of tolerance."""
    return any(check["ok"] is False and note.startswith(f"{check['where']}: {check['what']} is ") for check in checks)


def worth(checks: Sequence[Check]) -> str:
    """The receipt in a few words: `65 checks, all within tolerance`."""
    compared = [check for check in checks if check["ok"] is not None]
    failed = sum(not check["ok"] for check in compared)
    if not compared:
        return "nothing was measured"
    if not failed:
        return f"{len(compared)} checks, all within tolerance"
    return f"{failed} of {len(compared)} checks out of tolerance"


def sentence(line: Line) -> str:
    """A line as a sentence: what, of whom, what was found against what was asked."""
    who = line.where[0] if len(line.where) == 1 else f"{len(line.where)} of them, worst {line.worst['where']}"
    seen = measured(line.what, line.worst["found"]) if line.found else line.why or "nothing came back"
    wanted = asked(line)
    return f"{line.title} ({who}): {seen}, {'' if wanted.startswith('at most') else 'asked '}{wanted}"


def asked(line: Line) -> str:
    """What was asked, with the tolerance: `70.1 ms ± 1.40 ms`, or `at most 25.0 %` where zero is wanted."""
    if line.asked is None:
        return "-"
    wanted = measured(line.what, line.asked)
    if not line.tolerance:
        return wanted
    tolerance = measured(line.what, line.tolerance)
    return f"at most {tolerance}" if line.asked == 0 else _in_one_unit(wanted, "±", tolerance)


def found(line: Line) -> str:
    """What was found, from the least to the greatest; why, if nothing was compared or it needs a word."""
    if line.ok is None or line.found is None:
        return line.why or "nothing came back"
    least, most = (measured(line.what, value) for value in line.found)
    text = least if least == most else _in_one_unit(least, "to", most)
    return f"{text}; {line.why}" if line.why and not line.ok else text


def _in_one_unit(first: str, between: str, second: str) -> str:
    """`19.8 to 20.2 Mbit/s`, where both have the unit."""
    number, _, unit = first.partition(" ")
    return f"{number if second.endswith(f' {unit}') else first} {between} {second}"


def measured(what: str, value: float | None) -> str:
    """A value of a check with its unit; `-` when there is none."""
    if value is None:
        return "-"
    if what.endswith("_bps"):
        return quantities.with_unit(value, "bit/s")
    if what == "packets_missed":
        return f"{value:.0f}"
    return quantities.percent(value) if what == "loss" else quantities.of_metric(what, value)


def error(line: Line) -> str:
    """How far the worst check is from what was asked, with its sign, relative for rates; `-` where nothing compares."""
    worst = line.worst["found"]
    if line.asked is None or worst is None or line.ok is None:
        return "-"
    off = worst - line.asked
    if off == 0:
        return "none"
    if line.what == "rate_bps":
        percent = 100 * off / line.asked
        return f"{percent:+.1f} %" if abs(percent) >= 0.05 else "under 0.1 %"
    return f"{'+' if off > 0 else '-'}{measured(line.what, abs(off))}"


def _line(group: Sequence[Check]) -> Line:
    values = [check["found"] for check in group if check["found"] is not None]
    first = group[0]
    return Line(
        what=first["what"],
        where=tuple(check["where"] for check in group),
        asked=first["asked"],
        tolerance=first["tolerance"],
        found=(min(values), max(values)) if values else None,
        worst=max(group, key=_distance),
        ok=first["ok"],
        why=first["why"],
    )


def _distance(check: Check) -> float:
    if check["found"] is None:
        return float("inf") if check["ok"] is False else -1.0
    return abs(float(check["found"]) - float(check["asked"] or 0.0))


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
