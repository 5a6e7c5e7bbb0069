"""The table of a sweep: a row for each combination, its figures as mean and standard deviation over the seeds.

A run that did not come to its end has no figures; it is counted beside those that have.
"""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.headlines import headlines
from orchestrator import quantities

SEED = "seed"
ENDED = ("complete", "degraded")


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (of the sample, n - 1; None for one value) of a metric, in its base unit."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Row:
    """One combination. `runs` are all its seeds; `failed` of them have no figures, `degraded` have doubtful ones."""

    factors: Mapping[str, str]
    runs: int
    failed: int
    degraded: int
    spreads: Mapping[str, Spread]


def rows(runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows of some runs as `compare.json` lists them, in the order in which the combinations first appear."""
    found: dict[tuple[tuple[str, str], ...], list[Mapping[str, Any]]] = {}
    for run in runs:
        found.setdefault(tuple((key, word) for key, word in _factors(run).items() if key != SEED), []).append(run)
    return [_row(dict(factors), together) for factors, together in found.items()]


def texts(table: Sequence[Row]) -> tuple[list[str], list[list[str]], int]:
    """Headings and cells for people: what varies, the headlines as `mean ± SD`, how many runs are behind them.

    The last value is how many columns, from the left, say what varies; after these come the headlines.
    """
    metrics = headlines([{metric: each.mean for metric, each in row.spreads.items()} for row in table])
    keys = [key for key in _keys(table) if len({row.factors.get(key) for row in table}) > 1]
    heads = [key.rpartition(".")[2].replace("_", " ") for key in keys]
    failed, degraded = any(row.failed for row in table), any(row.degraded for row in table)
    cells = []
    for row in table:
        figures = [_cell(metric, row) for metric in metrics]
        counts = [str(row.runs - row.failed)]
        counts += [str(row.failed)] if failed else []
        counts += [str(row.degraded)] if degraded else []
        cells.append([*(row.factors.get(key, "-") for key in keys), *figures, *counts])
    names = [*heads, *map(quantities.words, metrics), "n", *(["failed"] * failed), *(["degraded"] * degraded)]
    return names, cells, len(keys)


def to_json(table: Sequence[Row]) -> list[dict[str, Any]]:
    """All metrics, base units, as plain JSON values."""
    return [
        {**vars(row), "factors": dict(row.factors), "spreads": {key: vars(each) for key, each in row.spreads.items()}}
        for row in table
    ]


def to_csv(table: Sequence[Row]) -> str:
    """All metrics, base units: a column for each factor, then three for each metric."""
    keys, metrics = _keys(table), sorted({metric for row in table for metric in row.spreads})
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    columns = [f"{metric}_{what}" for metric in metrics for what in ("mean", "sd", "n")]
    writer.writerow([*keys, "runs", "failed", "degraded", *columns])
    for row in table:
        figures: list[float | int | None] = []
        for metric in metrics:
            spread = row.spreads.get(metric)
            figures += [None, None, 0] if spread is None else [spread.mean, spread.sd, spread.n]
        writer.writerow([*(row.factors.get(key, "") for key in keys), row.runs, row.failed, row.degraded, *figures])
    return file.getvalue()


def _row(factors: Mapping[str, str], runs: Sequence[Mapping[str, Any]]) -> Row:
    ended = [run for run in runs if run.get("status") in ENDED]
    values: dict[str, list[float]] = {}
    for run in ended:
        for metric, value in run["summary"].items():
            if value is not None:
                values.setdefault(metric, []).append(value)
    spreads = {metric: _spread(found) for metric, found in values.items()}
    degraded = sum(run["status"] == "degraded" for run in ended)
    return Row(factors, len(runs), len(runs) - len(ended), degraded, spreads)


def _spread(values: Sequence[float]) -> Spread:
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), sd, len(values))


def _factors(run: Mapping[str, Any]) -> Mapping[str, str]:
    """What `compare.json` says; where it is from before it said so, the words of the label."""
    if run.get("factors"):
        factors: Mapping[str, str] = run["factors"]
        return factors
    return {key: word for key, _, word in (each.partition("=") for each in run["label"].split()) if word}


def _keys(table: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(key for row in table for key in row.factors))


def _cell(metric: str, row: Row) -> str:
    """`62.0 ± 1.1 %`, and of how many runs, where some of those that ended lack the figure."""
    spread = row.spreads.get(metric)
    if spread is None:
        return "-"
    number, space, unit = quantities.of_metric(metric, spread.mean).partition(" ")
    text = number + space + unit
    if spread.sd is not None:  # with the prefix and the decimals of the mean
        scale = 10.0 ** round(math.log10(float(number) / spread.mean)) if spread.mean and float(number) else 1.0
        text = f"{number} ± {spread.sd * scale:.{len(number.partition('.')[2])}f}{space}{unit}"
    ended = row.runs - row.failed
    return text if spread.n == ended else f"{text} ({spread.n} of {ended})"
