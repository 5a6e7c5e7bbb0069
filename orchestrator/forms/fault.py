"""How a fault is written in YAML: what all kinds have in common here, beside each kind's own parameters."""

import operator
from functools import reduce
from typing import Annotated, Any, Literal, cast

from pydantic import Field, SerializeAsAny, create_model

from orchestrator.faults import FAULTS
from orchestrator.faults.base import Targets
from orchestrator.forms.base import Count, Flag, Form, Name, Reading, one_of, read_by
from orchestrator.units import Duration, Share


class Fault(Form):
    """When, for how long (for ever, if `for` is left out) and whom.

    Victims are `nodes` by name; or of a `group`, or of all devices: a `count`, a `share`, or (`group` alone, `all`)
    every one. A fault of links may name `links` instead, as `a>b` (one direction) or `a-b` (both); otherwise it acts on
    every link that its victims have.
    """

    kind: str
    at_s: Duration
    for_s: Annotated[Duration, Field(gt=0)] | None = None
    nodes: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    group: Name | None = None
    count: Count | None = None
    share: Annotated[Share, Field(gt=0)] | None = None
    all: Flag = False
    links: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @property
    def targets(self) -> Targets:
        """What the kind acts on."""
        return FAULTS[self.kind].targets

    @property
    def parameters(self) -> dict[str, Any]:
        """The kind's own fields, in base units."""
        return {name: getattr(self, name) for name in FAULTS[self.kind].Parameters.model_fields}


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
