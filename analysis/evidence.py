"""The report's section on statistics: what the seeds can tell of the arms, and what they cannot."""

from collections.abc import Sequence

from analysis import costs, inference, markup
from analysis.groups import FEW_SEEDS, Group, most_seeds
from analysis.tabular import Table


def tables(groups: Sequence[Group]) -> list[Table]:
    """All tables of statistics that these groups have something to say for, the overall ones first."""
    metrics = inference.measured(groups)
    found: list[Table | None] = []
    if most_seeds(groups) > 1:
        found.append(inference.overall(groups))
        for metric in metrics:
            found += [inference.described(groups, metric), inference.differences(groups, metric)]
    found += costs.to_accuracy(groups)
    found += [costs.losses(groups), costs.recoveries(groups)]
    return [table for table in found if table is not None]


def section(groups: Sequence[Group], missing: Sequence[str] = ()) -> str:
    """Accuracy in full; bytes and energy on demand; then what it took to get there and what faults cost."""
    shown = tables(groups)
    if not shown:
        return ""
    parts = []
    fewest, most = min(len(group.runs) for group in groups), most_seeds(groups)
    if most == 1:
        parts.append(markup.paragraph("One run each: nothing can be said of chance. Repeat with --seeds.", "warn"))
    elif fewest < FEW_SEEDS:
        seeds = "one seed" if fewest == 1 else f"{fewest} seeds"
        parts.append(
            markup.paragraph(
                f"n is below {FEW_SEEDS} (an arm has {seeds}): intervals are wide, and p-values say little.", "warn"
            )
        )
    if missing:
        parts.append(markup.paragraph(f"Runs without any figures are in no table below: {'; '.join(missing)}.", "warn"))
    for table in shown:
        body = markup.heading(table.caption) + markup.tabular(table)
        aside = table.name.startswith(("means_", "pairs_")) and not table.name.endswith("test_accuracy")
        parts.append(markup.details(table.caption, markup.tabular(table)) if aside else body)
    return markup.section("Statistics", *parts)
