"""The few pieces of Markdown that reference pages are made of."""

import re
from collections.abc import Iterable, Sequence

WORD_IN_CODE = re.compile(r"(?<![`\w])([a-z]+_[a-z_0-9]+)(?![`\w])")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what would end a cell or begin a tag is written so that it does not."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(each) for each in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    """A value as it is written in YAML."""
    if text is None:
        return "-"
    return f"`{str(text).lower() if isinstance(text, bool) else text}`"


def prose(text: str) -> str:
    """A docstring as Markdown: names with underscores are set as code."""
    return WORD_IN_CODE.sub(r"`\1`", text.replace("<", "&lt;"))


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
