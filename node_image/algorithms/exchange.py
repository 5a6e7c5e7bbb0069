"""Reading what others send. It may be garbage: what an algorithm cannot use is refused with a reason, and counted."""

import numpy as np
from numpy.typing import NDArray

from node_image.runtime import Body, Message, NodeRuntime

Vector = NDArray[np.float32]


class RefusedError(ValueError):
    """A message that cannot be used; `reason` is one word, a label of `discarded_updates`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def whole(body: Body, name: str, minimum: int = 0) -> int:
    """The whole number of that name; RefusedError where it is missing, of another type, or too small."""
    if name not in body:
        raise RefusedError("missing_field")
    value = body[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise RefusedError("wrong_field")
    return value


def vector(body: Body, name: str, size: int) -> Vector:
    """The float32 vector of that name and size; RefusedError where it is missing, of another shape, or not finite."""
    if name not in body:
        raise RefusedError("missing_field")
    value = body[name]
    if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.shape != (size,):
        raise RefusedError("wrong_shape")
    if not np.isfinite(value).all():
        raise RefusedError("not_finite")
    return value.astype(np.float32, copy=False)


def refuse(node: NodeRuntime, message: Message, reason: str) -> None:
    """Count a message that was not used."""
    node.record("discarded_updates", 1, reason=reason, peer=message.sender)


async def newest_model(node: NodeRuntime, counter: str, within: float) -> tuple[int, Vector] | None:
    """The newest model that came, with the round or version it belongs to; None where none came within so many seconds.

    Older ones that wait as well are skipped: a device that was away must not work through what it missed.
    """
    newest = None
    message = await node.receive(within)
    while message is not None:
        try:
            if message.kind != "model":
                raise RefusedError("unknown_kind")
            newest = whole(message.body, counter), vector(message.body, "model", node.learner.parameters)
        except RefusedError as refused:
            refuse(node, message, refused.reason)
        message = await node.receive(0.0)
    return newest
