"""Agreement: how far the simulation's prediction of a plan lies from the same plan in emulation. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

# Relative gaps that the project promises. Payload is exact: the same messages must be sent.
TOLERANCES = {
    "sent_payload_bytes": 0.0,
    "sent_wire_bytes": 0.03,
    "round_s": 0.10,
    "energy_joules": 0.10,
    "test_accuracy": None,  # shown; it is equal only where nothing depends on timing
}
TOTALS = {"sent_payload_bytes", "sent_wire_bytes"}  # grow with every round: equal only where the rounds are given


@dataclass(frozen=True)
class Agreement:
    """One figure of both. `gap` is (simulated - emulated) / emulated; `ok` None: not judged, or not measured."""

    metric: str
    simulated: float | None
    emulated: float | None
    gap: float | None
    tolerance: float | None
    ok: bool | None


def agreements(
    simulated: Mapping[str, float | None], emulated: Mapping[str, float | None], *, cut_short: bool = False
) -> tuple[Agreement, ...]:
    """Compare two summaries of one plan, figure by figure.

    `cut_short`: the clock ended them and not the algorithm, so that totals are shown but not judged.
    """
    found = []
    for metric, promised in TOLERANCES.items():
        tolerance = None if cut_short and metric in TOTALS else promised
        predicted, real = simulated.get(metric), emulated.get(metric)
        gap = _gap(predicted, real)
        ok = None if gap is None or tolerance is None else abs(gap) <= tolerance
        found.append(Agreement(metric, predicted, real, gap, tolerance, ok))
    return tuple(found)


def _gap(predicted: float | None, real: float | None) -> float | None:
    if predicted is None or real is None:
        return None
    if predicted == real:
        return 0.0
    return (predicted - real) / real if real else float("inf")
