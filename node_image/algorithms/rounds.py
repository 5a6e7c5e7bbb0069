"""One synchronous round after the other: ask some devices, wait for their updates until a deadline, never for ever."""

import math
from collections import deque
from dataclasses import dataclass, field

from node_image.algorithms.exchange import RefusedError, Vector, refuse, vector, whole
from node_image.runtime import Message, NodeRuntime

RECENT_ANSWERS = 100
PATIENCE = 1.5  # an adaptive deadline is so many times the slowest recent answer


@dataclass(frozen=True)
class Update:
    """What a device answered: the weights it came to, on so many samples, and when it was asked (s)."""

    weights: Vector
    samples: int
    asked_s: float


@dataclass
class Rounds:
    """The coordinator's side of synchronous rounds; `joined` are the devices it knows of.

    A round asks `fraction` of them (`min_updates` at least). It closes when all have answered or, with `min_updates`,
    at the deadline: `deadline_s`, or for 0 a multiple of the slowest recent answer (`first_deadline_s` before any).
    """

    node: NodeRuntime
    fraction: float
    min_updates: int
    deadline_s: float
    first_deadline_s: float
    joined: set[str] = field(default_factory=set)
    _answers_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_ANSWERS))
    _asked: dict[str, float] = field(default_factory=dict)

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

    async def run(self, number: int, model: Vector) -> list[Update]:
        """Ask for updates of this model; those that came before the round closed, in the devices' order.

        That order, and not the order of arrival: a sum of floats depends on it, results must not.
        """
        updates: dict[str, Update] = {}
        self._asked = {}
        for device in self._draw():
            await self._ask(device, number, model)
        closes_s = self.node.now() + self._patience_s()
        while len(updates) < max(len(self._asked), self.min_updates):
            left_s = closes_s - self.node.now()
            if left_s <= 0 and len(updates) >= self.min_updates:
                break
            if left_s <= 0:  # too few answered: others may
                for device in self._draw():
                    await self._ask(device, number, model)
                closes_s = self.node.now() + self._patience_s()
                continue
            message = await self.node.receive(left_s)
            if message is None:
                continue
            if message.kind == "join":
                self.joined.add(message.sender)
                if message.sender in self._asked and message.sender not in updates:  # it was away, and knows of nothing
                    await self._ask(message.sender, number, model)
                continue
            try:
                updates[message.sender] = self._read(message, number, updates)
            except RefusedError as refused:
                refuse(self.node, message, refused.reason)
        return [updates[device] for device in self.node.peers if device in updates]

    async def _ask(self, device: str, number: int, model: Vector) -> None:
        self._asked[device] = self.node.now()
        await self.node.send(device, "model", {"round": number, "model": model})

    def _draw(self) -> list[str]:
        candidates = [device for device in self.node.peers if device in self.joined and device not in self._asked]
        count = max(math.ceil(self.fraction * len(candidates)), self.min_updates)
        if count >= len(candidates):
            return candidates
        chosen = self.node.rng.choice(len(candidates), size=count, replace=False)
        return [candidates[place] for place in sorted(chosen)]

    def _patience_s(self) -> float:
        return self.deadline_s or (PATIENCE * max(self._answers_s) if self._answers_s else self.first_deadline_s)

    def _read(self, message: Message, number: int, updates: dict[str, Update]) -> Update:
        if message.kind != "update":
            raise RefusedError("unknown_kind")
        weights = vector(message.body, "model", self.node.learner.parameters)
        samples = whole(message.body, "samples", minimum=1)
        if whole(message.body, "round") != number:
            raise RefusedError("late")
        if message.sender not in self._asked:
            raise RefusedError("unasked")
        if message.sender in updates:
            raise RefusedError("duplicate")
        asked_s = self._asked[message.sender]
        self._answers_s.append(self.node.now() - asked_s)
        return Update(weights, samples, asked_s)
