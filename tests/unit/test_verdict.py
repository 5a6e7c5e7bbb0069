"""Verdicts: what counts as met, and that nothing doubtful is green."""

from dataclasses import replace

import pytest

from orchestrator.faults.schedule import FaultReport
from orchestrator.outcome import Finding, Status
from orchestrator.plan import Expectation
from orchestrator.verdict import exit_code, judge

ACTED = FaultReport(0, "crash", ("d-1",), (), 1.0, None, 1.0, 2.0, "signal 9", "")
ACCURATE = Expectation("test_accuracy", 0.7, None, "test_accuracy at least 70 %")
CHEAP = Expectation("sent_payload_bytes", None, 5e6, "sent_payload_bytes at most 5 MB")


def test_bounds_are_inclusive_on_both_sides() -> None:
    findings = judge([ACCURATE, CHEAP], {"test_accuracy": 0.7, "sent_payload_bytes": 5e6}, [ACTED])
    assert [finding.verdict for finding in findings] == ["met", "met"]


def test_a_value_outside_its_bound_is_missed() -> None:
    findings = judge([ACCURATE, CHEAP], {"test_accuracy": 0.69, "sent_payload_bytes": 5.1e6}, [])
    assert [finding.verdict for finding in findings] == ["missed", "missed"]


def test_what_was_not_measured_is_unknown() -> None:
    assert judge([ACCURATE], {"test_accuracy": None}, [])[0].verdict == "unknown"
    assert judge([ACCURATE], {}, [])[0].verdict == "unknown"


@pytest.mark.parametrize("fault", [replace(ACTED, evidence=None), replace(ACTED, error="not healed")])
def test_a_fault_without_evidence_makes_every_verdict_unknown(fault: FaultReport) -> None:
    assert judge([ACCURATE], {"test_accuracy": 0.9}, [ACTED, fault])[0].verdict == "unknown"


@pytest.mark.parametrize(
    ("status", "verdict", "allowed", "code"),
    [
        ("complete", "met", False, 0),
        ("complete", "missed", False, 1),
        ("complete", "unknown", False, 1),
        ("degraded", "met", False, 6),
        ("degraded", "met", True, 0),
        ("degraded", "missed", True, 1),
        ("broke", "met", True, 4),
        ("timed_out", "met", True, 5),
        ("interrupted", "met", True, 130),
    ],
)
def test_exit_codes_are_those_that_the_help_text_promises(
    status: Status, verdict: str, allowed: bool, code: int
) -> None:
    finding = Finding("x", "test_accuracy", 0.5, verdict)  # type: ignore[arg-type]  # a literal from the table above
    assert exit_code(status, [finding], allowed) == code
