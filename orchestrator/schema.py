"""JSON Schema of a scenario, for editors that complete and check YAML: `python -m orchestrator.schema` writes it.

It knows the plug-ins and presets that ship with Edgebed. Your own stay usable: their names are not in the lists, so an
editor may mark them, while `edgebed validate`, which reads the real tables, does not.
"""

import json
import sys
from pathlib import Path
from typing import Any

from node_image import registry
from node_image.data.arrival import ARRIVALS
from node_image.parameters import REQUIRED, ParameterSpec
from orchestrator.forms.base import PRESETS, written_name
from orchestrator.forms.plugin import quantity_of
from orchestrator.forms.scenario import Scenario
from orchestrator.presets import SHIPPED, Presets
from orchestrator.units import PER_SECOND

PATH = SHIPPED / "reference" / "scenario.schema.json"
Schema = dict[str, Any]


def scenario_schema() -> Schema:
    """The schema, as plain JSON values."""
    schema = Scenario.model_json_schema(mode="validation", by_alias=True)
    learning = schema["$defs"]["Learning"]["properties"]
    kinds: tuple[registry.Kind, ...] = ("algorithm", "model", "rule", "selection")
    for kind in kinds:
        learning[kind] = _plugin(kind)
    of_any_task: Schema = {
        "partition": _plugin("partition", "kind"),
        "stream": {"type": "string", "pattern": PER_SECOND.pattern()},
        "arrival": {"enum": list(ARRIVALS)},
        "classes": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "public": {"type": "integer", "minimum": 0},
        "drift": {"type": "array", "items": _plugin("drift", "kind")},
    }
    learning["task"] = _plugin("task", more=of_any_task)
    _name_presets(schema, Presets(SHIPPED))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """The schema as the file holds it."""
    return json.dumps(scenario_schema(), indent=1, ensure_ascii=False) + "\n"


def _plugin(kind: registry.Kind, key: str = "name", more: Schema | None = None) -> Schema:
    """A name, or a mapping whose other keys depend on the name."""
    named = {"enum": list(registry.known(kind))}
    cases = []
    for name in registry.known(kind):
        specs = registry.parameters(kind, name).values()
        own = {key: {"const": name}, **{written_name(spec.name): _parameter(spec) for spec in specs}, **(more or {})}
        required = [written_name(spec.name) for spec in specs if spec.default is REQUIRED]
        then = {"properties": own, "additionalProperties": False, "required": required}
        cases.append({"if": {"properties": {key: {"const": name}}}, "then": then})
    return {"anyOf": [named, {"type": "object", "required": [key], "properties": {key: named}, "allOf": cases}]}


def _parameter(spec: ParameterSpec) -> Schema:
    quantity = quantity_of(spec.unit)
    about: Schema = {"description": spec.about}
    if spec.default is not REQUIRED:
        about["default"] = quantity.write(spec.default) if quantity else spec.default
    bare: Schema = {"type": {int: "integer", float: "number", str: "string", bool: "boolean"}[spec.type]}
    bounds = {"minimum": spec.minimum, "maximum": spec.maximum, "enum": list(spec.choices) or None}
    bare |= {word: bound for word, bound in bounds.items() if bound is not None}
    if quantity is None:
        return {**about, **bare}
    text = {"type": "string", "pattern": quantity.pattern()}
    return {**about, **text} if spec.unit != "ratio" else {**about, "anyOf": [bare, text]}


def _name_presets(part: Any, presets: Presets) -> None:
    """Offer the names of presets wherever a field takes one; a name of the user's own is right as well."""
    if isinstance(part, dict):
        if PRESETS in part:
            part["examples"] = list(presets.known(part.pop(PRESETS)))
        for inner in part.values():
            _name_presets(inner, presets)
    elif isinstance(part, list):
        for inner in part:
            _name_presets(inner, presets)


def main() -> int:
    """Write the schema to its place, or to the file given."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(schema_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
