"""Every key of a scenario, with how its value is written and its default: from the JSON Schema of the types."""

import inspect
from collections.abc import Mapping
from typing import Any

from orchestrator.faults import FAULTS
from orchestrator.forms.fault import Fault
from orchestrator.forms.scenario import Scenario
from orchestrator.presets import SHIPPED, Presets
from orchestrator.reference.markdown import code, prose, table
from orchestrator.schema import scenario_schema
from orchestrator.units import DURATION, SIZE

Schema = Mapping[str, Any]
FAULT = "Fault_"
PLUGINS = ("task", "model", "algorithm", "rule", "selection")  # keys of `learning`; on a page of their own
PRESETS = ("links", "devices", "radios")
KEYS = ("key", "value", "default")
ON_WHAT = {"run": "the run itself"}


def page() -> str:
    """The keys of a scenario: the mapping itself, then every mapping in it, in the order in which it is met."""
    schema = scenario_schema()
    parts = [
        "# Scenario keys\n",
        "Every quantity is written with its unit: `20 ms`, `10 Mbit/s`, `64 KiB`, `30 %`. A key that is not here is an "
        "error. Editors complete them from `scenarios/reference/scenario.schema.json`; `edgebed show NAME` prints a "
        "scenario with all its defaults.\n",
        prose(_second_paragraph(Scenario)) + "\n",
        _keys(schema),
    ]
    for name in _met(schema, schema["$defs"], []):
        form = schema["$defs"][name]
        about = prose(form.get("description", ""))
        parts += [f"## {heading(name)} {{#{name}}}\n", f"{about}\n" if about else "", _keys(form)]
    for kind in PRESETS:
        parts += [f"## Presets: {kind} {{#{kind}}}\n", _presets(kind)]
    return "\n".join(parts)


def faults_page() -> str:
    """The kinds of faults: what all have in common, then the keys of each."""
    schema = scenario_schema()
    common = schema["$defs"][FAULT + "pause"]
    parts = [
        "# Fault kinds\n",
        "A fault is one item of the list `faults`. These keys are common to all kinds:\n",
        prose(inspect.cleandoc(Fault.__doc__ or "")) + "\n",
        _keys(common, away="scenario.md"),
    ]
    for kind, fault in sorted(FAULTS.items()):
        own = {
            name: value
            for name, value in schema["$defs"][FAULT + kind]["properties"].items()
            if name in fault.Parameters.model_fields
        }
        about = prose(fault.about[0].upper() + fault.about[1:])
        needs = f"Acts on {ON_WHAT.get(fault.targets, fault.targets)}. {about}.\n"
        form = {**schema["$defs"][FAULT + kind], "properties": own}
        parts += [f"## {kind}\n", needs, _keys(form, away="scenario.md") if own else "No keys of its own.\n"]
    return "\n".join(parts)


def heading(name: str) -> str:
    """`DeviceGroup` -> `device group`; what a form is called on the page."""
    letters = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name.removesuffix("Form"))
    return letters.strip().capitalize()


def _keys(form: Schema, away: str = "") -> str:
    required = form.get("required", ())
    rows = []
    for key, value in form["properties"].items():
        default = "required" if key in required else _default(value)
        rows.append((code(key), _linked(key, value) or _value(value, away), default))
    return table(KEYS, rows)


def _linked(key: str, value: Schema) -> str:
    """What has a page of its own."""
    if key in PLUGINS and "anyOf" in value:
        return f"[a {key}](plugins.md#{key}s)"
    return "[what is compared](../sweeps.md#what-is-varied)" if key == "compare" else ""


def _second_paragraph(form: type) -> str:
    return inspect.cleandoc(form.__doc__ or "").split("\n\n")[1]


def _presets(kind: str) -> str:
    presets = Presets(SHIPPED)
    return (
        "A name of your own is a file beside these in `scenarios/"
        + kind
        + "/`. Known: "
        + (", ".join(code(name) for name in presets.known(kind)) + ".\n")
    )


def _default(value: Schema) -> str:
    default = value.get("default")
    if default is None or default in ("", [], {}):
        return "-"
    if isinstance(default, Mapping):
        return code("{" + ", ".join(f"{key}: {each}" for key, each in default.items()) + "}")
    return code("0" if default == 0.0 and default is not False else default)


def _value(value: Schema, away: str) -> str:
    """How a value is written, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        if name.startswith(FAULT):
            return f"[{name.removeprefix(FAULT)}](faults.md#{name.removeprefix(FAULT)})"
        return f"[{heading(name).lower()}]({away}#{name})"
    if "const" in value:
        return code(value["const"])
    if "enum" in value:
        return ", ".join(code(each) for each in value["enum"])
    for ways in ("anyOf", "oneOf"):
        if ways in value:
            found = [_value(each, away) for each in value[ways] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(found))
    if "examples" in value:
        known = {tuple(Presets(SHIPPED).known(kind)): kind for kind in PRESETS}
        return f"[a preset]({away}#{known[tuple(value['examples'])]})"
    if SIZE.pattern() in value.get("pattern", "") and DURATION.pattern() in value["pattern"]:
        return "a size or a duration: `64 KiB`, `100 ms`"
    if "description" in value and "pattern" in value:
        kind, _, example = value["description"].partition(": ")
        return f"{kind}: {code(example)}" if example else str(kind)
    return _plain(value, away)


def _plain(value: Schema, away: str) -> str:
    match value.get("type"):
        case "array":
            return f"list: {_value(value['items'], away)}" if value.get("items") else "list"
        case "integer" | "number" as kind:
            bounds = (("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most"))
            said = [f"{word} {value[bound]:g}" for bound, word in bounds if bound in value]
            return ", ".join(["whole number" if kind == "integer" else "number", *said])
        case "string":
            return "a name" if "pattern" in value else "text"
        case "boolean":
            return "`true` or `false`"
        case "object" if isinstance(value.get("additionalProperties"), Mapping):
            return f"mapping to {_value(value['additionalProperties'], away)}"
        case "object":
            return "a mapping"
        case _:
            return "any value"


def _met(part: Any, forms: Mapping[str, Schema], seen: list[str]) -> list[str]:
    """Names of the forms that a schema leads to, faults left out, each once and in the order of the keys."""
    if isinstance(part, Mapping):
        name = str(part.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            if not name.startswith(FAULT):
                seen.append(name)
            _met(forms[name], forms, seen)
        for key, inner in part.items():
            if key not in ("$defs", "$ref", "mapping"):
                _met(inner, forms, seen)
    elif isinstance(part, list):
        for inner in part:
            _met(inner, forms, seen)
    return seen
