"""Pieces of HTML: sections, tables, lists, figures. Texts are escaped here, unless they are said to be HTML."""

from collections.abc import Iterable, Sequence
from html import escape

Cell = str  # HTML already


def section(title: str, *parts: str) -> str:
    """A section with its heading; the parts are HTML."""
    return f"<section><h2>{escape(title)}</h2>\n{''.join(parts)}</section>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text, with a class."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def heading(text: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what they stand for."""
    inner = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in rows)
    return f"<dl>{inner}</dl>"


def items(lines: Iterable[str]) -> str:
    """A list of texts."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def figure(svg: str, caption: str) -> str:
    """A drawing (HTML) with the text below it."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def coloured(text: str, kind: str) -> Cell:
    """A text that stands out, in the colour of its class."""
    return f"<b{_class(kind)}>{escape(text)}</b>"


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    texts: int = 1,
    html: Sequence[int] = (),
    whole: Sequence[int] = (),
) -> str:
    """A table. The columns after the first `texts` are numbers, flush right; those in `html` are not escaped; numbers
    and those in `whole` are not broken into lines.
    """
    kinds = ["whole" if index in whole else "" if index < texts else "number" for index in range(len(header))]
    head = "".join(f"<th{_class(kind)}>{escape(name)}</th>" for kind, name in zip(kinds, header, strict=True))
    lines = []
    for row in rows:
        cells = [cell if index in html else escape(cell) for index, cell in enumerate(row)]
        lines.append("".join(f"<td{_class(kind)}>{cell}</td>" for kind, cell in zip(kinds, cells, strict=True)))
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"


def _class(kind: str) -> str:
    return f' class="{escape(kind, quote=True)}"' if kind else ""
