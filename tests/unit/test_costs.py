"""What it took to reach an accuracy and what faults cost: runs that never got there are told, not left out."""

from pathlib import Path
from typing import Any

import pytest

from analysis import costs, inference, robustness, targets
from analysis.groups import Group
from analysis.load import NodeRecord, Run
from node_image.records import Record

Points = list[tuple[float, float]]
FAULT: dict[str, Any] = {"kind": "dropout", "nodes": ["pi0"], "links": []}
ACTED = {**FAULT, "asked_at_s": 20.0, "injected_at_s": 20.0, "healed_at_s": 40.0}


def run_of(seed: int, points: Points, *, faulty: bool = False, final: float | None = -1.0) -> Run:
    """A run whose coordinator found these accuracies; 100 bytes and 2 joules a second are spent."""
    records = [NodeRecord("coordinator", Record(t, "test_accuracy", value, {"split": "global"})) for t, value in points]
    for second in range(1, 61):
        records.append(NodeRecord("pi0", Record(float(second), "sent_payload_bytes", 100.0, {"kind": "update"})))
        labels = {"component": "cpu", "source": "model"}
        records.append(NodeRecord("pi0", Record(float(second), "energy_joules", 2.0, labels)))
    last = points[-1][1] if points else None
    nodes = [{"name": "coordinator", "role": "coordinator"}, {"name": "pi0", "role": "device"}]
    return Run(
        Path(f"{seed}{faulty}"),
        f"seed={seed}",
        {
            "name": "x",
            "seed": seed,
            "stop_after_s": 60.0,
            "nodes": nodes,
            "faults": [{**FAULT, "at_s": 20.0, "heal_s": 40.0}] if faulty else [],
        },
        result={
            "status": "complete",
            "faults": [ACTED] if faulty else [],
            "summary": {"test_accuracy": last if final == -1.0 else final, "lasted_s": 60.0},
        },
        records=tuple(sorted(records, key=lambda entry: entry.record.t)),
    )


def arm(name: str, *runs: Run, setting: str = "") -> Group:
    return Group(name, setting, runs)


FAST = [(10.0, 0.5), (20.0, 0.9), (60.0, 0.95)]
SLOW = [(10.0, 0.3), (20.0, 0.5), (60.0, 0.6)]


def test_a_run_reaches_an_accuracy_at_its_first_evaluation_at_or_above_it() -> None:
    assert targets.reached(run_of(1, FAST), 0.9) == targets.Reached(20.0, True)
    assert targets.reached(run_of(1, FAST), 0.9, "sent_payload_bytes") == targets.Reached(2000.0, True)
    assert targets.reached(run_of(1, FAST), 0.9, "energy_joules", "model") == targets.Reached(40.0, True)


def test_what_is_read_once_a_second_grows_evenly_in_between_and_messages_have_their_instants() -> None:
    early = run_of(1, [(0.5, 0.9), (2.5, 0.95)])
    assert targets.reached(early, 0.9, "energy_joules", "model") == targets.Reached(1.0, True)
    assert targets.reached(early, 0.95, "energy_joules", "model") == targets.Reached(5.0, True)
    assert targets.reached(early, 0.9, "sent_payload_bytes") == targets.Reached(0.0, True)
    assert targets.reached(early, 0.95, "sent_payload_bytes") == targets.Reached(200.0, True)


def test_a_run_that_never_does_is_censored_at_its_last_evaluation_and_one_never_evaluated_tells_nothing() -> None:
    assert targets.reached(run_of(1, SLOW), 0.9) == targets.Reached(60.0, False)
    assert targets.reached(run_of(1, []), 0.9) is None


def test_the_accuracies_worth_a_table_are_those_that_all_some_and_any_reached() -> None:
    groups = [arm("a", run_of(1, FAST), run_of(2, SLOW)), arm("b", run_of(1, [(60.0, 0.72)]))]
    assert targets.targets(groups) == [0.6, 0.7, 0.95]
    assert targets.targets([arm("a", run_of(1, []))]) == []


def test_the_table_says_how_many_got_there_and_does_not_average_those_alone() -> None:
    tables = costs.to_accuracy([arm("a", run_of(1, FAST), run_of(2, SLOW), run_of(3, []))])
    table = next(each for each in tables if each.name == "to_accuracy_95")
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["reached"] == "1 of 3, 1 not evaluated"
    assert row["time, median"] == "60.0 s"
    assert row["payload, median"] == "6.00 kB"
    slow = next(each for each in costs.to_accuracy([arm("b", run_of(1, FAST), *[run_of(n, SLOW) for n in (2, 3)])]))
    assert slow.name == "to_accuracy_60"


