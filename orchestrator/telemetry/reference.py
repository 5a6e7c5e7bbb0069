"""The table of all metrics in docs/metrics.md. `python -m orchestrator.telemetry.reference` writes it anew."""

from pathlib import Path

from orchestrator.telemetry.families import ORDINARY_LABELS, families

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- metrics begin -->\n", "<!-- metrics end -->\n"


def table() -> str:
    """All metrics as a table of Markdown, by name."""
    rows = ["| metric | kind | labels | what it is | from |", "|---|---|---|---|---|"]
    for _, family in sorted(families().items()):
        labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
        if family.labels == ORDINARY_LABELS:
            labels = "`device`, others"
        rows.append(f"| `{family.sample_name}` | {family.kind} | {labels} | {family.help} | {family.source} |")
    return "\n".join(rows).replace("<", "&lt;") + "\n"


def with_table(page: str) -> str:
    """The page with the table as it is now; ValueError where its place is not marked."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
