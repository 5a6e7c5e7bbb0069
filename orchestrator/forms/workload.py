"""`workload:` in place of `learning:`: programs of one's own, as argument lists, on the coordinator and the devices."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from node_image.records import METRICS
from node_image.workload.readings import OWN_WORDS
from orchestrator.forms.axes import ALGORITHM
from orchestrator.forms.base import Form, Mistake, Name, Reading, read_by, read_path, refusal, shown, unknown
from orchestrator.units import Duration
from orchestrator.workload.words import WORDS, found_in

if TYPE_CHECKING:
    from orchestrator.forms.scenario import Scenario

MetricName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,60}$")]
PROGRAMS_MOST = 20
OWN = "program."  # how figures of metrics of one's own begin


def _argument(value: Any) -> str:
    """One argument: a text, or a whole number as it stands there."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be a text; put it in quotes{shown(value)}")  # noqa: TRY004 - for pydantic
    if "\0" in value:
        raise ValueError("has a byte 0, which no argument can have")
    for word in found_in(value):
        if word not in WORDS:
            raise ValueError(unknown("word in braces", word, WORDS))
    return value


def _read_run(value: Any, _: Reading) -> tuple[str, ...]:
    if isinstance(value, str):
        text = "must be a list of arguments, the program first; no shell takes a text apart"
        raise ValueError(f"{text}{shown(value)}")  # noqa: TRY004 - for pydantic
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of arguments, the program first{shown(value)}")
    mistakes: list[Mistake] = []
    arguments = []
    for place, each in enumerate(value):
        try:
            arguments.append(_argument(each))
        except ValueError as error:
            mistakes.append(((place,), str(error) if "(found" in str(error) else str(error) + shown(each)))
    if mistakes:
        raise refusal(mistakes)
    return tuple(arguments)


def _read_text(value: Any, _: Reading) -> str:
    return _argument(value)


def _find_file(written: str, folder: Path) -> str:
    path = (folder / written).resolve()
    if not path.exists():
        raise ValueError(f"there is nothing of that name (looked for {path})")
    return str(path)


def _find_folder(written: str, folder: Path) -> str:
    """A folder that need not be there: what is missing in it is told before a run."""
    return str((folder / Path(written).expanduser()).resolve())


def _expression(value: str) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error


Arguments = Annotated[tuple[str, ...], read_by(_read_run, list[str | int])]
Text = Annotated[str, read_by(_read_text, str | int)]
ExistingFile = Annotated[str, read_path("a file or folder", _find_file)]
Folder = Annotated[str, read_path("a folder", _find_folder)]
Environment = dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Text]


class ReadyForm(Form):
    """When a service can be used: `port` is listened to, a line matches `log`, or `http` answers with 2xx or 3xx."""

    port: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = None
    log: str | None = None
    http: Text | None = None
    within_s: Annotated[Duration, Field(gt=0)] = 60.0

    @field_validator("log")
    @classmethod
    def _is_expression(cls, log: str | None) -> str | None:
        if log is not None:
            _expression(log)
        return log

    @field_validator("http")
    @classmethod
    def _is_plain_http(cls, http: str | None) -> str | None:
        if http is not None and not http.startswith("http://"):
            raise ValueError("must begin with http://")
        return http

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = [word for word in ("port", "log", "http") if getattr(self, word) is not None]
        if len(given) != 1:
            raise ValueError(f"give port, log or http, one of them (found {', '.join(given) or 'none'})")
        return self


class PatternForm(Form):
    """Searched for in every line of the output; a named group is the value of the metric of that name.

    `times`: a factor for each, to come to base units: `{goodput_bps: 1000}` where kbit/s are printed.
    """

    match: str
    times: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)

    @field_validator("match")
    @classmethod
    def _with_groups(cls, match: str) -> str:
        if not _expression(match).groupindex:
            raise ValueError("has no named group: write (?P<metric>...) around the number of each metric")
        return match

    @model_validator(mode="after")
    def _times_of_groups(self) -> Self:
        groups = self.groups
        wrong = [(("times", name), unknown("group", name, groups)) for name in self.times if name not in groups]
        if wrong:
            raise refusal(wrong)
        return self

    @property
    def groups(self) -> tuple[str, ...]:
        """The metrics that it finds."""
        return tuple(re.compile(self.match).groupindex)


class ProgramForm(Form):
    """One program. With `ready`, what stands after it starts once it is ready, and it runs on beside it.

    Without, what stands after it waits for its end. Programs with `ready` that come first are started before the run
    begins, the coordinator's before the devices'. `records`: a file that it writes in its folder, one JSON object a
    line, whose numbers are metrics by their keys. `install`: how to get the program, for who lacks it.
    """

    name: Name | None = None
    run: Arguments
    ready: ReadyForm | None = None
    patterns: tuple[PatternForm, ...] = ()
    records: Text | None = None
    environment: Environment = Field(default_factory=dict)
    install: str = ""

    @property
    def title(self) -> str:
        """What its output and its events are called by: its name, or that of its file."""
        return self.name or Path(self.run[0]).name.strip("{}") or "program"


Programs = Annotated[tuple[ProgramForm, ...], Field(min_length=1, max_length=PROGRAMS_MOST)]


class MetricForm(Form):
    """A metric of one's own: `program.<name>` in the summary and in `expect`. Its unit is the ending of its name.

    `counter`: each number is added; `gauge`: the last counts; `sample`: one observation of many.
    """

    kind: Literal["counter", "gauge", "sample"] = "gauge"
    about: str = ""


