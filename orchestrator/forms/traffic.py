"""How background traffic is written in YAML: flows between nodes, or between all of a group and others."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, model_validator

from orchestrator.forms.base import Form, Name, read_path, refusal
from orchestrator.traffic.flow import LEAST_BYTES, MOST_BYTES
from orchestrator.traffic.trace import TrafficTrace, find_traffic
from orchestrator.units import Duration, Rate, Size

_PACKET: Any = "1200 B"  # as it would be written
Mean = Annotated[Duration, Field(gt=0)]


TraceFile = Annotated[
    TrafficTrace, read_path("a trace file", find_traffic), PlainSerializer(lambda trace: trace.path, return_type=str)
]


class TrafficForm(Form):
    """Packets of others on the run's links: UDP `from` a node, or each of a group, `to` another, or each of another.

    `constant`: evenly, at `rate`. `poisson`: at random instants, `rate` in the mean. `on_off`: evenly at `rate` during
    times that are `burst` long in the mean, between silences that are `silence` long (both exponential). `trace`: what
    a file says, lines `time bytes`. `rate` is that of each pair of nodes; it and `packet` count IP headers.
    """

    source: Name = Field(alias="from")
    target: Name = Field(alias="to")
    kind: Literal["constant", "poisson", "on_off", "trace"]
    rate_bps: Annotated[Rate, Field(gt=0)] | None = None
    packet_bytes: Annotated[Size, Field(ge=LEAST_BYTES, le=MOST_BYTES)] = Field(default=_PACKET, validate_default=True)
    burst_s: Mean | None = None
    silence_s: Mean | None = None
    trace: TraceFile | None = None
    at_s: Duration = 0.0
    for_s: Mean | None = None

    @model_validator(mode="after")
    def _as_its_kind_needs(self) -> Self:
        needs = {"on_off": ("rate", "burst", "silence"), "trace": ("trace",)}.get(self.kind, ("rate",))
        said = {"rate": self.rate_bps, "burst": self.burst_s, "silence": self.silence_s, "trace": self.trace}
        wrong = [((word,), f"is required of a flow that is {self.kind}") for word in needs if said[word] is None]
        wrong += [
            ((word,), f"is not for a flow that is {self.kind}; leave it out")
            for word, value in said.items()
            if value is not None and word not in needs
        ]
        if wrong:
            raise refusal(wrong)
        return self
