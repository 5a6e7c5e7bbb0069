"""Reading what others send. It may be garbage: what an algorithm cannot use is refused with a reason, and counted."""

from collections.abc import Callable
from typing import TypeVar

from node_image import packing
from node_image.packing import RefusedError, Vector, vector
from node_image.runtime import Body, Message, NodeRuntime

__all__ = ["RefusedError", "Vector", "applied", "newest_body", "newest_model", "refuse", "vector", "whole"]

T = TypeVar("T")


def whole(body: Body, name: str, minimum: int = 0) -> int:
    """The whole number of that name; RefusedError where it is missing, of another type, or too small."""
    if name not in body:
        raise RefusedError("missing_field")
    value = body[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise RefusedError("wrong_field")
    return value


def refuse(node: NodeRuntime, message: Message, reason: str) -> None:
    """Count a message that was not used."""
    node.record("discarded_updates", 1, reason=reason, peer=message.sender)


def applied(
    node: NodeRuntime, device: str, number: int | str, base: int, staleness: float, sent_s: float | None
) -> None:
    """Write down an update that the model is made of from now on, so that the run can be checked update by update.

    Its identity is its device and `number`, which no other of the device has in one life of both; `base` is the version
    it was made on, which left at `sent_s` (None: no longer known). To be called before the version rises.
    """
    node.record("staleness", staleness, peer=device, base=str(base), number=str(number))
    if sent_s is not None:
        node.record("update_age_s", node.now() - sent_s)


async def newest_model(node: NodeRuntime, counter: str, within: float) -> tuple[int, Vector] | None:
    """The newest model that came, with the round or version it belongs to; None where none came within so many seconds.

    Older ones that wait as well are skipped: a device that was away must not work through what it missed.
    """
    return await newest_body(node, within, lambda body: whole(body, counter))


async def newest_body(node: NodeRuntime, within: float, read: Callable[[Body], T]) -> tuple[T, Vector] | None:
    """As `newest_model`, with whatever `read` makes of what came beside the model; it raises RefusedError."""
    newest = None
    message = await node.receive(within)
    while message is not None:
        try:
            if message.kind != "model":
                raise RefusedError("unknown_kind")
            newest = read(message.body), packing.unpack_model(message.body, node.learner.parts)
        except RefusedError as refused:
            refuse(node, message, refused.reason)
        message = await node.receive(0.0)
    return newest
