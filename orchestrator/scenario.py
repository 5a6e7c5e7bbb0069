"""Reading a scenario: every mistake at once, each at its `file:line:column`; then only types.

First the forms judge each value by itself, then comes what only shows between them: a fault's victims against the
groups, the graph, the combinations to compare.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import ScenarioError
from orchestrator.forms.axes import ALGORITHM
from orchestrator.forms.base import Mistake, Reading, mistakes_of, unknown
from orchestrator.forms.compare import Combination, algorithms, combinations
from orchestrator.forms.fault import AnyFault, Fault
from orchestrator.forms.plugin import choose, write
from orchestrator.forms.scenario import MAX_DEVICES, NO_COORDINATOR, RESERVED, DeviceGroup, Scenario, ends_of
from orchestrator.forms.topology import RandomGeometric
from orchestrator.forms.workload import mistakes_between
from orchestrator.graph import TopologyError
from orchestrator.occurrences import TooManyError, occurrences
from orchestrator.presets import Presets
from orchestrator.traffic import planned as traffic
from orchestrator.units import DURATION, Duration
from orchestrator.victims import choose as choose_victims
from orchestrator.victims import mistakes_in, named_links
from orchestrator.written import Written, with_overrides
from orchestrator.yaml_loader import dotted, read_yaml

__all__ = ["Scenario", "Variant", "dump_resolved", "expand", "load_scenario", "notes"]


@dataclass(frozen=True)
class Variant:
    """One run of a scenario: `algorithm=fedavg seed=2`, the scenario with these values, and its seed.

    `factors`: what is compared, and its value here in a word (`learning.rule.learning_rate`, `0.1`).
    """

    label: str
    scenario: Scenario
    seed: int
    factors: tuple[tuple[str, str], ...] = ()


def load_scenario(path: Path, overrides: tuple[str, ...] = ()) -> Scenario:
    """Read a scenario file with `a.b.0.c=value` overrides; raises ScenarioError with every mistake."""
    written = with_overrides(read_yaml(path), overrides)
    scenario, mistakes = _read_scenario(written, Reading(path.parent, Presets(path.parent)))
    if scenario is not None and not mistakes:
        mistakes = _mistakes_of_comparison(scenario)
    if scenario is None or mistakes:
        problems = dict.fromkeys(written.problem(where, text) for where, text in mistakes)
        raise ScenarioError(tuple(sorted(problems, key=lambda each: (each.file, each.line, each.column))))
    return scenario


def expand(scenario: Scenario) -> tuple[Variant, ...]:
    """The runs that `compare` asks for, in the order written, seeds innermost; without it, the one."""
    compare = scenario.compare
    if compare is None:
        label = "workload" if scenario.workload is not None else f"algorithm={scenario.learning.algorithm.name}"
        return (Variant(label, scenario, scenario.seed),)
    variants = []
    for combination in combinations(compare, scenario.written):
        one, mistakes = _read_scenario(combination.written, scenario.reading)
        assert one is not None and not mistakes, "load_scenario has read every combination already"
        for seed in compare.seeds_from(one.seed):
            label = combination.label if compare.seeds is None else f"{combination.label} seed={seed}"
            factors = combination.factors if compare.seeds is None else (*combination.factors, ("seed", str(seed)))
            variants.append(Variant(label.strip(), one.model_copy(update={"seed": seed}), seed, factors))
    return tuple(variants)


def dump_resolved(scenario: Scenario) -> str:
    """The scenario as YAML with every preset and default written out; `load_scenario` reads it as the same."""
    data = scenario.model_dump(mode="json", by_alias=True, exclude_none=True)
    if scenario.compare is not None and ALGORITHM in data["compare"]:
        compared = algorithms(scenario.compare, scenario.written)
        data["compare"][ALGORITHM] = [write("algorithm", choose("algorithm", each)) for each in compared]
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def notes(scenario: Scenario) -> tuple[str, ...]:
    """What is allowed but may not be meant, in words for the user."""
    said = []
    for index, fault in enumerate(scenario.faults):
        once = fault.for_s is not None and fault.at_s is not None and fault.repeat is None and fault.random is None
        if once and fault.begins_s + (fault.for_s or 0.0) > scenario.stop_after_s:
            when = DURATION.write(fault.begins_s + (fault.for_s or 0.0))
            said.append(f"faults.{index}: {fault.kind} would heal at {when}, after the end of the run")
    return tuple(said)


def _read_scenario(written: Written, reading: Reading) -> tuple[Scenario | None, list[Mistake]]:
    try:
        scenario = Scenario.model_validate(written.data, context=reading)
    except ValidationError as error:
        return None, [*mistakes_of(error), *_mistakes_of_faults(written.data, reading)]
    scenario.came_from(written, reading)
    return scenario, _mistakes_together(scenario)


def _mistakes_together(scenario: Scenario) -> list[Mistake]:
    """What is wrong between parts that are each right."""
    devices = scenario.ends
    mistakes: list[Mistake] = []
    for index, fault in enumerate(scenario.faults):
        found = mistakes_in(fault, devices, scenario.coordinator_end is not None, scenario.stop_after_s)
        mistakes += [(("faults", index, *path), text) for path, text in found]
    mistakes += mistakes_between(scenario)
    of_traffic = traffic.mistakes_in(scenario.traffic, scenario.named, scenario.stop_after_s)
    mistakes += [(("traffic", *path), text) for path, text in of_traffic]
    if of_names := _mistakes_of_names(scenario):
        return [*of_names, *mistakes]
    try:
        graph = scenario.graph(scenario.seed)
    except TopologyError as error:
        return [*mistakes, *((("topology", *path), text) for path, text in error.mistakes)]
    taken = sorted({device.name for device in devices} & set(graph.switches))
    mistakes += [(("topology",), f"the switch {name} has the name of a device") for name in taken]
    if not mistakes:
        mistakes += _mistakes_of_chance(scenario)
    links = named_links((edge.a, edge.b) for edge in graph.edges)
    ids = [link for link in links if ">" in link]
    for index, fault in enumerate(scenario.faults):
        for place, word in enumerate(fault.links or ()):
            if word not in links:
                mistakes.append((("faults", index, "links", place), unknown("link", word, ids)))
    return mistakes


def _mistakes_of_chance(scenario: Scenario) -> list[Mistake]:
    """Faults that would act too often, and those that wait for one that is not there, or for themselves."""
    mistakes: list[Mistake] = []
    for index, fault in enumerate(scenario.faults):
        after = fault.when.after if fault.when is not None else None
        if after is not None and after >= index:
            text = f"must be the place of a fault above this one, from 0 (found {after})"
            mistakes.append((("faults", index, "when", "after"), text))
        try:
            victims = choose_victims(fault, scenario.ends, scenario.seed)
            if fault.when is None:
                occurrences(fault, victims, scenario, scenario.seed)
        except TooManyError as error:
            mistakes.append((("faults", index), str(error)))
    return mistakes


def _mistakes_of_names(scenario: Scenario) -> list[Mistake]:
    mistakes: list[Mistake] = []
    if len(scenario.ends) > MAX_DEVICES:
        mistakes.append((("devices",), f"more than {MAX_DEVICES} devices (found {len(scenario.ends)})"))
    groups: set[str] = set()
    names = set(RESERVED)
    for index, group in enumerate(scenario.devices):
        if group.group in groups:
            mistakes.append((("devices", index, "group"), f"a group of this name stands above (found {group.group!r})"))
            continue
        groups.add(group.group)
        for name in group.device_names:
            if name in names:
                mistakes.append((("devices", index), f"the name {name} is taken already"))
            names.add(name)
    return mistakes


def _mistakes_of_faults(data: Any, reading: Reading) -> list[Mistake]:
    """Faults that are right by themselves, against the devices, in a scenario that has other mistakes."""
    lists = [data.get(key) for key in ("devices", "faults")] if isinstance(data, Mapping) else [None, None]
    if not all(isinstance(each, list) for each in lists):
        return []
    groups = [_valid(DeviceGroup, group, reading) for group in data["devices"]]
    if None in groups:
        return []
    devices = ends_of(groups)
    stop_after_s = _valid(Duration, data.get("stop_after"), reading)
    mistakes: list[Mistake] = []
    for index, each in enumerate(data["faults"]):
        fault: Fault | None = _valid(AnyFault, each, reading)
        if fault is not None:
            found = mistakes_in(fault, devices, data.get("coordinator") != NO_COORDINATOR, stop_after_s)
            mistakes += [(("faults", index, *path), text) for path, text in found]
    return mistakes


def _valid(kind: Any, value: Any, reading: Reading) -> Any:
    """The value read as that type, or None if it is not right."""
    try:
        return TypeAdapter(kind).validate_python(value, context=reading)
    except ValidationError:
        return None


def _mistakes_of_comparison(scenario: Scenario) -> list[Mistake]:
    """What is wrong with a combination, at the value under `compare` that brings it."""
    if scenario.compare is None:
        return []
    mistakes: list[Mistake] = []
    try:
        for combination in combinations(scenario.compare, scenario.written):
            one, wrong = _read_scenario(combination.written, scenario.reading)
            if one is not None and not wrong and isinstance(one.topology, RandomGeometric):
                wrong = _mistakes_of_places(one, scenario.compare.seeds_from(one.seed))
            mistakes += [_under_compare(combination, path, text) for path, text in wrong]
    except ValidationError as error:
        mistakes += mistakes_of(error)
    return mistakes


def _mistakes_of_places(scenario: Scenario, seeds: tuple[int, ...]) -> list[Mistake]:
    """Every seed puts the devices elsewhere: each must give a graph that hangs together."""
    mistakes: list[Mistake] = []
    for seed in seeds:
        try:
            scenario.graph(seed)
        except TopologyError as error:
            mistakes += [(("topology", *path), f"with seed {seed}: {text}") for path, text in error.mistakes]
    return mistakes


def _under_compare(combination: Combination, path: tuple[str | int, ...], text: str) -> Mistake:
    for change in combination.changes:
        shared = min(len(path), len(change.path))
        if path[:shared] == change.path[:shared]:
            return ("compare", *change.place), f"with {change.label}: {dotted(path)}: {text}"
    return ("compare",), f"with {combination.label}: {dotted(path)}: {text}"
