"""What a byzantine node sends: the one place between an algorithm and the wire where its tensors are altered.

Both runtimes pass every message through it, so that any algorithm, a plug-in's too, has its liars. The node itself
knows nothing of it: it learns from what it truly has, and says in its records what truly left.

    nan          every number of a float tensor is NaN
    huge         every number of a tensor is the largest of its type, or HUGE where that is less
    wrong_shape  tensors are flat and lack their last number
    stale        the tensors of the first message of that kind to that peer, in every later one
    replayed     that first message as a whole, numbers and all, in place of every later one
    sign_flip    tensors with the opposite sign; of numbers without a sign, as far from the other end of their range

A message without a tensor that a way can alter goes as it is, and is not counted.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from node_image.runtime import Array, Body

HUGE = 1e30  # a float32 holds the sum of millions of them, so that only what is made of it overflows
WAYS = ("nan", "huge", "wrong_shape", "stale", "replayed", "sign_flip")


class Sender:
    """Passes on what a node sends; altered, once it has been told how. `altered` counts messages."""

    def __init__(self, record: Callable[..., None]) -> None:
        self.altered = 0
        self._record = record
        self._way: str | None = None
        self._first: dict[tuple[str, str], Body] = {}

    def misbehave(self, way: str | None) -> None:
        """From now on alter what is sent in this way; None: send the truth again. ValueError for an unknown way."""
        if way is not None and way not in WAYS:
            raise ValueError(f"unknown way to alter messages {way!r}; known: {', '.join(WAYS)}")
        self._way = way
        self._first = {}

    def passed(self, dest: str, kind: str, body: Body) -> Body:
        """What leaves in place of this message."""
        if self._way is None:
            return body
        found = self._altered(self._way, dest, kind, body)
        if found is None:
            return body
        self.altered += 1
        self._record("altered_messages", 1, how=self._way, kind=kind, peer=dest)
        return found

    def _altered(self, way: str, dest: str, kind: str, body: Body) -> Body | None:
        """The altered message; None where it has to go as it is."""
        tensors = {name: value for name, value in body.items() if isinstance(value, np.ndarray)}
        if not tensors:
            return None
        if way in ("stale", "replayed"):
            first = self._first.get((dest, kind))
            if first is None:  # a copy: the algorithm may go on to write into its own
                self._first[dest, kind] = {name: _copied(value) for name, value in body.items()}
                return None
            return first if way == "replayed" else {**body, **_like(first, tensors)}
        wrong = {name: each for name, value in tensors.items() if (each := _WRONG[way](value)) is not None}
        return {**body, **wrong} if wrong else None


def _nan(tensor: Array) -> Array | None:
    return np.full_like(tensor, np.nan) if np.issubdtype(tensor.dtype, np.floating) else None


def _huge(tensor: Array) -> Array | None:
    if np.issubdtype(tensor.dtype, np.floating):
        return np.full_like(tensor, min(HUGE, float(np.finfo(tensor.dtype).max)))  # type: ignore[type-var]
    return np.full_like(tensor, np.iinfo(tensor.dtype).max)  # type: ignore[type-var]


def _short(tensor: Array) -> Array | None:
    return tensor.reshape(-1)[:-1] if tensor.size else None


def _flipped(tensor: Array) -> Array | None:
    if np.issubdtype(tensor.dtype, np.unsignedinteger):
        return np.subtract(np.iinfo(tensor.dtype).max, tensor)  # type: ignore[type-var]
    return np.negative(tensor)


_WRONG: dict[str, Callable[[Array], Array | None]] = {
    "nan": _nan,
    "huge": _huge,
    "wrong_shape": _short,
    "sign_flip": _flipped,
}


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _like(first: Body, tensors: dict[str, Array]) -> Body:
    """The tensors of the first message that this one has too."""
    return {name: first[name] for name in tensors if isinstance(first.get(name), np.ndarray)}
