"""One synchronous round after the other: ask some devices, wait for their updates until a deadline, never for ever."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from node_image import packing
from node_image.aggregate import CumulativeMean
from node_image.algorithms.exchange import RefusedError, Vector, refuse, whole
from node_image.runtime import Body, Message, NodeRuntime

RECENT_ANSWERS = 100
PATIENCE = 1.5  # an adaptive deadline is so many times the slowest recent answer


@dataclass(frozen=True)
class Closed:
    """A round that has closed: the mean of its updates by samples, and when each who answered had been asked (s)."""

    mean: Vector
    asked_s: Mapping[str, float]


@dataclass
class Rounds:
    """The coordinator's side of synchronous rounds; `joined` are the devices it knows of.

    A round wants updates of `fraction` of them (`min_updates` at least), and asks the share `over_selection` more. It
    closes when it has what it wants or, with `min_updates`, at the deadline: `deadline_s`, or for 0 a multiple of the
    slowest recent answer (`first_deadline_s` before any). Models and updates travel in `bits` a weight.
    """

    node: NodeRuntime
    fraction: float
    min_updates: int
    deadline_s: float
    first_deadline_s: float
    over_selection: float = 0.0
    bits: int = packing.FLOAT_BITS
    joined: set[str] = field(default_factory=set)
    _answers_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_ANSWERS))
    _asked: dict[str, float] = field(default_factory=dict)
    _wanted: int = 0

    async def wait_for_devices(self) -> None:
        """Return once all devices have joined, or once the first deadline has passed and somebody has."""
        until_s = self.node.now() + self.first_deadline_s
        while len(self.joined) < len(self.node.peers):
            left_s = until_s - self.node.now()
            if left_s <= 0 and self.joined:
                return
            message = await self.node.receive(left_s if left_s > 0 else None)
            if message is not None and message.kind == "join":
                self.joined.add(message.sender)
            elif message is not None:
                refuse(self.node, message, "unasked" if message.kind == "update" else "unknown_kind")

    async def run(self, number: int, model: Vector) -> Closed:
        """Ask for updates of this model, and average those that come before the round closes, each as it comes."""
        body: Body = {"round": number, **packing.pack_model(model, self.node.learner.parts, self.bits)}
        mean, answered = CumulativeMean(), dict[str, float]()
        self._asked, self._wanted = {}, 0
        await self._ask_some(body)
        closes_s = self.node.now() + self._patience_s()
        while len(answered) < max(self._wanted, self.min_updates):
            left_s = closes_s - self.node.now()
            if left_s <= 0 and len(answered) >= self.min_updates:
                break
            if left_s <= 0:  # too few answered: others may
                await self._ask_some(body)
                closes_s = self.node.now() + self._patience_s()
                continue
            message = await self.node.receive(left_s)
            if message is None:
                continue
            if message.kind == "join":
                self.joined.add(message.sender)
                if (
                    message.sender in self._asked and message.sender not in answered
                ):  # it was away, and knows of nothing
                    await self._ask(message.sender, body)
                continue
            try:
                weights, samples = self._read(message, number, model, answered)
            except RefusedError as refused:
                refuse(self.node, message, refused.reason)
                continue
            mean.add(weights, samples)
            answered[message.sender] = self._asked[message.sender]
            self._answers_s.append(self.node.now() - self._asked[message.sender])
        return Closed(mean.mean(), answered)

    async def _ask_some(self, body: Body) -> None:
        for device in self._draw():
            await self._ask(device, body)

    async def _ask(self, device: str, body: Body) -> None:
        self._asked[device] = self.node.now()
        await self.node.send(device, "model", body)

    def _draw(self) -> list[str]:
        candidates = [device for device in self.node.peers if device in self.joined and device not in self._asked]
        wanted = max(math.ceil(self.fraction * len(candidates)), self.min_updates)
        self._wanted += min(wanted, len(candidates))
        count = math.ceil((1.0 + self.over_selection) * wanted)
        if count >= len(candidates):
            return candidates
        chosen = self.node.rng.choice(len(candidates), size=count, replace=False)
        return [candidates[place] for place in sorted(chosen)]

    def _patience_s(self) -> float:
        return self.deadline_s or (PATIENCE * max(self._answers_s) if self._answers_s else self.first_deadline_s)

    def _read(self, message: Message, number: int, model: Vector, answered: dict[str, float]) -> tuple[Vector, int]:
        """The weights of an update, and the number of samples that made it (n_k)."""
        if message.kind != "update":
            raise RefusedError("unknown_kind")
        body = message.body
        made_for, samples = whole(body, "round"), whole(body, "n", minimum=1)
        if made_for != number:
            raise RefusedError("late")
        if message.sender not in self._asked:
            raise RefusedError("unasked")
        if message.sender in answered:
            raise RefusedError("duplicate")
        return packing.unpack_update(body, model, self.node.learner.parts), samples
