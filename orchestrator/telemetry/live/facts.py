"""What a page shows of a plan: who is linked to whom, which faults are planned, and what was set.

Reads plan.json as plain JSON, so that one of another version is shown as far as it is understood: what is not is named.
"""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.telemetry.live.picture import widths_s

ARGUMENTS_MARK = "# run with: "
Values = Mapping[str, Any]


def facts(directory: Path, plan: Values, problems: list[str]) -> dict[str, Any]:
    """The facts of a run that do not change, as JSON values; each part that cannot be read adds to `problems`."""

    def part(name: str, read: Callable[[Any], Any], empty: Any) -> Any:
        try:
            return read(plan[name])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if plan:  # without any plan one line says it all
                problems.append(f"plan.json: {name}: not as this version of Edgebed writes it ({error!r}); left out")
            return empty

    stop_after_s = part("stop_after_s", _finite, 0.0)
    curve_s, count_s = widths_s(stop_after_s)
    nodes = part("nodes", _nodes, None)
    if nodes is None:
        nodes = [_unknown(path.name) for path in sorted(directory.glob("nodes/*")) if path.is_dir()]
    return {
        "name": part("name", str, directory.name),
        "about": str(plan.get("about", "")),
        "seed": plan.get("seed"),
        "stop_after_s": stop_after_s,
        "curve_s": curve_s,
        "count_s": count_s,
        "nodes": nodes,
        "switches": [str(name) for name in plan.get("switches") or ()],
        "links": part("links", _links, []),
        "faults": part("faults", _faults, []),
        "parameters": part("nodes", _parameters, []),
        "command": command(directory),
    }


def command(directory: Path) -> str:
    """What runs it again: the scenario's copy, with what the command line had changed of it."""
    scenario = directory / "scenario.yaml"
    try:
        last = scenario.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]
    except OSError:
        return ""
    arguments = last.removeprefix(ARGUMENTS_MARK) if last.startswith(ARGUMENTS_MARK) else ""
    return f"edgebed run {shlex.quote(_from_here(scenario))} {arguments}".strip()


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _nodes(nodes: Sequence[Values]) -> list[dict[str, Any]]:
    return [
        {
            "name": str(node["name"]),
            "role": str(node["role"]),
            "group": str(node.get("group") or ""),
            "profile": str(node["profile"]["name"]),
            "powered": node["profile"].get("power") is not None,
            "place": _place(node.get("position_m")),
        }
        for node in nodes
    ]


def _unknown(name: str) -> dict[str, Any]:
    role = "coordinator" if name == "coordinator" else "device"
    return {"name": name, "role": role, "group": "", "profile": "unknown", "powered": False, "place": None}


def _place(position: Any) -> list[float] | None:
    return None if position is None else [_finite(position[0]), _finite(position[1])]


def _links(links: Sequence[Values]) -> list[dict[str, Any]]:
    """Directed links with what was asked of them: one-way delay, rate (None: not limited) and loss."""
    return [
        {
            "id": str(link["id"]),
            "source": str(link.get("source") or link["id"].partition(">")[0]),
            "target": str(link.get("target") or link["id"].partition(">")[2]),
            **_shape(link.get("shape") or {}),
        }
        for link in links
    ]


def _shape(shape: Values) -> dict[str, Any]:
    trace = shape.get("trace")
    return {
        **{key: None if shape.get(key) is None else _finite(shape[key]) for key in ("rate_bps", "delay_s", "loss")},
        "trace": isinstance(trace, Mapping),
    }


def _faults(faults: Sequence[Values]) -> list[dict[str, Any]]:
    return [
        {
            "index": int(fault["index"]),
            "kind": str(fault["kind"]),
            "at_s": None if fault["at_s"] is None else _finite(fault["at_s"]),  # none: it waits for something
            "heal_s": None if fault["heal_s"] is None else _finite(fault["heal_s"]),
            "nodes": [str(node) for node in fault["nodes"]],
            "links": [str(link) for link in fault["links"]],
            "parameters": _flat(fault.get("parameters") or {}),
        }
        for fault in faults
    ]


def _parameters(nodes: Sequence[Values]) -> list[list[str]]:
    """What was set of learning, as (what, name, parameters); of the devices, whose groups may differ, the first's."""
    spec: Values = next((node["spec"] for node in nodes if node["role"] == "device" and "spec" in node), {})
    rows = []
    for what in ("algorithm", "model", "rule", "selection", "task"):
        chosen = spec.get(what)
        if isinstance(chosen, Mapping):
            rows.append([what, str(chosen.get("name", "")), _flat(chosen.get("parameters") or {})])
    partition = (spec.get("task") or {}).get("partition")
    if isinstance(partition, Mapping):
        rows.append(["partition of the data", str(partition["name"]), _flat(partition.get("parameters") or {})])
    return rows


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no time, place or rate")
    return number


def _flat(parameters: Values) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in sorted(parameters.items()))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_flat(value)})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_plain(each) for each in value[:8])}{', …' if len(value) > 8 else ''}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
