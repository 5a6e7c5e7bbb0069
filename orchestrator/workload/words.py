"""Words in braces inside an argument: `{coordinator.address}` becomes the address; `{{` and `}}` are braces themselves.

What the plan knows is filled in when it is made; the rest (`LATE`) by the machine that runs it.
"""

import re
from collections.abc import Iterator, Mapping

WORDS = {
    "coordinator.address": "the coordinator's IP address",
    "devices.addresses": "of all devices by index, with commas between",
    "devices.count": "how many devices there are",
    "folder": "the node's own working folder, in the run directory",
    "node.address": "its IP address",
    "node.group": "its group of devices, or coordinator",
    "node.index": "its number among the devices, from 0; the coordinator has -1",
    "node.name": "its name",
    "node.seed": "a number of its own below 2^31, from the seed of the run",
    "python": "the Python that runs Edgebed",
    "run.seconds": "how long the run lasts",
    "run.seed": "the seed of the run",
}
LATE = ("folder", "python")
_BRACES = re.compile(r"\{\{|\}\}|\{([a-z._]*)\}|[{}]")


def found_in(text: str) -> Iterator[str]:
    """The words in a text; ValueError for a brace that belongs to none."""
    for match in _BRACES.finditer(text):
        if match[0] in ("{", "}"):
            raise ValueError(f"has a {match[0]} by itself; write {match[0] * 2} for the brace, or {{word}}")
        if match[1] is not None:
            yield match[1]


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace the words that there are values for, and leave the others and doubled braces as they are."""

    def one(match: re.Match[str]) -> str:
        value = values.get(match[1] or "")
        return match[0] if value is None else value.replace("{", "{{").replace("}", "}}")

    return _BRACES.sub(one, text)


def finish(text: str, values: Mapping[str, str]) -> str:
    """Replace the words that are left, and doubled braces by single ones."""
    return _BRACES.sub(lambda match: match[0][0] if match[1] is None else values[match[1]], text)
