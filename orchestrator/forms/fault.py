"""How a fault is written in YAML: what all kinds have in common here, beside each kind's own parameters."""

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, Field, SerializeAsAny, create_model, model_validator

from orchestrator.faults import FAULTS
from orchestrator.faults.base import Targets
from orchestrator.forms.base import Count, Flag, Form, Name, Reading, one_of, read_by, refusal
from orchestrator.forms.when import Bernoulli, Diurnal, OnOff, Outage, Process, Repeat, Spells, Trigger
from orchestrator.temperatures import TemperatureFile
from orchestrator.units import Duration, Share


class Fault(Form):
    """When, for how long (for ever, if `for` is left out) and whom.

    When: `at` an instant, and from there `repeat`ed, by a `random` process or as a `trace` says (these two may leave
    `at` out); or `when` something has come to pass.

    Victims are `nodes` by name; or of a `group`, or of all devices: a `count`, a `share`, or (`group` alone, `all`)
    every one. A fault of links may name `links` instead, as `a>b` (one direction) or `a-b` (both); otherwise it acts on
    every link that its victims have.
    """

    kind: str
    at_s: Duration | None = None
    for_s: Annotated[Duration, Field(gt=0)] | None = None
    repeat: Repeat | None = None
    random: Process | None = None
    trace: Spells | None = None
    when: Trigger | None = None
    nodes: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    group: Name | None = None
    count: Count | None = None
    share: Annotated[Share, Field(gt=0)] | None = None
    all: Flag = False
    links: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _timed(self) -> Self:
        ways = [word for word in ("repeat", "random", "trace", "when") if getattr(self, word) is not None]
        if len(ways) > 1:
            raise ValueError(f"say when in one way only (found {', '.join(ways)})")
        if self.when is not None and self.at_s is not None:
            raise ValueError("at and when exclude each other; for later than that, say plus in when")
        if self.at_s is None and not set(ways) & {"random", "trace", "when"}:
            raise refusal([(("at",), "is required (or when, random or trace)")])
        drawn = self.trace is not None or isinstance(self.random, OnOff | Diurnal)
        if drawn and self.for_s is not None:
            raise ValueError("for is left out here: the trace or the process says how long")
        if self.for_s is None and (self.repeat is not None or isinstance(self.random, Bernoulli | Outage)):
            raise refusal([(("for",), "is required: how long does it act each time?")])
        if self.repeat is not None and self.for_s is not None and self.for_s >= self.repeat.every_s:
            raise ValueError("for is not shorter than repeat's every: it would begin again before it has ended")
        return self

    @property
    def begins_s(self) -> float:
        """The earliest instant at which it may act."""
        return self.at_s or 0.0

    @property
    def targets(self) -> Targets:
        """What the kind acts on."""
        return FAULTS[self.kind].targets

    def pairs(self, victims: Sequence[str], everybody: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """The (source, target) pairs that it cuts off, where the plan lists them."""
        return FAULTS[self.kind].pairs(self.parameters, victims, everybody)

    @property
    def parameters(self) -> dict[str, Any]:
        """The kind's own fields, in base units, as plain JSON values."""
        found = {name: getattr(self, name) for name in FAULTS[self.kind].Parameters.model_fields}
        return {name: _plain(each) for name, each in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, TemperatureFile):
        return value.plain()
    return value.model_dump() if isinstance(value, BaseModel) else value


def _form_of(kind: str) -> type[Fault]:
    """One form with the common fields and the kind's own, so that unknown keys are judged against both."""
    bases: Any = (Fault, FAULTS[kind].Parameters)  # the stub of create_model wants one type for all bases
    own_kind: Any = Literal[kind]
    return cast(
        type[Fault], create_model(f"Fault_{kind}", __base__=bases, __doc__=FAULTS[kind].about, kind=(own_kind, ...))
    )


FORMS: dict[str, type[Form]] = {kind: _form_of(kind) for kind in FAULTS}


def _read_fault(value: Any, reading: Reading) -> Any:
    return one_of(FORMS, value, reading)


AnyFault = Annotated[
    SerializeAsAny[Fault],  # with the kind's own fields
    read_by(
        _read_fault,
        Annotated[reduce(operator.or_, FORMS.values()), Field(discriminator="kind")],
    ),
]
