"""Is what a file says of the shape that reports expect? Entries that are not are left out and named. Pure.

A run directory may be half written, of another version or broken by hand; what is sound of it is still shown.
"""

from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = 1  # of result.json and compare.json
Shape = Mapping[str, type | tuple[type, ...]]
NUMBER = (int, float)
PERHAPS = (int, float, type(None))
TEXT = (str, type(None))

# What each entry of a list must have, by file and list.
ENTRIES: dict[str, dict[str, Shape]] = {
    "plan.json": {
        "nodes": {"name": str, "role": str, "group": str, "profile": dict},
        "links": {"id": str},
        "faults": {"kind": str, "at_s": PERHAPS, "heal_s": PERHAPS, "nodes": list, "links": list},
    },
    "result.json": {
        "faults": {
            **{"kind": str, "nodes": list, "links": list, "asked_at_s": PERHAPS, "asked_heal_s": PERHAPS},
            **{"injected_at_s": PERHAPS, "healed_at_s": PERHAPS},
            **{"evidence": TEXT, "heal_evidence": TEXT, "error": TEXT},
        },
        "expectations": {"text": str, "metric": str, "found": PERHAPS, "verdict": str},
    },
    "receipt.json": {
        "checks": {
            **{"what": str, "where": str, "asked": PERHAPS, "found": PERHAPS, "tolerance": PERHAPS},
            **{"ok": (bool, type(None)), "why": str},
        }
    },
    "compare.json": {"runs": {"label": str, "directory": str}},
}
# What other values must be, where they are there.
VALUES: dict[str, Shape] = {
    "plan.json": {"name": str, "about": str, "seed": int, "stop_after_s": NUMBER},
    "result.json": {"summary": dict, "notes": list, "status": str},
    "receipt.json": {"facts": dict, "pending": bool},
    "environment.json": {"packages": dict, "substrate_facts": dict},
    "compare.json": {"claims": list, "planned": int},
}


def sound(file: str, content: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The content without what cannot be used; `problems` gets a line for everything that was left out."""
    kept = dict(content)
    version = kept.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        problems.append(
            f"{file} is of version {version}, and this Edgebed reads version {SCHEMA_VERSION}: what it does not know "
            "is not shown"
        )
    for key, kind in VALUES.get(file, {}).items():
        if key in kept and not isinstance(kept[key], kind):
            problems.append(f"{file}: {key} is left out: {_short(kept.pop(key))} is not what it should be")
    for key, shape in ENTRIES.get(file, {}).items():
        if key in kept:
            kept[key] = _entries(f"{file}: {key}", kept[key], shape, problems)
    if isinstance(kept.get("summary"), dict):
        kept["summary"] = {name: value for name, value in kept["summary"].items() if isinstance(value, PERHAPS)}
    return kept


def _entries(where: str, found: Any, shape: Shape, problems: list[str]) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        problems.append(f"{where} is left out: {_short(found)} is no list")
        return []
    kept, why = [], ""
    for entry in found:
        missing = _missing(entry, shape)
        if missing:
            why = missing
        else:
            kept.append(entry)
    if why:
        problems.append(f"{where}: {len(found) - len(kept)} of {len(found)} entries left out: {why}")
    return kept


def _missing(entry: Any, shape: Shape) -> str:
    """What is wrong with an entry; empty if nothing is."""
    if not isinstance(entry, dict):
        return f"{_short(entry)} is no object"
    absent = [key for key in shape if key not in entry]
    if absent:
        return f"no {absent[0]}"
    wrong = [key for key, kind in shape.items() if not isinstance(entry[key], kind)]
    return f"{wrong[0]} is {_short(entry[wrong[0]])}" if wrong else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
