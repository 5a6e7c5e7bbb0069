"""The types of a scenario. Values are in base units; names of links, profiles and plug-ins are looked up already."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from orchestrator.forms.base import Count, FileName, Form, Name, Reading, read_by, refusal
from orchestrator.forms.compare import CompareField
from orchestrator.forms.expect import Expect
from orchestrator.forms.fault import AnyFault
from orchestrator.forms.link import AnyLink, Link, OneWay
from orchestrator.forms.plugin import Algorithm, Model, Rule, Selection, Task, WeightsFile
from orchestrator.forms.profile import AnyProfile, ProfileForm
from orchestrator.forms.topology import Topology
from orchestrator.forms.traffic import TrafficForm
from orchestrator.forms.workload import WorkloadForm
from orchestrator.graph import End, Graph
from orchestrator.plan import HostKind
from orchestrator.seeds import derive
from orchestrator.topology import COORDINATOR, HUB, build
from orchestrator.units import Duration, PerSecond, Share
from orchestrator.written import Written

MAX_DEVICES = 50_000
SLOWEST = 1000
NO_COORDINATOR = "none"
RESERVED = (COORDINATOR, HUB)

# Defaults as they would be written: they are read like the rest.
_SERVER: Any = "server"
_BACKPROP: Any = "backprop"
_EVERYTHING: Any = "everything"
_COORDINATOR: Any = {}
_STAR: Any = {"kind": "star"}
_NO_LEARNING: Any = None


class DeviceGroup(Form):
    """Devices that are alike: named `group-1`, `group-2`... unless `names` says otherwise.

    `phase_every`: a device's local phases begin at least so long after each other, as where it does other things as
    well. With a `phase_spread` sigma each device has its own: that time, times a draw from lognormal(0, sigma).
    `stream` takes the place of the task's: samples that arrive a second at each of these devices.
    `host`: what these devices live in on an emulated network; without it, what the substrate has by itself (mininet a
    process, docker a container). Simulation and boards have no use for it.
    `cpu_share` of one core of this machine bounds the programs of a workload on each of these devices.
    """

    group: Name
    count: Annotated[Count, Field(le=MAX_DEVICES)] | None = None
    names: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    link: AnyLink | None = None
    link_up: OneWay | None = None
    link_down: OneWay | None = None
    stream_per_s: Annotated[PerSecond, Field(gt=0)] | None = None
    phase_every_s: Duration = 0.0
    phase_spread: Annotated[float, Field(ge=0, le=3)] = 0.0
    host: HostKind | None = None
    cpu_share: Annotated[Share, Field(gt=0)] | None = None
    profile: AnyProfile  # after the link, whose radio it takes over

    @field_validator("group")
    @classmethod
    def _not_reserved(cls, group: str) -> str:
        if group in RESERVED:
            raise ValueError("is the name of something else in every run; choose another")
        return group

    @field_validator("profile")
    @classmethod
    def _radio_of_link(cls, profile: ProfileForm, info: ValidationInfo) -> ProfileForm:
        link = info.data.get("link")
        return profile.on_link(link.radio) if link is not None else profile

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.names is None and self.count is None:
            raise ValueError("give count or names")
        if self.names is not None and self.count not in (None, len(self.names)):
            raise ValueError(f"count is {self.count}, but there are {len(self.names)} names")
        if self.link is None and (self.link_up or self.link_down):
            raise ValueError("link_up and link_down change a link; give link as well")
        return self

    @property
    def device_names(self) -> tuple[str, ...]:
        """Names of the group's devices."""
        return self.names or tuple(f"{self.group}-{number}" for number in range(1, (self.count or 0) + 1))

    @property
    def access(self) -> Link | None:
        """The devices' own link, with the changes to each direction made."""
        if self.link is None:
            return None
        up = self.link.up.changed(self.link_up) if self.link_up else self.link.up
        down = self.link.down.changed(self.link_down) if self.link_down else self.link.down
        return self.link.model_copy(update={"up": up, "down": down})


class CoordinatorForm(Form):
    """The coordinator: its device profile, its link if the way to it is shared by all devices; `host` and `cpu_share`
    as a group's.
    """

    profile: AnyProfile = Field(default=_SERVER, validate_default=True)
    link: AnyLink | None = None
    host: HostKind | None = None
    cpu_share: Annotated[Share, Field(gt=0)] | None = None


