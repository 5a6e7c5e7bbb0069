"""Pieces of HTML: sections, tables, lists, figures. Texts are escaped here, unless they are said to be HTML."""

import re
from collections.abc import Iterable, Sequence
from html import escape

from analysis.tabular import Table

MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")
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


def items(lines: Iterable[str], kind: str = "") -> str:
    """A list of texts, with a class."""
    return f"<ul{_class(kind)}>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def figure(svg: str, caption: str) -> str:
    """A drawing (HTML) with the text below it."""
    named = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(caption, quote=True)}" ', 1)
    return f"<figure>{named}<figcaption>{escape(caption)}</figcaption></figure>"


def coloured(text: str, kind: str) -> Cell:
    """A text that stands out, in the colour of its class."""
    return f"<b{_class(kind)}>{escape(text)}</b>"


def details(summary: str, *parts: str, open: bool = False) -> str:
    """Parts (HTML) that are there for who asks for them."""
    return f"<details{' open' if open else ''}><summary>{escape(summary)}</summary>\n{''.join(parts)}</details>"


def tabular(shown: Table, *, html: Sequence[int] = ()) -> str:
    """A table with its notes; one of arms and settings has a heading for each setting."""
    parted = shown.header[0] == "setting"
    whole = range(shown.texts) if shown.texts < 3 else ()
    body = table(shown.header, shown.rows, texts=shown.texts, html=html, whole=whole, parted=parted)
    return body + "".join(paragraph(note, "note") for note in shown.notes)


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    texts: int = 1,
    html: Sequence[int] = (),
    whole: Sequence[int] = (),
    parted: bool = False,
) -> str:
    """A table. The columns after the first `texts` are numbers, flush right; those in `html` are not escaped; numbers
    and those in `whole` are not broken into lines. If `parted`, the first column becomes a line above the rows that
    share it.
    """
    kinds = ["whole" if index in whole else "" if index < texts else "number" for index in range(len(header))]
    first = 1 if parted else 0
    shown = list(zip(kinds, header, strict=True))[first:]
    head = "".join(f"<th scope=col{_class(kind)}>{escape(name)}</th>" for kind, name in shown)
    lines, part = [], None
    for row in rows:
        if parted and row[0] != part:
            part = row[0]
            lines.append(f'<th class="part" scope=rowgroup colspan={len(shown)}>{escape(part)}</th>')
        cells = [cell if index in html else escape(_typeset(cell, kinds[index])) for index, cell in enumerate(row)]
        pairs = list(zip(kinds, cells, strict=True))[first:]
        lines.append("".join(f"<td{_class(kind)}>{cell}</td>" for kind, cell in pairs))
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"


def _typeset(cell: str, kind: str) -> str:
    """A number with a minus sign, which is as wide as a plus; a dash where there is none."""
    if kind != "number":
        return cell
    return "–" if cell == "-" else MINUS.sub("−", cell)


def _class(kind: str) -> str:
    return f' class="{escape(kind, quote=True)}"' if kind else ""
