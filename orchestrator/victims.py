"""Victims of faults: checked when the scenario is read, chosen by seed when the plan is made."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.forms.base import Mistake, unknown
from orchestrator.graph import End
from orchestrator.topology import COORDINATOR
from orchestrator.units import DURATION

if TYPE_CHECKING:  # the kinds of faults import the plan, which imports this
    from orchestrator.forms.fault import Fault


def mistakes_in(fault: "Fault", devices: Sequence[End], coordinator: bool, stop_after_s: float | None) -> list[Mistake]:
    """What is wrong with a fault, given who is there: paths below the fault, and words."""
    mistakes: list[Mistake] = []
    if stop_after_s is not None and fault.begins_s >= stop_after_s:
        mistakes.append((("at",), f"is not before the end of the run (stop_after: {DURATION.write(stop_after_s)})"))
    mistakes += _mistakes_of_chance(fault)
    said = {word for word in ("nodes", "group", "count", "share", "links") if getattr(fault, word) is not None}
    said |= {"all"} if fault.all else set()
    if fault.targets == "coordinator":
        if not coordinator:
            mistakes.append((("kind",), "there is no coordinator in this scenario"))
        return mistakes + [((word,), f"{fault.kind} acts on the coordinator alone; leave this out") for word in said]
    if fault.targets == "run":
        return mistakes + [((word,), f"{fault.kind} acts on the run itself; leave this out") for word in said]
    if "links" in said and fault.targets != "links":
        mistakes.append((("links",), f"{fault.kind} acts on nodes; say nodes, group, count, share or all: true"))
    ways = said - {"group"} or said
    if not ways:
        mistakes.append(((), "on whom? Say nodes, group, count, share or all: true"))
    elif len(ways) > 1 or ("group" in said and ways & {"nodes", "links", "all"}):
        mistakes.append(((), f"say whom in one way only (found {', '.join(sorted(said))})"))
    names = {device.name for device in devices} | ({COORDINATOR} if coordinator else set())
    for index, name in enumerate(fault.nodes or ()):
        if name not in names:
            mistakes.append((("nodes", index), unknown("node", name, names)))
    through = getattr(fault, "through", None)  # the bridge of a partition
    if through is not None and through not in names:
        mistakes.append((("through",), unknown("node", through, names)))
    groups = {device.group for device in devices}
    if fault.group is not None and fault.group not in groups:
        return [*mistakes, (("group",), unknown("group", fault.group, groups))]
    among = candidates(fault, devices)
    whose = f"the group {fault.group}" if fault.group else "the scenario"
    if fault.count is not None and fault.count > len(among):
        mistakes.append((("count",), f"is more than {whose} has: {len(among)} devices (found {fault.count})"))
    if fault.share is not None and number_of(fault, len(among)) == 0:
        mistakes.append((("share",), f"comes to no device at all: {whose} has {len(among)}"))
    return mistakes


def _mistakes_of_chance(fault: "Fault") -> list[Mistake]:
    """A process or a trace acts on each victim for itself: there must be victims that are devices."""
    way = next((word for word in ("random", "trace") if getattr(fault, word) is not None), None)
    if way is not None and (fault.links is not None or fault.targets in ("coordinator", "run")):
        return [((way,), "acts on devices one by one; name them by nodes, group, count, share or all: true")]
    return []


def candidates(fault: "Fault", devices: Sequence[End]) -> list[str]:
    """Names of the devices that victims are drawn from."""
    return [device.name for device in devices if fault.group in (None, device.group)]


def number_of(fault: "Fault", among: int) -> int:
    """How many of so many candidates are hit; halves are rounded up."""
    if fault.count is not None:
        return fault.count
    return int(fault.share * among + 0.5) if fault.share is not None else among


def choose(fault: "Fault", devices: Sequence[End], seed: int) -> tuple[str, ...]:
    """Names of the victims, in the order of the devices; the same seed gives the same victims."""
    if fault.targets == "coordinator":
        return (COORDINATOR,)
    if fault.links is not None or fault.targets == "run":
        return ()
    if fault.nodes is not None:
        return fault.nodes
    among = candidates(fault, devices)
    chosen = np.random.default_rng(seed).choice(len(among), number_of(fault, len(among)), replace=False)
    return tuple(among[index] for index in sorted(chosen))


def named_links(ends: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """What a fault may call links -> ids of directed links; `ends` are the edges."""
    named: dict[str, tuple[str, ...]] = {}
    for a, b in ends:
        named |= {f"{a}>{b}": (f"{a}>{b}",), f"{b}>{a}": (f"{b}>{a}",)}
        named |= dict.fromkeys((f"{a}-{b}", f"{b}-{a}"), (f"{a}>{b}", f"{b}>{a}"))
    return named


def links_hit(fault: "Fault", victims: Sequence[str], ends: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Ids of the directed links that a fault of links acts on: those named, or all of its victims. Else none."""
    if fault.targets != "links":
        return ()
    if fault.links is None:
        hit = [(a, b) for a, b in ends if a in victims or b in victims]
        return tuple(link for a, b in hit for link in (f"{a}>{b}", f"{b}>{a}"))
    named = named_links(ends)
    return tuple(dict.fromkeys(link for word in fault.links for link in named[word]))
