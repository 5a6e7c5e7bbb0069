"""The report's words on a workload: programs of somebody else's, of which only what they told is known."""

from collections.abc import Sequence

from analysis import course, figures, markup
from analysis.figures.programs import MOST_PANELS, names
from analysis.groups import Group
from analysis.trust import Names
from orchestrator import quantities

WIRE = "sent_wire_bytes"
ABOUT_BYTES = (
    "The wire is what left the nodes' interfaces, all of it: headers, acknowledgements, polling and what had to be "
    "sent again. What a program says of bytes is what it counts itself, and is no part of that sum."
)


def section(groups: Sequence[Group], called: Names) -> str:
    """What the programs measured themselves, of one run of each arm; nothing where they told nothing."""
    shown = course.shown_runs(groups)
    found = names(shown)
    if not found:
        return ""
    said = {each["name"]: each for run in shown for each in (run.plan.get("workload") or {}).get("metrics", ())}
    few = f" The first {MOST_PANELS} of {len(found)} metrics." if len(found) > MOST_PANELS else ""
    caption = (
        "By the lines that they wrote, read with the patterns of the scenario: counters of all nodes together; else "
        f"every value of every node. Shaded: faults.{few}"
    )
    rows = [[name, said[name]["kind"], str(said[name].get("about") or "")] for name in found if name in said]
    return markup.section(
        "What the programs measured",
        markup.figure(figures.svg(figures.programs(shown, [called[run.directory] for run in shown])), caption),
        markup.table(["metric", "kind", "what it is"], rows, texts=3) if rows else "",
    )


def bytes_of(groups: Sequence[Group]) -> str:
    """What crossed the interfaces beside what the programs say of bytes, as they count them."""
    metrics = {metric for group in groups for run in group.runs for metric in run.summary}
    own = sorted(each for each in metrics if each.startswith("program.") and quantities.unit_of(each) == "bytes")
    columns = [["bytes", *(group.name or "all nodes" for group in groups)]]
    for metric, title in [(WIRE, "on the wire, at the interfaces"), *((each, quantities.words(each)) for each in own)]:
        values = [group.known(metric) for group in groups]
        columns.append(
            [title, *(quantities.of_metric(metric, sum(each) / len(each)) if each else "-" for each in values)]
        )
    means = " Means over seeds." if any(len(group.runs) > 1 for group in groups) else ""
    return markup.section("Bytes", markup.paragraph(ABOUT_BYTES + means), markup.table(columns[0], columns[1:]))
