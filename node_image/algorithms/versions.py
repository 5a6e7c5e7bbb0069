"""The coordinator's side of asynchronous learning: its model, counted in versions, and who was sent which."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from node_image import packing
from node_image.algorithms.exchange import RefusedError, Vector, applied, refuse, vector, whole
from node_image.algorithms.measured import evaluate
from node_image.runtime import Body, Message, NodeRuntime


@dataclass(frozen=True)
class Sent:
    """A model that left for a device: its version and weights (before packing), when (s), for which local phase."""

    phase: int  # counts what the device was sent; its update says the same number, which tells it from all others
    version: int
    weights: Vector  # shared by all that were sent this version
    at_s: float


@dataclass(frozen=True)
class Age:
    """An update's device and phase, and how long ago its model was the newest.

    `base` is the version of that model, so many versions ago, and it left at `sent_s` (None: no longer known).
    """

    device: str
    phase: int
    base: int
    staleness: int
    sent_s: float | None


@dataclass(frozen=True)
class Update:
    """The model that a device was sent (None: no longer known) and the weights it came to."""

    sender: str
    base: Vector | None
    weights: Vector
    age: Age


@dataclass
class Versions:
    """The model, and what each device was sent last. Call `begin` first; it goes on from a checkpoint after a crash.

    An update in part or in few bits builds on the very model that the device was sent, and so does every update where
    the algorithm `needs_base`: where that model is no longer known (the coordinator has crashed since), the update is
    refused. Updates older than `max_staleness` versions are refused as well (0: none is). Models travel in `bits` a
    weight.

    Phases of a life begin at its millisecond, so that none has the number of one of a former life: the same version
    may have been another model then.
    """

    node: NodeRuntime
    bits: int
    max_staleness: int
    checkpoint_every: int
    needs_base: bool = False
    version: int = 0
    model: Vector = field(init=False)
    _last_sent: dict[str, Sent] = field(default_factory=dict)
    _last_phase: dict[str, int] = field(default_factory=dict)  # of each device: that of its last update
    _first_phase: int = 0  # of this life
    _packed: tuple[int, Body] | None = None  # the version as it travels

    async def begin(self) -> None:
        """Start from the initial weights; after a crash from the checkpoint, which every device is sent."""
        kept = self.node.restored()
        if kept is None:
            self.model = self.node.learner.weights()
            return
        self.version, self.model = whole(kept, "version"), vector(kept, "model", self.node.learner.parameters)
        self._first_phase = round(self.node.now() * 1000)
        self.node.learner.load(self.model)
        for device in self.node.peers:
            await self.send_model(device)

    async def send_model(self, device: str) -> None:
        """Send the newest model."""
        if self._packed is None or self._packed[0] != self.version:
            self._packed = self.version, packing.pack_model(self.model, self.node.learner.parts, self.bits)
        version, body = self._packed
        phase = self._last_sent[device].phase + 1 if device in self._last_sent else self._first_phase
        self._last_sent[device] = Sent(phase, version, self.model, self.node.now())
        await self.node.send(device, "model", {"base": version, "phase": phase, **body})

    async def next_update(self) -> Update:
        """The next update that can be used. Whoever joins, or sends what is too old, gets the newest model."""
        while True:
            message = await self.node.receive()
            if message is None:
                continue
            if message.kind == "join":
                await self.send_model(message.sender)
                continue
            try:
                return self._read(message)
            except RefusedError as refused:
                refuse(self.node, message, refused.reason)
                if refused.reason == "stale":  # with an unknown base it has a newer one already, or will ask
                    await self.send_model(message.sender)

    async def advance(self, model: Vector, ages: Sequence[Age]) -> None:
        """A new version of the model, made of updates of these ages."""
        for age in ages:
            applied(self.node, age.device, age.phase, age.base, age.staleness, age.sent_s)
        self.model = model
        self.version += 1
        self.node.learner.load(model)  # what is tested when the run ends
        self.node.record("aggregated_updates", len(ages))
        self.node.record("version", self.version)
        if self.version % self.checkpoint_every == 0:
            await self.node.save({"version": self.version, "model": model})

    async def evaluate_for_ever(self, every_s: float) -> None:
        """Test the model every so many seconds, where it changed."""
        evaluated = None
        while True:
            await self.node.sleep(every_s)
            if self.version != evaluated:
                evaluated = self.version
                await evaluate(self.node, self.model)

    def _read(self, message: Message) -> Update:
        sender, body = message.sender, message.body
        if message.kind != "update":
            raise RefusedError("unknown_kind")
        base, phase = whole(body, "base"), whole(body, "phase")
        if self._last_phase.get(sender) == phase:
            raise RefusedError("duplicate")
        sent = self._last_sent.get(sender)
        if sent is not None and (sent.version != base or phase < self._first_phase):
            sent = None
        if sent is None and (self.needs_base or "model" not in body):
            raise RefusedError("unknown_base")
        weights = packing.unpack_update(body, sent.weights if sent else self.model, self.node.learner.parts)
        self._last_phase[sender] = phase
        staleness = max(0, self.version - base)  # a base from before a crash may be newer than the checkpoint
        if self.max_staleness and staleness > self.max_staleness:
            raise RefusedError("stale")
        age = Age(sender, phase, base, staleness, sent.at_s if sent else None)
        return Update(sender, sent.weights if sent else None, weights, age)
