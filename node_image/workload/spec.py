"""What an attendant is told: the programs of its node, when they are ready, and how their words become records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ready:
    """When a service can be used. Exactly one of `port` (something listens), `log` (a regular expression), `http`."""

    port: int | None = None
    log: str | None = None
    http: str | None = None
    within_s: float = 60.0

    def __str__(self) -> str:
        if self.port is not None:
            return f"port {self.port} is listened to"
        return f"{self.http} answers" if self.http is not None else f"its output matches {self.log!r}"


@dataclass(frozen=True)
class Pattern:
    """A regular expression searched for in every line; each named group is the value of the metric of that name.

    `times`: what a metric's number is multiplied with, to come to base units (1 where it says nothing).
    """

    match: str
    times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """One program. With `ready`, what follows starts once it is ready, and it runs on beside it.

    Without, what follows waits until it has ended. The node's own end is that of its last program. `records`: a file
    of JSON lines that it writes, below its folder.
    """

    name: str
    run: tuple[str, ...]
    ready: Ready | None = None
    patterns: tuple[Pattern, ...] = ()
    records: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    install: str = ""  # how to get it, in words for who lacks it


@dataclass(frozen=True)
class NodeWorkload:
    """What runs on a node, in this order. `share`: of one core of this machine; None: no limit."""

    programs: tuple[Program, ...]
    files: tuple[str, ...] = ()  # copied into the node's folder before its first life
    share: float | None = None

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> "NodeWorkload":
        """From its fields as plain JSON values (`dataclasses.asdict`)."""
        return NodeWorkload(tuple(_program(each) for each in raw["programs"]), tuple(raw["files"]), raw["share"])


def _program(raw: Mapping[str, Any]) -> Program:
    ready = None if raw["ready"] is None else Ready(**raw["ready"])
    patterns = tuple(Pattern(**each) for each in raw["patterns"])
    return Program(**{**raw, "run": tuple(raw["run"]), "ready": ready, "patterns": patterns})


@dataclass(frozen=True)
class Duty:
    """All that an attendant is told. `declared`: the kind of each metric of the scenario's own, by name.

    Programs live in `folder`, see nothing of our environment but `environment`, and have their words in `output`.
    `hosts`: the file of the nodes' names that they see as /etc/hosts.
    """

    workload: NodeWorkload
    declared: Mapping[str, str]
    environment: Mapping[str, str]
    folder: str
    output: str
    hosts: str | None = None

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> "Duty":
        """From its fields as plain JSON values (`dataclasses.asdict`)."""
        return Duty(**{**raw, "workload": NodeWorkload.from_dict(raw["workload"])})
