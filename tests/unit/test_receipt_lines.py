"""The receipt for people: like checks become one line, and what is out of tolerance is said in words."""

from typing import Any

from analysis import receipt
from analysis.headlines import headlines, short_labels


def check(what: str, where: str, found: float | None, *, ok: bool | None = True, **more: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"asked": 0.07, "tolerance": 0.001, "why": ""}
    return {"what": what, "where": where, "found": found, "ok": ok, **asked, **more}


def test_links_that_were_asked_the_same_are_one_line_with_the_worst_of_them() -> None:
    checks = [check("rtt_s", f"pi-{number}>coordinator", 0.07 + number * 1e-4) for number in range(10)]
    (line,) = receipt.lines(checks)
    assert len(line.where) == 10
    assert line.worst["where"] == "pi-9>coordinator"
    assert receipt.found(line) == "70.0 to 70.9 ms"
    assert receipt.asked(line) == "70.0 ± 1.00 ms"
    assert receipt.error(line) == "+900 µs"


def test_a_link_out_of_tolerance_is_not_hidden_in_its_group_and_comes_first() -> None:
    checks = [check("rtt_s", "a>b", 0.07), check("rtt_s", "b>a", 0.09, ok=False), check("loss", "a>b", 0.0, asked=0.0)]
    lines = receipt.lines(checks)
    assert [(line.ok, line.where) for line in lines] == [(False, ("b>a",)), (True, ("a>b",)), (True, ("a>b",))]
    assert receipt.worth(checks) == "1 of 3 checks out of tolerance"


def test_what_failed_is_said_in_words_with_what_was_asked() -> None:
    waiting = check("waiting_for_cpu_ratio", "coordinator", 0.41, ok=False, asked=0.0, tolerance=0.25)
    slow = check("rate_bps", "a>b", 1.5e7, ok=False, asked=2e7, tolerance=1e6)
    silent = check("rtt_s", "a>b", None, ok=False, why="no ping came back")
    sentences = [receipt.sentence(line) for line in receipt.failures([waiting, slow, silent])]
    assert sentences == [
        "waiting for a free core (coordinator): 41.0 %, at most 25.0 %",
        "rate (a>b): 15.0 Mbit/s, asked 20.0 ± 1.00 Mbit/s",
        "round-trip time (a>b): no ping came back, asked 70.0 ± 1.00 ms",
    ]


def test_nothing_compared_is_not_all_well() -> None:
    assert receipt.worth([check("loss", "a>b", 0.1, ok=None)]) == "nothing was measured"


def test_a_note_that_repeats_a_failed_check_is_known() -> None:
    checks = [check("rtt_s", "a>b", 0.09, ok=False)]
    assert receipt.tells(checks, "a>b: rtt_s is 0.09, asked 0.07 +- 0.001")
    assert not receipt.tells(checks, "ended by themselves, which no fault asked for: a")


def test_times_to_accuracy_are_to_what_all_reached_and_to_what_the_best_reached() -> None:
    slow = {"test_accuracy": 0.6, "time_to_accuracy_55_s": 3.0, "time_to_accuracy_60_s": 9.0}
    fast = {"test_accuracy": 0.9, "time_to_accuracy_60_s": 1.0, "time_to_accuracy_90_s": 8.0}
    times = ["time_to_accuracy_60_s", "time_to_accuracy_90_s"]
    assert headlines([slow, fast]) == ["test_accuracy", *times]
    assert headlines([{"energy_joules": 1.0}, {"energy_joules": None}]) == ["energy_joules"]


def test_labels_leave_out_what_all_runs_share_and_that_an_algorithm_is_one() -> None:
    assert short_labels(["algorithm=fedavg seed=1", "algorithm=dsgd seed=1"]) == ["fedavg", "dsgd"]
    assert short_labels(["algorithm=fedavg seed=1", "algorithm=fedavg seed=2"]) == ["seed 1", "seed 2"]
    assert short_labels(["learning.rule.name=lls"]) == ["name lls"]
    assert short_labels(["20260101-a", "20260102-b"]) == ["20260101-a", "20260102-b"]
