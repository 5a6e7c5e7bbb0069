"""From a path in the data to its place in the file."""

from orchestrator.errors import Problem
from orchestrator.yaml_loader import DataPath, Document, Place, dotted


def problem_at(document: Document, path: DataPath, text: str) -> Problem:
    """A problem at the value of that path, or at the nearest thing around it that is in the file.

    An unknown key is shown at the key itself; the dotted path stays whole, so that it names what is missing.
    """
    place = place_of(document, path, key=text.startswith("unknown key"))
    return Problem(document.file, place.line, place.column, dotted(path), text)


def place_of(document: Document, path: DataPath, *, key: bool = False) -> Place:
    """Where a value stands (or its key); what is not written is where its surroundings are."""
    if key and path in document.keys:
        return document.keys[path]
    while path and path not in document.values:
        path = path[:-1]
    return document.values[path]
