"""The tables of `docs/papers.md`, made from comparisons: `python -m analysis.papers runs/papers docs/papers.md`.

Each block between `<!-- runs: NAME -->` and `<!-- end -->` is replaced by what the comparison in the folder NAME found;
the words around the blocks are written by hand and stay.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import claims
from analysis.groups import Group, by_seed, group, settings
from analysis.headlines import family, mean_with_interval, short_labels
from analysis.inference import f_value, together
from analysis.load import Run
from analysis.statistics import holm, paired
from orchestrator import quantities

BLOCK = re.compile(r"(<!-- runs: ([a-z0-9_-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
SEED = re.compile(r"\bseed=(\d+)\b")
ALWAYS = ("test_accuracy", "sent_payload_bytes", "wire_bytes", "energy_joules")


def main(arguments: Sequence[str]) -> int:
    """Replace the blocks of a document; blocks whose comparison has not run stay as they are. Returns the exit code."""
    folder, document = map(Path, arguments)
    text = document.read_text(encoding="utf-8")

    def block(match: re.Match[str]) -> str:
        file = folder / match[2] / "compare.json"
        if not file.is_file():
            return match[0]
        return f"{match[1]}\n{tables(json.loads(file.read_text(encoding='utf-8')), file.parent)}\n{match[3]}"

    document.write_text(BLOCK.sub(block, text), encoding="utf-8")
    return 0


def tables(comparison: Mapping[str, Any], folder: Path) -> str:
    """What a comparison found, as Markdown: how it was run, the figures of each arm, and each claim."""
    runs = [(run["label"], run.get("summary") or {}) for run in comparison["runs"]]
    parts = [_setting(comparison, folder), _figures(runs, comparison["claims"]), _differ(comparison["runs"], folder)]
    if comparison["claims"]:
        parts.append(_claims(comparison["claims"], runs))
    return "\n\n".join(filter(None, parts)) + "\n"


def _setting(comparison: Mapping[str, Any], folder: Path) -> str:
    runs = comparison["runs"]
    worst = [run["label"] for run in runs if run.get("status") != "complete"]
    first = folder / runs[0]["directory"]
    plan = json.loads((first / "plan.json").read_text(encoding="utf-8"))
    substrate = json.loads((first / "environment.json").read_text(encoding="utf-8")).get("substrate", "unknown")
    devices = sum(node["role"] == "device" for node in plan["nodes"])
    said = f"{len(runs)} runs on the substrate {substrate}: {devices} devices, {plan['stop_after_s']:g} s each."
    if len(runs) < comparison.get("planned", len(runs)):
        said += f" **Not all have run: {comparison['planned'] - len(runs)} are missing, so nothing here is final.**"
    if worst:
        said += f" Not complete, so not to be trusted: {', '.join(worst)}."
    return said


def _figures(runs: Sequence[claims.Labelled], claimed: Sequence[Mapping[str, Any]]) -> str:
    families = list(dict.fromkeys(family(label) for label, _ in runs))
    wanted = dict.fromkeys((*ALWAYS, *(claim["metric"] for claim in claimed)))
    metrics = [metric for metric in wanted if any(summary.get(metric) is not None for _, summary in runs)]
    rows = [["", *map(quantities.words, metrics)], ["---", *["---:"] * len(metrics)]]
    for name, short in zip(families, short_labels(families), strict=True):
        values = [[summary.get(metric) for label, summary in runs if family(label) == name] for metric in metrics]
        rows.append([short, *map(mean_with_interval, metrics, values)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _differ(entries: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """Whether the arms' accuracies differ at all, setting by setting, by the tests that a report has: runs of one seed
    share data, initial weights, links and faults. Empty where there is too little to tell.
    """
    groups = group([_run(entry, folder) for entry in entries])
    tested = [(setting, *found) for setting, members in settings(groups).items() if (found := _test(members))]
    adjusted = holm([p for _, _, p in tested])
    lines = [
        f"That all arms have the same accuracy{f' ({setting})' if setting else ''}: {how.format(p=_p(p))}"
        f"{'' if len(tested) == 1 else f'; p {_p(corrected)} by Holm for {len(tested)} tests'}."
        for (setting, how, p), corrected in zip(tested, adjusted, strict=True)
    ]
    return "\n".join(lines if len(lines) < 2 else (f"- {line}" for line in lines))


def _test(members: Sequence[Group]) -> tuple[str, float] | None:
    """How the arms of one setting were tested, in words that want their p-value, and the p-value."""
    if len(members) == 2:
        ours, theirs = (by_seed(each, "test_accuracy") for each in members)
        seeds = sorted(ours.keys() & theirs.keys())
        p = paired([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]).p if seeds else None
        return None if p is None else (f"p {{p}} (paired t-test, {len(seeds)} seeds)", p)
    found = together(members, "test_accuracy") if members else None
    if found is None:
        return None
    how = f"{f_value(found)}, p {{p}} (analysis of variance for repeated measures, {found.seeds} seeds, corrected by "
    how += f"Greenhouse and Geisser's epsilon {found.epsilon:.2f}; Friedman's test: p {_p(found.p_friedman)})"
    return how, found.p_corrected


def _run(entry: Mapping[str, Any], folder: Path) -> Run:
    """A run as the comparison lists it: its figures and its seed, which is all that the tests ask for."""
    seed = SEED.search(entry["label"])
    return Run(folder / entry["directory"], entry["label"], {"seed": int(seed[1])} if seed else {}, entry)


def _claims(claimed: Sequence[Mapping[str, Any]], runs: Sequence[claims.Labelled]) -> str:
    findings = claims.judge(claimed, runs)
    rows = ["| claim | found | p (paired t, Holm) | verdict |", "| --- | --- | ---: | --- |"]
    for finding, p_holm in zip(findings, claims.adjusted(findings), strict=True):
        found = finding.why or f"{finding.shown}{finding.interval}"
        p = "-" if p_holm is None else _p(p_holm)
        rows.append(f"| {finding.text} | {found} | {p} | **{finding.verdict}** |")
    return "\n".join(rows)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