def _read_coordinator(value: Any, reading: Reading) -> CoordinatorForm | str:
    return NO_COORDINATOR if value == NO_COORDINATOR else CoordinatorForm.model_validate(value, context=reading)


Coordinator = Annotated[
    CoordinatorForm | str,
    read_by(_read_coordinator, CoordinatorForm | Literal["none"]),
]


class Learning(Form):
    """What is learned, with what, and how."""

    task: Task
    model: Model
    algorithm: Algorithm
    rule: Rule = Field(default=_BACKPROP, validate_default=True)
    selection: Selection = Field(default=_EVERYTHING, validate_default=True)
    initial: WeightsFile | None = None


def _read_learning(value: Any, reading: Reading) -> Learning | None:
    return None if value is None else Learning.model_validate(value, context=reading)


LearningField = Annotated[Learning, read_by(_read_learning, Learning | None)]


def ends_of(groups: Iterable[DeviceGroup]) -> tuple[End, ...]:
    """Every device of these groups with its own link."""
    return tuple(
        End(name, each.group, link) for each in groups for link in (each.access,) for name in each.device_names
    )


class Scenario(Form):
    """One scenario. `load_scenario` makes it; `orchestrator.plan.make_plan` decides it.

    Its nodes do what `learning` says, or run the programs of `workload`. With `slow_down` a run in real time takes so
    many times longer, and all figures stay the scenario's: a small machine can stand for more devices (docs/slow-down).
    """

    name: FileName
    about: str = ""
    substrate: Literal["auto", "simulation", "mininet", "docker", "ssh"] = "auto"
    shaper: Literal["auto", "delay_line", "netem"] = "auto"
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 1
    slow_down: Annotated[float, Field(ge=1, le=SLOWEST, allow_inf_nan=False)] = 1.0
    stop_after_s: Annotated[Duration, Field(gt=0)]
    devices: Annotated[tuple[DeviceGroup, ...], Field(min_length=1)]
    coordinator: Coordinator = Field(default=_COORDINATOR, validate_default=True)
    topology: Topology = Field(default=_STAR, validate_default=True)
    workload: WorkloadForm | None = None
    learning: LearningField = Field(default=_NO_LEARNING, validate_default=True)  # None where there is a workload
    traffic: tuple[TrafficForm, ...] = ()
    faults: tuple[AnyFault, ...] = ()
    expect: tuple[Expect, ...] = ()
    compare: CompareField | None = None
    _written: Written = PrivateAttr()
    _reading: Reading = PrivateAttr()

    @field_validator("learning")
    @classmethod
    def _one_of_two(cls, learning: Learning | None, info: ValidationInfo) -> Learning | None:
        if "workload" in info.data and (learning is None) == (info.data["workload"] is None):
            text = "is required (or workload)" if learning is None else "give learning or workload, not both"
            raise refusal([((), text)])
        return learning

    def came_from(self, written: Written, reading: Reading) -> None:
        """Remember how it was written and in which surroundings: `compare` needs both to make its variants."""
        self._written, self._reading = written, reading

    @property
    def written(self) -> Written:
        """The data that it was read from."""
        return self._written

    @property
    def reading(self) -> Reading:
        """The folder and presets that it was read with."""
        return self._reading

    @property
    def ends(self) -> tuple[End, ...]:
        """Every device with its own link, in the order of the groups."""
        return ends_of(self.devices)

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """Nodes by what traffic may call them: each by its own name, devices by their group's too."""
        names = [*([COORDINATOR] if self.coordinator_end is not None else []), *(end.name for end in self.ends)]
        return {group.group: group.device_names for group in self.devices} | {name: (name,) for name in names}

    @property
    def coordinator_end(self) -> End | None:
        """The coordinator with its own link, or None where there is no coordinator."""
        if isinstance(self.coordinator, str):
            return None
        return End(COORDINATOR, COORDINATOR, self.coordinator.link)

    def graph(self, seed: int) -> Graph:
        """Who is linked to whom; raises TopologyError."""
        return build(self.topology, self.ends, self.coordinator_end, derive(seed, "topology"), self.stop_after_s)
