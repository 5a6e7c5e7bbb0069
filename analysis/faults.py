"""The report's section on faults: which were asked for, when they acted, and what shows that they did."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import markup
from analysis.load import Run
from analysis.trust import RUNS_BESIDE, Names
from orchestrator import quantities


def section(runs: Sequence[Run], names: Names) -> str:
    """A table for each fault, with a row for each run that it hit alike; of many runs, first one row for each kind."""
    blocks: dict[str, list[list[str]]] = {}
    kinds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        for fault in run.result.get("faults", ()):
            until = "to the end" if fault["asked_heal_s"] is None else f"to {fault['asked_heal_s']:g} s"
            victims = ", ".join(fault["nodes"] or fault["links"])
            when = fault.get("asked_when") or f"{fault['asked_at_s']:g} s {until}"
            evidence = fault["error"] or "; ".join(filter(None, (fault["evidence"], fault["heal_evidence"])))
            row = [
                _instant(fault["asked_at_s"], fault["injected_at_s"]),
                _instant(fault["asked_heal_s"], fault["healed_at_s"]),
                evidence or "none: nobody can say that it acted",
            ]
            title = f"{fault['kind']} of {victims}: {when}"
            blocks.setdefault(title, []).append([names[run.directory], *row] if len(runs) > 1 else row)
            kinds.setdefault((_hit(fault), when), []).append(fault)
    if not blocks:
        return markup.section("Faults", markup.paragraph("Nothing was made to go wrong."))
    columns = [*(["run"] if len(runs) > 1 else []), "began", "ended", "evidence"]
    instants = (len(columns) - 3, len(columns) - 2)
    parts = [
        markup.heading(title) + markup.table(columns, rows, texts=4, whole=instants) for title, rows in blocks.items()
    ]
    if len(runs) <= RUNS_BESIDE:
        return markup.section("Faults", *parts)
    summed = [[what, when, *_acted(faults)] for (what, when), faults in kinds.items()]
    table = markup.table(["fault", "asked", "acted in", "began off by at most"], summed, texts=4)
    return markup.section("Faults", table, markup.details("Every fault of every run, with its evidence", *parts))


def _hit(fault: Mapping[str, Any]) -> str:
    what = "nodes" if fault["nodes"] else "links"
    return f"{fault['kind']} of {len(fault['nodes'] or fault['links'])} {what}"


def _acted(faults: Sequence[Mapping[str, Any]]) -> list[str]:
    """In how many runs a fault acted, by its evidence, and how late or early it was."""
    acted = [
        fault for fault in faults if not fault["error"] and fault["evidence"] and fault["injected_at_s"] is not None
    ]
    off_s = [abs(fault["injected_at_s"] - fault["asked_at_s"]) for fault in acted if fault["asked_at_s"] is not None]
    return [f"{len(acted)} of {len(faults)} runs", quantities.seconds(max(off_s)) if off_s else "-"]


def _instant(asked_s: float | None, done_s: float | None) -> str:
    """When it happened; the plan's instant, where that makes a difference."""
    if done_s is None:
        return "never" if asked_s is None else "did not happen"
    return f"{done_s:.3f} s, with the run" if asked_s is None else f"{done_s:.3f} s"
