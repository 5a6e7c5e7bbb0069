"""How a link's shape is written in YAML: one direction, both, or a preset with changes."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, model_validator

from orchestrator.forms.base import PRESETS, Form, Reading, name_of, read_by, read_path
from orchestrator.forms.radio import RadioChoice
from orchestrator.links.shape import BurstLoss, LinkShape
from orchestrator.trace_files import FoundTrace, find_trace
from orchestrator.units import DURATION, SIZE, Duration, Rate, Share

LEAST_QUEUE_BYTES = 10 * 1500
LEAST_QUEUE_S = 0.1


@dataclass(frozen=True)
class QueueLimit:
    """How much may wait for a link: bytes, or what the link sends in so many seconds."""

    size_bytes: float | None = None
    time_s: float | None = None


def _read_queue(value: Any, _: Reading) -> QueueLimit:
    unit = value.lstrip("+-.0123456789eE ") if isinstance(value, str) else ""
    if unit in DURATION.factors:
        return QueueLimit(time_s=DURATION.parse(value))
    if unit in SIZE.factors:
        return QueueLimit(size_bytes=SIZE.parse(value))
    raise ValueError('not a queue; write bytes or time, such as "64 KiB" or "100 ms"')


def _write_queue(limit: QueueLimit | None) -> str | None:
    if limit is None:
        return None
    return SIZE.write(limit.size_bytes) if limit.size_bytes is not None else DURATION.write(limit.time_s or 0.0)


_QUEUE_PATTERN = f"({SIZE.pattern()})|({DURATION.pattern()})"
Queue = Annotated[
    QueueLimit,
    read_by(_read_queue, Annotated[str, Field(pattern=_QUEUE_PATTERN)]),
]


TraceFile = Annotated[
    FoundTrace,
    read_path("a trace file", find_trace),
    PlainSerializer(lambda trace: trace.ref.path, return_type=str),
]


class BurstLossForm(Form):
    """Gilbert-Elliott loss; see `links.shape.BurstLoss`."""

    to_bad: Share
    to_good: Share
    loss_good: Share = 0.0
    loss_bad: Share = 1.0


class OneWay(Form):
    """One direction of a link. `trace` takes the place of `rate`; without either, packets take no time to send."""

    rate_bps: Annotated[Rate, Field(gt=0)] | None = None
    delay_s: Duration = 0.0
    jitter_s: Duration = 0.0
    jitter_kind: Literal["normal", "pareto"] = "normal"
    loss: Share = 0.0
    burst_loss: BurstLossForm | None = None
    reorder: Share = 0.0
    duplicate: Share = 0.0
    corrupt: Share = 0.0
    queue: Annotated[Queue | None, PlainSerializer(_write_queue)] = None
    trace: TraceFile | None = None

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.rate_bps is not None and self.trace is not None:
            raise ValueError("give rate or trace, not both")
        return self

    def changed(self, changes: "OneWay") -> "OneWay":
        """This direction with all that `changes` says; a rate takes the place of a trace and the other way round."""
        said = {name: getattr(changes, name) for name in changes.model_fields_set if name in OneWay.model_fields}
        if said.get("rate_bps") is not None:
            said["trace"] = None
        if said.get("trace") is not None:
            said["rate_bps"] = None
        return self.model_copy(update=said)


class Link(Form):
    """A link with all decided but the default queue. `up` leads towards the network, or from a to b."""

    up: OneWay
    down: OneWay
    radio: RadioChoice = None


class LinkForm(OneWay):
    """As written: a preset or nothing, then changes to both directions, then changes to each."""

    preset: str | None = Field(default=None, json_schema_extra={PRESETS: "links"})
    up: OneWay | None = None
    down: OneWay | None = None
    radio: RadioChoice = None

    def resolved(self, base: Link) -> Link:
        """The link, with this form's changes made to `base`."""
        up, down = (way.changed(self) for way in (base.up, base.down))
        return Link.model_construct(
            up=up.changed(self.up) if self.up else up,
            down=down.changed(self.down) if self.down else down,
            radio=base.radio if self.radio is None else self.radio,
        )


PLAIN = Link.model_construct(up=OneWay.model_construct(), down=OneWay.model_construct(), radio=None)


def _read_link(value: Any, reading: Reading) -> Link:
    if isinstance(value, str):
        return reading.presets.link(value)
    form = LinkForm.model_validate(value, context=reading)
    return form.resolved(reading.presets.link(form.preset) if form.preset else PLAIN)


AnyLink = Annotated[Link, read_by(_read_link, name_of("links") | LinkForm)]


def shape_of(way: OneWay, rtt_s: float) -> LinkShape:
    """The shape of a direction, with its queue decided.

    A queue that is not given holds one bandwidth-delay product (`rtt_s`: propagation, both ways), 100 ms at the rate
    or ten packets, whichever is most. A link without a rate has no queue to speak of, and no bound.
    """
    rate_bps = way.trace.mean_bps if way.trace else way.rate_bps
    queue_bytes: float | None = None
    if way.queue is not None and way.queue.size_bytes is not None:
        queue_bytes = way.queue.size_bytes
    elif rate_bps is not None:
        wanted_s = way.queue.time_s if way.queue else None
        queue_bytes = rate_bps / 8 * (max(rtt_s, LEAST_QUEUE_S) if wanted_s is None else wanted_s)
        queue_bytes = max(queue_bytes, LEAST_QUEUE_BYTES if wanted_s is None else 1500.0)
    burst = way.burst_loss
    return LinkShape(
        rate_bps=way.rate_bps,
        delay_s=way.delay_s,
        jitter_s=way.jitter_s,
        jitter_kind=way.jitter_kind,
        loss=way.loss,
        burst_loss=BurstLoss(burst.to_bad, burst.to_good, burst.loss_good, burst.loss_bad) if burst else None,
        reorder=way.reorder,
        duplicate=way.duplicate,
        corrupt=way.corrupt,
        queue_bytes=None if queue_bytes is None else round(queue_bytes),
        trace=way.trace.ref if way.trace else None,
    )
