"""Claims against runs whose figures are known."""

from typing import Any

import pytest

from analysis.claims import describe, judge

RUNS = [
    ("arm=a seed=1", {"test_accuracy": 0.90, "sent_payload_bytes": 100.0}),
    ("arm=a seed=2", {"test_accuracy": 0.92, "sent_payload_bytes": 110.0}),
    ("arm=a seed=3", {"test_accuracy": 0.91, "sent_payload_bytes": 105.0}),
    ("arm=b seed=1", {"test_accuracy": 0.80, "sent_payload_bytes": 200.0}),
    ("arm=b seed=2", {"test_accuracy": 0.82, "sent_payload_bytes": 220.0}),
    ("arm=b seed=3", {"test_accuracy": 0.91, "sent_payload_bytes": 210.0}),
]


def claim(**changes: Any) -> dict[str, Any]:
    plain = {"metric": "test_accuracy", "arm": "a", "against": "b", "by": "difference", "where": ()}
    return {**plain, "at_least": None, "at_most": None, **changes}


@pytest.mark.parametrize(
    ("written", "verdict", "shown"),
    [
        (claim(at_least=0.0), "holds on average", "+6.7 points"),  # the interval of three seeds crosses zero
        (claim(at_least=0.07), "does not hold", "+6.7 points"),
        (claim(metric="sent_payload_bytes", by="ratio", at_most=0.6), "holds", "0.5"),
        (claim(against=None, at_least=0.85), "holds", "91.0 %"),
        (claim(against=None, at_most=0.85), "does not hold", "91.0 %"),
        (claim(at_least=0.05, where=("seed=1",)), "holds on average", "+10.0 points"),  # one seed is never firm
    ],
)
def test_a_claim_is_judged_by_the_mean_over_the_seeds_and_firm_by_its_interval(
    written: dict[str, Any], verdict: str, shown: str
) -> None:
    (found,) = judge([written], RUNS)
    assert (found.verdict, found.shown) == (verdict, shown)


@pytest.mark.parametrize(
    ("written", "runs", "why"),
    [
        (claim(at_least=0.0, against="c"), RUNS, "no run of c"),
        (claim(at_least=0.0), RUNS[:4], "did not run in the same settings"),
        (claim(at_least=0.0, metric="round"), RUNS, "rounds of a was not measured in seed=1"),
        (
            claim(at_most=1.0, by="ratio"),
            [("arm=a", {"test_accuracy": 1.0}), ("arm=b", {"test_accuracy": 0.0})],
            "is 0",
        ),
    ],
)
def test_what_was_not_measured_is_unknown_and_says_why(
    written: dict[str, Any], runs: list[tuple[str, dict[str, float | None]]], why: str
) -> None:
    (found,) = judge([written], runs)
    assert found.verdict == "unknown"
    assert why in found.why


def test_claims_read_as_sentences() -> None:
    assert describe(claim(at_least=-0.02)) == "accuracy of a - b ≥ -2.0 points"
    assert describe(claim(metric="wire_bytes", by="ratio", at_most=0.7)) == "sent on the wire of a / b ≤ 0.7"
    assert describe(claim(against=None, at_most=0.5, where=("seed=1",))) == "accuracy of a ≤ 50.0 % where seed=1"
