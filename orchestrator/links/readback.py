"""Readback: a shape as JSON, and what differs between the shape asked for and the shape found."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from orchestrator.errors import RunBrokeError
from orchestrator.links.shape import BurstLoss, LinkShape, TraceRef


class ShapeNotAppliedError(RunBrokeError):
    """A shaper was told a shape and does not have it."""

    def __init__(self, link: str, differences: list[str]) -> None:
        super().__init__(f"link {link}: the shape was set but is not in force: {'; '.join(differences)}")


def to_json(shape: LinkShape) -> dict[str, Any]:
    """A shape as plain JSON values."""
    return asdict(shape)


def from_json(values: Mapping[str, Any]) -> LinkShape:
    """The shape that `to_json` wrote."""
    burst, trace = values["burst_loss"], values["trace"]
    return LinkShape(
        **{
            **values,
            "burst_loss": None if burst is None else BurstLoss(**burst),
            "trace": None if trace is None else TraceRef(**trace),
        }
    )


def differences(wanted: LinkShape, found: LinkShape) -> list[str]:
    """What differs, as `name: asked X, found Y`."""
    pairs = ((field.name, getattr(wanted, field.name), getattr(found, field.name)) for field in fields(LinkShape))
    return [f"{name}: asked {asked!r}, found {is_now!r}" for name, asked, is_now in pairs if asked != is_now]


def in_words(shape: LinkShape) -> str:
    """A shape in a few words, for evidence and tables; parts that do nothing are left out."""
    parts = []
    if shape.trace is not None:
        parts.append(f"trace {shape.trace.path}")
    elif shape.rate_bps is not None:
        parts.append(f"{shape.rate_bps / 1e6:g} Mbit/s")
    if shape.delay_s or shape.jitter_s:
        jitter = f" ± {shape.jitter_s * 1e3:g} ms {shape.jitter_kind}" if shape.jitter_s else ""
        parts.append(f"delay {shape.delay_s * 1e3:g} ms{jitter}")
    if shape.burst_loss is not None:
        burst = shape.burst_loss
        chances = (burst.to_bad, burst.to_good, burst.loss_good, burst.loss_bad)
        parts.append("burst loss " + "/".join(f"{chance * 100:g}" for chance in chances) + " %")
    for name in ("loss", "reorder", "duplicate", "corrupt"):
        if chance := getattr(shape, name):
            parts.append(f"{name} {chance * 100:g} %")
    if shape.queue_bytes is not None:
        parts.append(f"queue {shape.queue_bytes} bytes")
    return ", ".join(parts) or "not shaped"
