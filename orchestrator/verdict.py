"""The verdict: each expectation met, missed or unknown; and what the run is worth as a whole.

`unknown` is never green: an expectation on a figure that was not measured, or in a run in which a fault left no
evidence that it acted, is unknown.
"""

from collections.abc import Sequence

from orchestrator.faults.schedule import FaultReport
from orchestrator.outcome import Finding, Status, Verdict
from orchestrator.plan import Expectation
from orchestrator.summary import Summary


def judge(expectations: Sequence[Expectation], summary: Summary, faults: Sequence[FaultReport]) -> tuple[Finding, ...]:
    """Compare every expectation with the summary."""
    proven = all(fault.evidence is not None and fault.error is None for fault in faults)
    findings = []
    for wanted in expectations:
        found = summary.get(wanted.metric)
        if found is None or not proven:
            findings.append(Finding(wanted.text, wanted.metric, found, "unknown"))
            continue
        low_enough = wanted.at_most is None or found <= wanted.at_most
        high_enough = wanted.at_least is None or found >= wanted.at_least
        verdict: Verdict = "met" if low_enough and high_enough else "missed"
        findings.append(Finding(wanted.text, wanted.metric, found, verdict))
    return tuple(findings)


def exit_code(status: Status, findings: Sequence[Finding], allow_degraded: bool) -> int:
    """What the command ends with (see `edgebed run --help`)."""
    ended = {"broke": 4, "timed_out": 5, "interrupted": 130}
    if status in ended:
        return ended[status]
    if status == "degraded" and not allow_degraded:
        return 6
    return 0 if all(finding.verdict == "met" for finding in findings) else 1
