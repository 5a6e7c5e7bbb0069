"""Rounds without a coordinator: every device waits for what its neighbours say of the same round, never for ever."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Generic, TypeVar

from node_image.algorithms.exchange import RefusedError, refuse, whole
from node_image.runtime import Message, NodeRuntime

T = TypeVar("T")
RECENT = 20  # rounds
SLACK = 3.0
LAST_ROUND = 2**31 - 1  # more than any run has
MISSES = 3  # deadlines after which a neighbour is not waited for
KEPT_ROUNDS = 2  # a neighbour is a round ahead at most, unless this device was away: then only its newest matter


def neighbours_of(node: NodeRuntime) -> tuple[str, ...]:
    """All that a device may speak to, but the coordinator."""
    return tuple(peer for peer in node.peers if peer != node.coordinator)


async def stand_by(node: NodeRuntime) -> None:
    """The coordinator's part where there is one: devices learn among themselves, and what comes here is refused."""
    while True:
        message = await node.receive()
        if message is not None:
            refuse(node, message, "unasked")


@dataclass
class Patience:
    """How long a round may take: `given_s`, or for 0 three times the median of recent ones, `first_s` at most.

    The median, and not the slowest: a device that waits in vain makes its neighbours wait, so that deadlines derived
    from the slowest would drive each other up.
    """

    given_s: float
    first_s: float
    _recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    @property
    def seconds(self) -> float:
        """Seconds."""
        if self.given_s or not self._recent_s:
            return self.given_s or self.first_s
        return min(self.first_s, SLACK * median(self._recent_s))

    def saw(self, seconds: float) -> None:
        """The answers of a round took so long, or those that came were waited for so long."""
        self._recent_s.append(seconds)


@dataclass
class Neighbourhood(Generic[T]):
    """What the neighbours said, by round: one message of `kind` from each in a round, with its number in "round".

    `read` makes of such a message what is kept; it raises RefusedError. Messages of other kinds go to `other`, which
    does too. A neighbour that let three deadlines pass is not waited for until it is heard again. One that came a round
    too late makes this device more patient: two that are as fast must not stay a round apart for ever.
    """

    node: NodeRuntime
    kind: str
    read: Callable[[Message], T]
    patience: Patience
    other: Callable[[Message], Awaitable[None]] | None = None
    round: int = 0  # what is said of earlier ones comes too late
    _said: dict[str, dict[int, T]] = field(init=False)
    _missed: Counter[str] = field(default_factory=Counter)  # deadlines, since it was last heard
    _opened_s: dict[int, float] = field(default_factory=dict)  # of this round and the last

    def __post_init__(self) -> None:
        self._said = {name: {} for name in neighbours_of(self.node)}

    @property
    def names(self) -> tuple[str, ...]:
        """The neighbours, in the plan's order."""
        return tuple(self._said)

    def newest(self) -> tuple[int, list[T]]:
        """The newest round of which a neighbour spoke, and what was said in it; (-1, []) where nothing waits."""
        newest = max((number for said in self._said.values() for number in said), default=-1)
        return newest, [said[newest] for said in self._said.values() if newest in said]

    async def gather(self, number: int, opened_s: float) -> dict[str, T]:
        """What the neighbours said of this round, which opened at `opened_s`; returns at the deadline at the latest.

        In the plan's order and not that of arrival: a sum of floats depends on it, results must not.
        """
        self.round, node = number, self.node
        self._opened_s = {last: at_s for last, at_s in self._opened_s.items() if last == number - 1}
        self._opened_s[number] = opened_s
        for said in self._said.values():
            for old in [each for each in said if each < number]:
                del said[old]
        closes_s = opened_s + self.patience.seconds
        while await self.attend(0.0):  # what waits already
            pass
        while self._is_awaited(number) and (left_s := closes_s - node.now()) > 0:
            await self.attend(left_s)
        if any(self._missed[name] < MISSES for name in self._said):
            self.patience.saw(node.now() - opened_s)
        heard = {name: said[number] for name, said in self._said.items() if number in said}
        self._missed.update(name for name, said in self._said.items() if max(said, default=-1) < number)
        self.round = number + 1
        return heard

    def _is_awaited(self, number: int) -> bool:
        """Whether a neighbour may still say something of this round: one that speaks of a later one has not."""
        return any(max(said, default=-1) < number for name, said in self._said.items() if self._missed[name] < MISSES)

    async def attend(self, within: float | None) -> bool:
        """Take in the next message; False where none came within so many seconds."""
        message = await self.node.receive(within)
        if message is None:
            return False
        try:
            if message.sender not in self._said:
                raise RefusedError("stranger")
            if message.kind == self.kind:
                self._take(message)
            elif self.other is not None:
                await self.other(message)
            else:
                raise RefusedError("unknown_kind")
        except RefusedError as refused:
            refuse(self.node, message, refused.reason)
        return True

    def _take(self, message: Message) -> None:
        number, what = whole(message.body, "round"), self.read(message)
        if number > LAST_ROUND:
            raise RefusedError("wrong_field")
        self._missed[message.sender] = 0
        said = self._said[message.sender]
        if number in said:
            raise RefusedError("duplicate")
        if number < self.round:
            if number in self._opened_s:
                self.patience.saw(self.node.now() - self._opened_s[number])
            raise RefusedError("late")
        said[number] = what
        if len(said) > KEPT_ROUNDS:
            del said[min(said)]
