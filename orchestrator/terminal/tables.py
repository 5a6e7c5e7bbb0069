"""Results on stdout: tables that fit the window, and lines that wrap at words. Nothing is coloured on paper."""

import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PAPER_WIDTH = 200  # where nobody's window sets a width, tables are as wide as they need
GAP = 2  # between columns
UNIT = re.compile(r"(\d) (%|[A-Za-zµ/]{1,6}\b)")  # a number and its unit stay on one line
HOLD = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Column:
    """A column: its heading; numbers stand flush right; what is `soft` is fainter, and goes where room is short."""

    name: str
    number: bool = False
    soft: bool = False


def print_table(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout. Where the window is too narrow for it, first the soft columns go, then the table itself:
    each row becomes a small list of its own.
    """
    if title:
        print_line(title, "bold")
    firm = [index for index, column in enumerate(columns) if not column.soft]
    firm_columns, firm_rows = [columns[index] for index in firm], [[row[index] for index in firm] for row in rows]
    if _natural_width(columns, rows) <= _results().width:
        _print_grid(columns, rows)
    elif _natural_width(firm_columns, firm_rows) <= _results().width:
        _print_grid(firm_columns, firm_rows)
    else:
        _print_lists(columns, rows)


def print_line(text: str = "", style: str = "", *, indent: int = 0, styled: int | None = None) -> None:
    """A line of the result on stdout; with an indent it is wrapped at words in a window, indented from line two on.

    Of the text the first `styled` characters have the style, or all of them.
    """
    console = _results()
    lines = [text]
    if indent and console.is_terminal:
        held = UNIT.sub(rf"\1{HOLD}\2", text)
        margin = " " * min(indent, console.width // 2)
        lines = textwrap.wrap(
            held, console.width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
        )
    for number, line in enumerate(lines):
        shown = _plain(line.replace(HOLD, " "))
        if styled is None or number == 0:
            shown.stylize(style, 0, styled)
        console.print(shown, soft_wrap=True)


def _print_grid(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        header_style="bold",
        border_style="dim",
    )
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.number else "left"
        table.add_column(_plain(column.name), justify=justify, style="dim" if column.soft else "", no_wrap=True)
    if not any(column.name for column in columns):
        table.show_header = False
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    console = _results()
    with console.capture() as capture:
        console.print(table)
    # The cells of the last column are padded: on paper that would be blanks at the ends of lines.
    console.file.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def _print_lists(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    width = max(len(column.name) for column in columns[1:])
    if columns[0].name:
        print_line(columns[0].name, "bold")
    for row in rows:
        print_line(row[0], "bold", indent=2)
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell:
                print_line(f"  {column.name:{width}}  {cell}", indent=width + 4)


def _natural_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    widths = [
        max(_plain(cell).cell_len for cell in (column.name, *cells))
        for column, *cells in zip(columns, *rows, strict=True)
    ]
    return sum(widths) + GAP * (len(widths) - 1)


def _results() -> "Console":
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PAPER_WIDTH)


def _plain(text: str) -> "Text":
    from rich.text import Text

    return Text(text)