class WorkloadForm(Form):
    """What runs on the nodes in place of learning. It needs --trust: it runs what a file says.

    `devices` is for all groups that `groups` does not name. `files` are copied into each node's folder before its
    first life; `path`: folders in which programs are looked for first. `ends`: the end of whose last program ends the
    run (`time`: only `stop_after`).
    """

    coordinator: Programs | None = None
    devices: Programs | None = None
    groups: dict[str, Programs] = Field(default_factory=dict)
    ends: Literal["coordinator", "devices", "time"]
    metrics: dict[MetricName, MetricForm] = Field(default_factory=dict)
    environment: Environment = Field(default_factory=dict)
    files: tuple[ExistingFile, ...] = ()
    path: tuple[Folder, ...] = ()

    @model_validator(mode="after")
    def _agreed(self) -> Self:
        mistakes: list[Mistake] = [
            (("metrics", name), "is a metric of Edgebed's own; choose another name")
            for name in self.metrics
            if name in METRICS
        ]
        known = {*OWN_WORDS, *self.metrics}
        titles: dict[tuple[str | int, ...], set[str]] = {}
        for place, program in self.programs():
            if program.title in titles.setdefault(place[:-1], set()):
                mistakes.append(
                    (place, f"another program above is called {program.title} too; give one of them a name")
                )
            titles[place[:-1]].add(program.title)
            for index, pattern in enumerate(program.patterns):
                for metric in pattern.groups:
                    if metric not in known:
                        text = unknown("metric", metric, known) + "; declare it under workload.metrics"
                        mistakes.append(((*place, "patterns", index, "match"), text))
        if mistakes:
            raise refusal(mistakes)
        return self

    def programs(self) -> list[tuple[tuple[str | int, ...], ProgramForm]]:
        """Every program and where it stands below `workload`."""
        parts: list[tuple[tuple[str, ...], tuple[ProgramForm, ...]]] = [
            (("coordinator",), self.coordinator or ()),
            (("devices",), self.devices or ()),
            *((("groups", name), programs) for name, programs in self.groups.items()),
        ]
        return [((*where, index), program) for where, part in parts for index, program in enumerate(part)]

    def of_group(self, group: str) -> tuple[ProgramForm, ...] | None:
        """What runs on the devices of a group; None: nothing is said of them."""
        return self.groups.get(group, self.devices)


def mistakes_between(scenario: "Scenario") -> list[Mistake]:
    """What only shows against the rest of the scenario. Paths start at the scenario."""
    workload = scenario.workload
    expected = [(("expect", index, "metric"), expect.metric) for index, expect in enumerate(scenario.expect)]
    if workload is None:
        text = "is for the programs of a workload; what learns is as slow as its profile says"
        mistakes: list[Mistake] = [
            (("devices", index, "cpu_share"), text) for index, each in enumerate(scenario.devices) if each.cpu_share
        ]
        if not isinstance(scenario.coordinator, str) and scenario.coordinator.cpu_share:
            mistakes.append((("coordinator", "cpu_share"), text))
        return mistakes + [
            (place, "is a metric of a workload, and there is none") for place, metric in expected if _is_own(metric)
        ]
    mistakes = [
        (place, unknown("metric of the workload", metric.removeprefix(OWN), workload.metrics))
        for place, metric in expected
        if _is_own(metric) and not _is_declared(metric, workload.metrics)
    ]
    for index, each in enumerate(scenario.devices):
        if each.stream_per_s is not None or each.phase_every_s:
            key = "stream" if each.stream_per_s is not None else "phase_every"
            mistakes.append((("devices", index, key), "is for what learns; a workload has no use for it"))
        if each.host == "container":
            why = "programs run as processes of this machine, not in containers, whose image does not hold them"
            mistakes.append(
                (("devices", index, "host"), f"{why}; leave it out: namespaces, links and limits are equal")
            )
        if workload.of_group(each.group) is None:
            mistakes.append(
                (("workload",), f"nothing for the group {each.group}: give devices, or groups.{each.group}")
            )
    groups = tuple(each.group for each in scenario.devices)
    mistakes += [
        (("workload", "groups", name), unknown("group", name, groups)) for name in workload.groups if name not in groups
    ]
    mistakes += _mistakes_of_coordinator(workload, scenario.coordinator_end is not None)
    if scenario.compare is not None and any(axis.key == ALGORITHM for axis in scenario.compare.axes):
        mistakes.append((("compare", ALGORITHM), "needs learning; a workload has no algorithm of Edgebed's"))
    return mistakes


def _mistakes_of_coordinator(workload: WorkloadForm, is_there: bool) -> list[Mistake]:
    if is_there:
        text = "nothing for the coordinator; if there is none, write coordinator: none"
        return [] if workload.coordinator is not None else [(("workload",), text)]
    mistakes: list[Mistake] = []
    if workload.coordinator is not None:
        mistakes.append((("workload", "coordinator"), "there is no coordinator in this scenario"))
    if workload.ends == "coordinator":
        mistakes.append((("workload", "ends"), "there is no coordinator to end it; write devices or time"))
    for place, program in workload.programs():
        texts = (*program.run, *program.environment.values(), *workload.environment.values())
        if any("coordinator.address" in found_in(text) for text in texts):
            mistakes.append((("workload", *place), "speaks of the coordinator's address, and there is no coordinator"))
    return mistakes


def _is_own(metric: str) -> bool:
    return metric.startswith(OWN)


def _is_declared(metric: str, declared: Mapping[str, MetricForm]) -> bool:
    name = metric.removeprefix(OWN)
    return name in declared or re.sub(r"_(mean|p50|p95)$", "", name) in declared
