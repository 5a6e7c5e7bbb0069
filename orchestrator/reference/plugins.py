"""Everything that a scenario names, with what may be set of it: from the tables of `node_image.registry`."""

import inspect

from node_image import registry
from node_image.data.partition import PARTITIONS
from node_image.meters import METERS
from node_image.parameters import REQUIRED, ParameterSpec
from orchestrator.forms.base import written_name
from orchestrator.forms.plugin import quantity_of
from orchestrator.reference.markdown import code, prose, table

TITLES: dict[registry.Kind, str] = {
    "task": "Tasks",
    "partition": "Partitions",
    "drift": "Drifts",
    "model": "Models",
    "algorithm": "Algorithms",
    "rule": "Rules",
    "selection": "Selections",
    "meter": "Meters",
}


def page() -> str:
    """All kinds, and under each what there is by name."""
    parts = [
        "# Tasks, models, algorithms, rules\n",
        "What a scenario names, and what it may set: written `{name: ..., key: value}` (partitions, drifts and meters "
        "say `kind` for `name`), or the name alone where all defaults are right.\n",
    ]
    for kind, title in TITLES.items():
        parts.append(f"## {title}\n")
        for name in registry.known(kind):
            parts += [f"### {name} {{#{kind}-{name}}}\n", f"{prose(about(kind, name))}\n", parameters(kind, name)]
    return "\n".join(parts)


def about(kind: registry.Kind, name: str) -> str:
    """The first paragraph of what a plug-in's own file says of it."""
    text = inspect.cleandoc(_documented(kind, name).__doc__ or "")
    return text.split("\n\n")[0]


def parameters(kind: registry.Kind, name: str) -> str:
    """Table of a plug-in's parameters, or the sentence that it has none."""
    specs = registry.parameters(kind, name).values()
    if not specs:
        return "Nothing to set.\n"
    rows = [(code(written_name(spec.name)), _values(spec), _default(spec), prose(spec.about)) for spec in specs]
    return table(("key", "value", "default", "what it is"), rows)


def _documented(kind: registry.Kind, name: str) -> object:
    tables: dict[registry.Kind, dict[str, object]] = {
        "algorithm": {**registry.ALGORITHMS},
        "drift": {**registry.DRIFTS},
        "meter": {**METERS},
        "model": {**registry.MODELS},
        "partition": {**PARTITIONS},
        "rule": {**registry.RULES},
        "selection": {**registry.SELECTIONS},
        "task": {**registry.TASKS},
    }
    return tables[kind][name]


def _values(spec: ParameterSpec) -> str:
    if spec.choices:
        return ", ".join(code(choice) for choice in spec.choices)
    quantity = quantity_of(spec.unit)
    kind = {int: "whole number", float: "number", str: "word", bool: "`true` or `false`"}[spec.type]
    if quantity is not None:
        kind = f"{quantity.name}: {code(quantity.examples[0])}"
        kind += " or `0.3`" if spec.unit == "ratio" else ""
    least = "" if spec.minimum is None else f"at least {_bound(spec, spec.minimum)}"
    most = "" if spec.maximum is None else f"at most {_bound(spec, spec.maximum)}"
    return ", ".join(part for part in (kind, least, most) if part)


def _bound(spec: ParameterSpec, bound: float) -> str:
    quantity = quantity_of(spec.unit)
    return quantity.write(bound) if quantity else f"{bound:g}"


def _default(spec: ParameterSpec) -> str:
    if spec.default is REQUIRED:
        return "required"
    quantity = quantity_of(spec.unit)
    return code(quantity.write(spec.default) if quantity else spec.default) if spec.default != "" else "-"
