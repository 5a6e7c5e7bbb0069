"""The workload in the plan: of the run, who ends it and what it measures; of each node, its programs filled in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from node_image.spec import Chosen, NodeSpec, TaskSpec
from node_image.workload.spec import NodeWorkload, Pattern, Program, Ready
from orchestrator.workload.words import fill

if TYPE_CHECKING:
    from orchestrator.forms.workload import ProgramForm, WorkloadForm

NOTHING = Chosen("workload")  # what a node is said to learn, and with what, where it learns nothing
NO_TASK = TaskSpec("workload")
SEED_BELOW = 2**31


@dataclass(frozen=True)
class DeclaredMetric:
    """A metric of the scenario's own."""

    name: str
    kind: Literal["counter", "gauge", "sample"]
    about: str


@dataclass(frozen=True)
class Workload:
    """Of the whole run. `path`: folders in which programs are looked for before those of this machine."""

    ends: Literal["coordinator", "devices", "time"]
    metrics: tuple[DeclaredMetric, ...]
    path: tuple[str, ...] = ()


def of_run(form: "WorkloadForm") -> Workload:
    """What holds for all nodes."""
    metrics = tuple(DeclaredMetric(name, each.kind, each.about) for name, each in form.metrics.items())
    return Workload(form.ends, metrics, form.path)


def known(coordinator: str | None, devices: Sequence[str]) -> dict[str, str]:
    """Words that are the same for all nodes, from their addresses."""
    addressed = {} if coordinator is None else {"coordinator.address": coordinator}
    return {**addressed, "devices.addresses": ",".join(devices), "devices.count": str(len(devices))}


def of_node(
    form: "WorkloadForm", spec: NodeSpec, group: str, share: float | None, known: Mapping[str, str]
) -> NodeWorkload:
    """What runs on a node, with all words in braces replaced that `known` or the node itself has a value for."""
    own = {
        "node.address": spec.address,
        "node.group": group,
        "node.index": str(spec.index),
        "node.name": spec.name,
        "node.seed": str(spec.seed % SEED_BELOW),
    }
    values = {**known, **own}
    programs = form.coordinator if spec.role == "coordinator" else form.of_group(group)
    assert programs is not None, "the scenario has been checked"
    return NodeWorkload(tuple(_program(each, form, values) for each in programs), form.files, share)


def _program(form: "ProgramForm", workload: "WorkloadForm", values: Mapping[str, str]) -> Program:
    environment = {**workload.environment, **form.environment}
    ready = None
    if form.ready is not None:
        http = None if form.ready.http is None else fill(form.ready.http, values)
        ready = Ready(form.ready.port, form.ready.log, http, form.ready.within_s)
    return Program(
        name=form.title,
        run=tuple(fill(each, values) for each in form.run),
        ready=ready,
        patterns=tuple(Pattern(each.match, each.times) for each in form.patterns),
        records=None if form.records is None else fill(form.records, values),
        environment={name: fill(value, values) for name, value in environment.items()},
        install=form.install,
    )
