"""The table of a sweep: means and deviations of what has ended, and a count of what has not."""

import csv
import io
import statistics
from typing import Any

import pytest

from analysis import matrix


def entry(seed: int, status: str = "complete", network: str = "wifi", **summary: float | None) -> dict[str, Any]:
    label = f"algorithm=fedavg network={network} seed={seed}"
    factors = {"algorithm": "fedavg", "network": network, "seed": str(seed)}
    return {"label": label, "factors": factors, "status": status, "summary": summary}


RUNS = [
    entry(1, test_accuracy=0.8, time_to_accuracy_80_s=5.0),
    entry(2, test_accuracy=0.7, time_to_accuracy_80_s=None),
    entry(3, "degraded", test_accuracy=0.6),
    entry(4, "broke", test_accuracy=0.1),
    {"label": "algorithm=fedavg network=wifi seed=5", "factors": entry(5)["factors"], "error": "lost 2 times"},
    entry(1, network="lte", test_accuracy=0.5),
]


def test_a_row_is_the_mean_of_the_runs_that_ended_and_counts_the_others() -> None:
    wifi, lte = matrix.rows(RUNS)
    assert wifi.factors == {"algorithm": "fedavg", "network": "wifi"}
    assert (wifi.runs, wifi.failed, wifi.degraded) == (5, 2, 1)
    accuracy = wifi.spreads["test_accuracy"]
    assert accuracy.mean == pytest.approx(0.7)
    assert accuracy.sd == pytest.approx(statistics.stdev([0.8, 0.7, 0.6]))
    assert accuracy.n == 3
    assert (lte.spreads["test_accuracy"].sd, lte.spreads["test_accuracy"].n) == (None, 1)


def test_people_read_what_varies_and_how_many_runs_are_behind_a_figure() -> None:
    heads, cells, varied = matrix.texts(matrix.rows(RUNS))
    assert (heads[0], varied) == ("network", 1)
    assert heads[-3:] == ["n", "failed", "degraded"]
    assert cells[0] == ["wifi", "70.0 ± 10.0 %", "5.0 s (1 of 3)", "3", "2", "1"]
    assert cells[1] == ["lte", "50.0 %", "-", "1", "0", "0"]


def test_without_failures_nothing_is_said_of_them() -> None:
    heads, _, _ = matrix.texts(matrix.rows(RUNS[:2]))
    assert heads[-1] == "n"


def test_programs_read_every_metric_in_base_units() -> None:
    table = matrix.rows(RUNS)
    rows = list(csv.DictReader(io.StringIO(matrix.to_csv(table))))
    assert rows[0]["network"] == "wifi"
    assert float(rows[0]["test_accuracy_mean"]) == pytest.approx(0.7)
    assert (rows[0]["test_accuracy_n"], rows[0]["failed"]) == ("3", "2")
    assert (rows[1]["time_to_accuracy_80_s_mean"], rows[1]["time_to_accuracy_80_s_n"]) == ("", "0")
    assert matrix.to_json(table)[1]["spreads"]["test_accuracy"] == {"mean": 0.5, "sd": None, "n": 1}


def test_a_comparison_of_before_there_were_factors_is_read_by_its_labels() -> None:
    old = {"label": "arm=elabip seed=3", "status": "complete", "summary": {"test_accuracy": 0.9}}
    (row,) = matrix.rows([old])
    assert row.factors == {"arm": "elabip"}
