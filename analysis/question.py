"""The report's first section: what these runs were made to find out, and how."""

from collections.abc import Sequence

from analysis import markup
from analysis.claims import ClaimFinding
from analysis.groups import Group, arms, settings
from analysis.load import Run
from orchestrator import quantities


def section(runs: Sequence[Run], groups: Sequence[Group], findings: Sequence[ClaimFinding] = ()) -> str:
    """What the scenario is about, what is compared with what, and what it said beforehand would come out."""
    parts = []
    if about := str(runs[0].plan.get("about", "")).strip():
        parts.append(markup.paragraph(about, "about"))
    parts.append(markup.paragraph(_compared(runs, groups)))
    said = [finding.text for finding in findings] or _expected(runs)
    if said:
        parts.append(markup.paragraph("Said beforehand, in the scenario:"))
        parts.append(markup.items(said, "ended"))
    return markup.section("Question", *parts)


def _compared(runs: Sequence[Run], groups: Sequence[Group]) -> str:
    names, several = arms(groups), [name for name in settings(groups) if name]
    seeds = sorted({str(run.plan.get("seed", "?")) for run in runs}, key=lambda seed: (len(seed), seed))
    if len(runs) == 1:
        return f"One run, with seed {seeds[0]}."
    who = f"{len(names)} arms ({', '.join(names)})" if len(names) > 1 else f"One arm ({names[0]})"
    where = f" in {len(several)} settings ({', '.join(several)})" if len(several) > 1 else ""
    with_seeds = f"each with seeds {', '.join(seeds)}" if len(seeds) > 1 else f"with seed {seeds[0]}"
    shared = " Runs of one seed share data, initial weights, links and faults." if len(names) > 1 else ""
    return f"{who}{where}, {with_seeds}: {len(runs)} runs.{shared}"


def _expected(runs: Sequence[Run]) -> list[str]:
    found = {
        quantities.words(each["metric"]) + each["text"].removeprefix(each["metric"])
        for run in runs
        for each in run.result.get("expectations", ())
    }
    return sorted(found)
