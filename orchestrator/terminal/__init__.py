"""The terminal: what one sees of a run while it runs (`displays`, `live`), and the tables of results (`tables`).

While a run lasts everything goes to stderr, except JSON lines, which are the result and go to stdout. A display only
shows: nothing reads it back, and a run behaves the same with any of them.
"""

from orchestrator.terminal.displays import (
    Display,
    JsonDisplay,
    PlainDisplay,
    QuietDisplay,
    RunState,
    can_redraw,
    display_for,
    facts,
)
from orchestrator.terminal.tables import Column, print_line, print_table

__all__ = [
    "Column",
    "Display",
    "JsonDisplay",
    "PlainDisplay",
    "QuietDisplay",
    "RunState",
    "can_redraw",
    "display_for",
    "facts",
    "print_line",
    "print_table",
]
