"""What ECLM's devices and coordinator say of devices and modules, read with care: the rest is refused."""

import math
from dataclasses import dataclass

from node_image.algorithms.exchange import RefusedError, vector
from node_image.modules import Layout, understood
from node_image.runtime import Body
from node_image.spec import Limits
from node_image.submodel import Chosen, Importance

ROUNDING = 1e-5  # of a mean of float32


@dataclass(frozen=True)
class Profile:
    """What a device told of itself: its means, and what the modules are worth to it."""

    limits: Limits
    worth: Importance


def profile(limits: Limits, worth: Importance) -> Body:
    """A device's means, of which those that have no bound are left out, and its importances."""
    means = {"memory_bytes": limits.memory_bytes, "macs_per_s": limits.macs_per_s, "rate_bps": limits.rate_bps}
    bounds = {name: float(bound) for name, bound in means.items() if bound is not None}
    return {**bounds, "importance": worth.ravel()}


def read_profile(body: Body, where: Layout) -> Profile:
    """Limits and importances from a device's message; RefusedError where they make no sense."""
    bounds = [_bound(body, name) for name in ("memory_bytes", "macs_per_s", "rate_bps")]
    return Profile(limits_of(*bounds), read_worth(body, where))


def _bound(body: Body, name: str) -> float:
    bound = body.get(name, math.inf)
    if not isinstance(bound, int | float) or not bound > 0:
        raise RefusedError("wrong_field")
    return float(bound)


def read_worth(body: Body, where: Layout) -> Importance:
    """A device's importances; RefusedError where they are not L M numbers from 0 to 1."""
    worth = vector(body, "importance", where.starts.size)
    if not ((worth >= 0) & (worth <= 1 + ROUNDING)).all():
        raise RefusedError("wrong_field")
    return worth.reshape(where.starts.shape)


def read_chosen(body: Body, where: Layout) -> Chosen:
    """Which modules a message is about; RefusedError where it does not say."""
    text = body.get("chosen")
    if not isinstance(text, str):
        raise RefusedError("missing_field" if text is None else "wrong_field")
    layers, modules = where.starts.shape
    try:
        return understood(text, (layers, modules))
    except ValueError as error:
        raise RefusedError("wrong_field") from error


def bounds_of(limits: Limits) -> list[float]:
    """Memory (bytes), speed (MAC/s) and rate (bit/s); infinite where there is no bound."""
    each = (limits.memory_bytes, limits.macs_per_s, limits.rate_bps)
    return [math.inf if bound is None else float(bound) for bound in each]


def limits_of(memory_bytes: float, macs_per_s: float, rate_bps: float) -> Limits:
    """Inverse of `bounds_of`."""
    return Limits(
        None if math.isinf(memory_bytes) else int(memory_bytes),
        None if math.isinf(macs_per_s) else macs_per_s,
        None if math.isinf(rate_bps) else rate_bps,
    )
