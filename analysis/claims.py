"""Claims: what a scenario says of one arm against another, held against the runs. Pure, of labels and summaries.

A claim holds if the mean over the seeds (and over whatever else is compared) meets its bound; it is firm if the 95 %
confidence interval lies on the good side of the bound as well.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from analysis.statistics import Mean, holm, mean, paired
from orchestrator import quantities

ClaimVerdict = Literal["holds", "holds on average", "does not hold", "unknown"]
Labelled = tuple[str, Mapping[str, float | None]]  # a run's label and its summary


@dataclass(frozen=True)
class ClaimFinding:
    """What came of a claim: the figure (a difference in the metric's unit, a ratio, or the arm's own mean)."""

    text: str
    verdict: ClaimVerdict
    found: Mean | None
    p: float | None  # of the paired t-test of difference against zero, where two arms are compared
    shown: str  # the figure as people read it
    interval: str = ""  # and its 95 % confidence interval
    why: str = ""  # it is unknown


def judge(claims: Iterable[Mapping[str, Any]], runs: Sequence[Labelled]) -> list[ClaimFinding]:
    """Hold every claim (as `compare.json` keeps it) against the runs."""
    return [_judge(claim, runs) for claim in claims]


def adjusted(findings: Sequence[ClaimFinding]) -> list[float | None]:
    """The p-value of each finding, adjusted (Holm) for as many tests as there are; None where nothing was tested."""
    corrected = iter(holm([finding.p for finding in findings if finding.p is not None]))
    return [None if finding.p is None else next(corrected) for finding in findings]


def describe(claim: Mapping[str, Any]) -> str:
    """A claim in words: `accuracy of elabip - fedasync >= -2.0 points`."""
    metric, arm, against = claim["metric"], claim["arm"], claim.get("against")
    subject = f"{quantities.words(metric)} of {arm}"
    where = f" where {' '.join(claim['where'])}" if claim.get("where") else ""
    sign, bound = ("≥", claim["at_least"]) if claim.get("at_least") is not None else ("≤", claim["at_most"])
    if against is None:
        return f"{subject} {sign} {quantities.of_metric(metric, bound)}{where}"
    if claim["by"] == "ratio":
        return f"{subject} / {against} {sign} {bound:g}{where}"
    return f"{subject} - {against} {sign} {difference(metric, bound)}{where}"


def _judge(claim: Mapping[str, Any], runs: Sequence[Labelled]) -> ClaimFinding:
    text, metric = describe(claim), claim["metric"]
    ours = _values(claim["arm"], metric, claim.get("where", ()), runs)
    if claim.get("against") is None:
        if not ours or None in ours.values():
            return _unknown(text, _missing(claim["arm"], metric, ours))
        found = mean([value for value in ours.values() if value is not None])
        return _verdict(claim, text, found, None, partial(quantities.of_metric, metric))
    theirs = _values(claim["against"], metric, claim.get("where", ()), runs)
    for arm, values in ((claim["arm"], ours), (claim["against"], theirs)):
        if not values or None in values.values():
            return _unknown(text, _missing(arm, metric, values))
    if ours.keys() != theirs.keys():
        why = f"{claim['arm']} and {claim['against']} did not run in the same settings"
        return _unknown(text, why)
    pairs = [(ours[key], theirs[key]) for key in ours]
    test = paired([a for a, _ in pairs if a is not None], [b for _, b in pairs if b is not None])
    if claim["by"] == "difference":
        return _verdict(claim, text, test.difference, test.p, partial(difference, metric))
    if any(b == 0 for _, b in pairs):
        return _unknown(text, f"{quantities.words(metric)} of {claim['against']} is 0")
    found = mean([a / b for a, b in pairs if a is not None and b])
    return _verdict(claim, text, found, test.p, "{:.3g}".format)


def _values(arm: str, metric: str, where: Sequence[str], runs: Sequence[Labelled]) -> dict[str, float | None]:
    """The metric in every run of an arm, by what else its label says: the same key is the same setting."""
    found: dict[str, float | None] = {}
    for label, summary in runs:
        words = label.split(" ")
        own = [word for word in words if word.partition("=")[2] == arm and not word.startswith("seed=")]
        if own and all(word in words for word in where):
            found[" ".join(word for word in words if word not in own)] = summary.get(metric)
    return found


def _missing(arm: str, metric: str, values: Mapping[str, float | None]) -> str:
    if not values:
        return f"no run of {arm}"
    settings = [key or "the run" for key, value in values.items() if value is None]
    return f"{quantities.words(metric)} of {arm} was not measured in {settings[0]}"


def _unknown(text: str, why: str) -> ClaimFinding:
    return ClaimFinding(text, "unknown", None, None, "-", why=why)


def _verdict(
    claim: Mapping[str, Any], text: str, found: Mean, p: float | None, write: Callable[[float], str]
) -> ClaimFinding:
    least = -math.inf if claim.get("at_least") is None else claim["at_least"]
    most = math.inf if claim.get("at_most") is None else claim["at_most"]
    if found.low is None or found.high is None:
        interval, firm = ", one seed", False
    else:
        interval = f", 95 % CI {write(found.low)} to {write(found.high)} of {found.count}"
        firm = least <= found.low and found.high <= most
    meets: ClaimVerdict = "holds" if firm else "holds on average"
    verdict = meets if least <= found.mean <= most else "does not hold"
    return ClaimFinding(text, verdict, found, p, write(found.mean), interval)


def difference(metric: str, value: float) -> str:
    """A difference of two values of a metric as people read it; of ratios, in percentage points."""
    if quantities.unit_of(metric) == "ratio":
        return f"{100 * value:+.1f} points"
    return ("+" if value >= 0 else "-") + quantities.of_metric(metric, abs(value))
