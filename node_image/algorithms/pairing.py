"""Pairing: in each phase of gossip a device exchanges models with one neighbour at most, over a net that loses.

    a: ask   (round, phase, nonce, cluster) ->  b
    a  <-  accept (nonce, samples, model)      :b   or   busy (nonce, final)
    a: give  (nonce, samples, model)        ->  b

Deadlock-free: every wait has an end, silence counts as busy. `final` says that asking again in this phase is of no
use; without it the other was itself waiting for an answer. Where two ask each other, the name that comes first in the
alphabet has asked. Who accepted someone that gave up waiting is told so by `gone`, and is free again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from node_image.algorithms.exchange import RefusedError, Vector, vector, whole
from node_image.runtime import Body, Message, NodeRuntime

When = tuple[int, int]  # round and phase


@dataclass(frozen=True)
class Gift:
    """What a device brings to an exchange: its weights, and how many samples they weigh."""

    weights: Vector
    samples: int


@dataclass(frozen=True)
class Asked:
    """A question under way."""

    dest: str
    nonce: int


@dataclass
class Pairing:
    """One device's side. `patience_s` is t_pair: how long it waits for an answer, or for what it was promised.

    `attend` takes in the next message, if one comes within so many seconds; those of a pairing come to `handle`.
    """

    node: NodeRuntime
    patience_s: float
    size: int  # of the weights exchanged
    attend: Callable[[float], Awaitable[bool]]
    when: When = (0, 0)
    partner: str | None = None
    _gift: Gift | None = None  # None: no phase is open
    _cluster: int = -1
    _suits: Callable[[str, int], bool] = field(default=lambda name, cluster: False)
    _asked: Asked | None = None
    _paired: Asked | None = None  # the last question that was accepted in time
    _nonce: int = 0  # of the question that we accepted
    _questions: int = 0
    _busy: bool | None = None  # the answer to our question: final or not
    _received: Gift | None = None
    _early: dict[str, tuple[float, Message]] = field(default_factory=dict)

    def close(self, when: When) -> None:
        """No phase is open until `meet`: questions for `when` or later are kept, those for earlier come too late."""
        self.when, self.partner, self._gift, self._asked, self._received = when, None, None, None, None

    async def meet(
        self, when: When, gift: Gift, cluster: int, candidates: Sequence[str], suits: Callable[[str, int], bool]
    ) -> tuple[str, Gift] | None:
        """One phase: the partner and what it gave, or None.

        Asks `candidates` in random order, and accepts whoever asks first and `suits` (its name, the cluster it says).
        """
        self.close(when)
        self._gift, self._cluster, self._suits = gift, cluster, suits
        early, self._early = self._early, {}
        for at_s, message in early.values():
            if self.node.now() - at_s < self.patience_s:  # others have given up
                await self.handle(message)
        open_to = list(candidates)
        while self.partner is None and open_to:
            dest = open_to[int(self.node.rng.integers(len(open_to)))]
            asked_s = self.node.now()
            await self._ask(dest)
            await self._wait(self.patience_s, lambda: self._asked is not None)
            self._asked = None
            if self.partner is None and self._busy is False:  # it waits for another's answer: ask again after a while
                pause_s = (self.node.now() - asked_s) * float(self.node.rng.uniform(0.5, 1.5))
                await self._wait(pause_s, lambda: self.partner is None)
            else:
                open_to.remove(dest)
            await self._wait(self.patience_s, lambda: self.partner is not None and self._received is None)
        await self._wait(self.patience_s, lambda: self.partner is not None and self._received is None)
        met = (self.partner, self._received) if self.partner and self._received else None
        self.close((when[0], when[1] + 1))
        return met

    async def handle(self, message: Message) -> None:
        """Take in one message of a pairing; RefusedError where it is none, or comes too late."""
        sender, body = message.sender, message.body
        match message.kind:
            case "ask":
                await self._answer(message)
            case "accept":
                gift, nonce = self._read(message), whole(body, "nonce")
                if self._asked != Asked(sender, nonce):
                    if self._paired != Asked(sender, nonce):  # else it is a duplicate
                        await self.node.send(sender, "gone", {"nonce": nonce})
                    raise RefusedError("late")
                self._paired, self._asked = self._asked, None
                self.partner, self._received = sender, gift
                await self._bring(sender, "give", nonce)
            case "give":
                gift = self._read(message)
                if (self.partner, self._nonce) != (sender, whole(body, "nonce")) or self._received is not None:
                    raise RefusedError("late")
                self._received = gift
            case "busy":
                nonce, final = whole(body, "nonce"), body.get("final")
                if self._asked == Asked(sender, nonce):
                    self._busy, self._asked = final is not False, None
            case "gone":
                if (self.partner, self._nonce) == (sender, whole(body, "nonce")) and self._received is None:
                    self.partner = None  # it no longer waited for us
            case _:
                raise RefusedError("unknown_kind")

    async def _ask(self, dest: str) -> None:
        self._questions += 1
        self._busy, self._asked = None, Asked(dest, self._questions)
        number, phase = self.when
        question: Body = {"round": number, "phase": phase, "nonce": self._questions, "cluster": self._cluster}
        await self.node.send(dest, "ask", question)

    async def _answer(self, message: Message) -> None:
        sender, body = message.sender, message.body
        nonce, cluster = whole(body, "nonce"), whole(body, "cluster", minimum=-1)
        when = whole(body, "round"), whole(body, "phase")
        if when > self.when or (when == self.when and self._gift is None):
            self._early[sender] = self.node.now(), message
        elif when < self.when or self.partner is not None or not self._suits(sender, cluster):
            await self.node.send(sender, "busy", {"nonce": nonce, "final": True})
        elif self._asked is None or (self._asked.dest == sender and sender < self.node.name):
            self.partner, self._nonce, self._asked = sender, nonce, None
            await self._bring(sender, "accept", nonce)
        elif self._asked.dest != sender:  # who asks us while we ask it will accept
            await self.node.send(sender, "busy", {"nonce": nonce, "final": False})

    async def _bring(self, dest: str, kind: str, nonce: int) -> None:
        assert self._gift is not None, "a phase is open"
        await self.node.send(dest, kind, {"nonce": nonce, "samples": self._gift.samples, "model": self._gift.weights})

    def _read(self, message: Message) -> Gift:
        return Gift(vector(message.body, "model", self.size), whole(message.body, "samples", minimum=1))

    async def _wait(self, seconds: float, while_: Callable[[], bool]) -> None:
        until_s = self.node.now() + seconds
        while while_() and (left_s := until_s - self.node.now()) > 0:
            await self.attend(left_s)