def test_fewer_than_half_have_no_median() -> None:
    groups = [arm("a", run_of(1, FAST), run_of(2, SLOW), run_of(3, SLOW))]
    table = next(each for each in costs.to_accuracy(groups) if each.name == "to_accuracy_95")
    assert dict(zip(table.header, table.rows[0], strict=True))["time, median"] == "not reached"


def test_what_a_fault_cost_is_told_against_the_same_seeds_without_it() -> None:
    calm = arm("a", *[run_of(n, [(60.0, 0.9 + n / 100)]) for n in (1, 2, 3)], setting="calm")
    storm = arm("a", *[run_of(n, [(60.0, 0.8 + n / 100)], faulty=True) for n in (3, 2, 4)], setting="storm")
    (loss,) = robustness.losses([calm, storm])
    assert loss.seeds == (2, 3)
    assert loss.found.difference.mean == pytest.approx(0.1)
    table = costs.losses([calm, storm])
    assert table is not None
    assert table.rows[0][:5] == ("storm", "a", "calm", "2", "+10.0 points")


def test_nothing_is_held_against_if_it_is_not_clear_what() -> None:
    calm = [arm("a", run_of(1, FAST), setting=name) for name in ("calm", "calmer")]
    storm = arm("a", run_of(1, FAST, faulty=True), setting="storm")
    assert robustness.losses([*calm, storm]) == []
    assert costs.losses([storm]) is None


@pytest.mark.parametrize(
    ("after", "lowest", "back_s"),
    [
        ([(25.0, 0.5), (30.0, 0.6), (45.0, 0.8)], 0.5, 25.0),
        ([(25.0, 0.5), (30.0, 0.6)], 0.5, None),
        ([(25.0, 0.795), (30.0, 0.9)], 0.795, 0.0),
    ],
)
def test_a_run_is_back_when_it_is_within_a_point_of_what_it_had(
    after: Points, lowest: float, back_s: float | None
) -> None:
    run = run_of(1, [(10.0, 0.7), (20.0, 0.8), *after], faulty=True)
    found = robustness.recovery(run, run.acted[0])
    assert found is not None
    assert (found.before, found.lowest, found.back_s) == (0.8, lowest, back_s)


def test_a_fault_without_an_evaluation_on_both_sides_tells_nothing_of_recovery() -> None:
    run = run_of(1, [(10.0, 0.7)], faulty=True)
    assert robustness.recovery(run, run.acted[0]) is None
    table = costs.recoveries([arm("a", run)])
    assert table is not None
    assert table.rows == (("a", "dropout (1)", "20.0 s", "-", "-", "-", "-", "-"),)


def test_a_failed_seed_is_named_and_not_dropped() -> None:
    broken = run_of(3, [], final=None)
    groups = [arm("a", run_of(1, FAST), run_of(2, SLOW), broken), arm("b", run_of(1, SLOW), run_of(2, SLOW))]
    table = inference.described(groups, "test_accuracy")
    lost = table.header.index("seeds without it")
    assert [row[lost] for row in table.rows] == ["3 (complete)", "3 (no run)"]
    assert table.rows[0][1] == "2"
    assert any("may flatter" in note for note in table.notes)


def test_pairs_are_of_the_same_seed_in_whatever_order_runs_are() -> None:
    groups = [
        arm("a", *[run_of(n, [(60.0, 0.8 + n / 100)]) for n in (3, 1, 2)]),
        arm("b", *[run_of(n, [(60.0, 0.7 + n / 100)]) for n in (1, 2, 3)]),
    ]
    table = inference.differences(groups, "test_accuracy")
    assert table is not None
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert (row["arms"], row["n"], row["difference"]) == ("b − a", "3", "-10.0 points")
    assert row["p (exact)"] == "0.250"
    assert any("cannot be below 0.25" in note for note in table.notes)


def test_more_than_four_arms_are_each_held_against_the_first() -> None:
    groups = [arm(f"a{n}", run_of(1, FAST)) for n in range(5)]
    assert [(ours.arm, theirs.arm) for ours, theirs in inference.pairs(groups)] == [
        (f"a{n}", "a0") for n in range(1, 5)
    ]
    assert len(inference.pairs(groups[:4])) == 6


def test_three_arms_are_analysed_over_the_seeds_that_all_have() -> None:
    groups = [
        arm(f"a{k}", *[run_of(n, [(60.0, 0.5 + k / 10 + n * (k + 1) / 1000)]) for n in range(1, 4 + (k == 0))])
        for k in range(3)
    ]
    table = inference.overall(groups)
    assert table is not None
    assert table.rows[0][:3] == ("accuracy", "3", "3")
    assert inference.overall(groups[:2]) is None, "two arms are what the paired t-test is for"
