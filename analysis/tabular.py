"""A table as plain texts, and how it is written in a paper: Markdown, LaTeX and CSV."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.statistics import Mean
from orchestrator import quantities

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "µ": r"\textmu{}",
    "−": "$-$",
    "→": r"$\rightarrow$",
    "χ": r"$\chi$",
    "²": r"$^2$",
    "✓": "",
    "✗": "",
    "\N{NO-BREAK SPACE}": "~",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


@dataclass(frozen=True)
class Table:
    """A heading, rows of texts, and what has to be said below; the columns after the first `texts` are numbers."""

    name: str  # of its file
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1
    notes: tuple[str, ...] = ()


def plus_minus(metric: str, found: Mean) -> str:
    """A mean and half of its 95 % confidence interval in one unit: `62.0 ± 1.1 %`; a single value stands alone."""
    middle = quantities.of_metric(metric, found.mean)
    if found.high is None:
        return middle
    number, space, unit = middle.partition(" ")
    half = _beside(number, found.mean, found.high - found.mean)
    return f"{number} ± {half}{space}{unit}"


def _beside(number: str, value: float, half: float) -> str:
    """A half-width with the prefix and the decimals that the value has been written with as `number`."""
    if half == 0:
        return "0"
    decimals = len(number.partition(".")[2])
    scale = 10.0 ** round(math.log10(abs(float(number) / value))) if value and float(number) else 1.0
    text = f"{half * scale:.{decimals}f}"
    return text if float(text) else f"<{10.0**-decimals:.{decimals}f}"


def span(first: str, second: str) -> str:
    """From one figure to another, the unit said once if they share it: `-3.5 to +6.0 points`."""
    number, _, unit = first.partition(" ")
    return f"{number if unit and second.endswith(f' {unit}') else first} to {second}"


def markdown(table: Table) -> str:
    """The table as GitHub shows it, its caption above and its notes below."""
    line = ["---" if index < table.texts else "---:" for index in range(len(table.header))]
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (table.header, *table.rows)]
    body = [f"| {' | '.join(row)} |" for row in (rows[0], line, *rows[1:])]
    return "\n\n".join([f"**{table.caption}**", "\n".join(body), *table.notes]) + "\n"


def latex(table: Table) -> str:
    """The table for LaTeX with the package booktabs (and textcomp, for micro)."""
    columns = "l" * table.texts + "r" * (len(table.header) - table.texts)
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in table.rows]
    notes = "".join(f"\n  \\par\\footnotesize {_latex(note)}" for note in table.notes)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{_latex(table.caption)}}}",
            f"  \\label{{tab:{table.name}}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            f"    {' & '.join(map(_latex, table.header))} \\\\",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            rf"  \end{{tabular}}{notes}",
            r"\end{table}",
            "",
        ]
    )


def comma_separated(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as CSV (RFC 4180, but with line feeds alone)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text).strip()
