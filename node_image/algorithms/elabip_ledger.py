"""What ELABiP's coordinator knows: features, prior, version, and of every device what it was sent and has answered."""

import math
from dataclasses import dataclass, field

import numpy as np

from node_image.algorithms.elabip_parameters import Parameters
from node_image.algorithms.exchange import RefusedError, Vector, applied, whole
from node_image.kd import PRIORS
from node_image.kd.strategy import Kept, Prior, Setting, devices, floats, one, setting
from node_image.kd.student import StudentPrior
from node_image.packing import unpack_model
from node_image.runtime import Body, Message, NodeRuntime

KEPT_BASES = 32  # of what a device was sent, so many may still be built on


@dataclass(frozen=True)
class Sent:
    """What arrives at a device of a message, and when it left (s)."""

    reference: Vector
    at_s: float


@dataclass
class Ledger:
    """Call `begun`, which goes on from a checkpoint after a crash.

    While `prior` is None it is the critical period, and `mixed` are the features of all; then `frozen` are. Versions
    of a life that ended in a crash are never used again, so that nobody builds on another model than is thought.
    """

    node: NodeRuntime
    params: Parameters
    mixed: StudentPrior
    version: int = 0
    exchanges: int = 0
    prior: Prior | None = None
    frozen: Body = field(default_factory=dict)
    sent: dict[str, dict[int, Sent]] = field(default_factory=dict)
    phases: dict[str, int] = field(default_factory=dict)  # of each device: its last phase that was taken in
    lacking: set[str] = field(default_factory=set)  # devices that have not been sent the frozen features
    waiting: int = 0  # updates since the last broadcast
    window_ends_s: float = math.inf

    @staticmethod
    async def begun(node: NodeRuntime, params: Parameters) -> "Ledger":
        """A new ledger, or the one of a former life."""
        learner, start = node.learner, node.learner.head_start
        parts = tuple(part for part in learner.parts if part.end <= start)
        shared = Setting(
            Parameters(bits=params.bits, mixing=params.mixing, polynomial_a=params.polynomial_a),
            parts,
            learner.weights()[:start],
            np.empty((0, 1), np.float32),
        )
        ledger = Ledger(node, params, StudentPrior(shared))
        kept = node.restored()
        if kept is not None:
            await ledger._restore(kept)
            return ledger
        if params.kd == "logits":
            node.record("provision_bytes", learner.public.nbytes * len(node.peers))
        if not params.has_critical_period(start):
            ledger.prior = PRIORS[params.kd](await setting(node, params, learner))
        await ledger.save()  # so that a second life knows that it is one
        return ledger

    def model(self) -> Vector:
        """The flat vector that is tested."""
        start = self.node.learner.head_start
        weights = self.node.learner.weights()
        if self.prior is None:
            weights[:start] = self.mixed.vector()
        else:
            shared = self.prior.vector()
            weights[len(weights) - len(shared) :] = shared
        return weights

    def welcome(self, device: str, phase: int, *, has_features: bool) -> None:
        """A device joins, perhaps in a new life, in which it has done so many phases."""
        self.phases[device] = phase
        self.sent.pop(device, None)
        if has_features:
            self.lacking.discard(device)
        else:
            self.lacking.add(device)

    async def answer(self, device: str) -> None:
        """Tell a device how things stand: the features to train, or the frozen ones if it lacks them, and its prior."""
        if self.prior is None:
            self.lacking.add(device)
            body, reference = self.mixed.body(device)
            await self._send(device, "features", {"base": self.version, **body}, reference)
            return
        if device in self.lacking and self.frozen:
            await self.node.send(device, "frozen", self.frozen)
        self.lacking.discard(device)
        body, reference = self.prior.body(device)
        await self._send(device, "prior", {"base": self.version, "devices": len(self.node.peers), **body}, reference)

    async def take_features(self, message: Message) -> None:
        """Mix in what a device made of the features; after enough of it they are frozen."""
        base, sent = self._base_of(message)
        self.mixed.take(message.sender, message.body, sent.reference, self._staleness(base))
        self.sent[message.sender].pop(base)  # a second copy of this message has nothing to build on
        self.exchanges += 1
        await self._advance(message.sender, f"features/{base}", base, sent)
        if self.exchanges < self.params.critical_exchanges * len(self.node.peers):
            await self.answer(message.sender)
            return
        await self._freeze()
        for device in self.sent:
            await self.answer(device)

    async def take_update(self, message: Message) -> None:
        """Take in z_k, and answer with the prior it led to, or leave that to the next broadcast."""
        assert self.prior is not None
        phase, sender = whole(message.body, "phase"), message.sender
        if phase <= self.phases.get(sender, -1):
            raise RefusedError("duplicate")
        base, sent = self._base_of(message)
        staleness = self._staleness(base)
        if self.params.max_staleness and staleness > self.params.max_staleness:
            self.phases[sender] = phase
            raise RefusedError("stale")
        prior = self.prior
        prior.take(sender, message.body, sent.reference, staleness)
        self.phases[sender] = phase
        await self.node.compute(lambda: prior.settle(self.node.rng), prior.cost())
        for older in [each for each in self.sent[sender] if each < base]:
            del self.sent[sender][older]
        await self._advance(sender, phase, base, sent)
        if not self.params.is_windowed:
            await self.answer(sender)
            return
        self.waiting += 1
        if self.params.window_s and self.waiting == 1:
            self.window_ends_s = self.node.now() + self.params.window_s
        if self.is_broadcast_due():
            await self.broadcast()

    def window_left_s(self) -> float | None:
        """Time to the end of the window; None while none is open."""
        return None if math.isinf(self.window_ends_s) else max(0.0, self.window_ends_s - self.node.now())

    def is_broadcast_due(self) -> bool:
        """Whether the window has ended, or enough updates came."""
        return self.node.now() >= self.window_ends_s or 0 < self.params.broadcast_every <= self.waiting

    async def broadcast(self) -> None:
        """Tell everybody the prior."""
        self.waiting, self.window_ends_s = 0, math.inf
        for device in self.sent:
            await self.answer(device)

    async def save(self) -> None:
        """Write a checkpoint."""
        kept: Kept = {"version": self.version, "exchanges": self.exchanges, "mixed": self.mixed.vector()}
        kept |= {f"phase/{device}": phase for device, phase in self.phases.items()}
        kept |= {f"frozen/{name}": value for name, value in self.frozen.items()}
        if self.prior is not None:
            kept |= self.prior.kept()
        await self.node.save({**kept, "critical": self.prior is None})

    async def _restore(self, kept: Body) -> None:
        self.version = one(kept, "version") + self.params.checkpoint_every
        self.exchanges = one(kept, "exchanges")
        self.phases = {device: one(kept, f"phase/{device}") for device in devices(kept, "phase/")}
        self.mixed.g = floats(kept, "mixed")
        if not kept["critical"]:
            self.frozen = {name: kept[f"frozen/{name}"] for name in devices(kept, "frozen/")}
            self._load_frozen()
            self.prior = PRIORS[self.params.kd](await setting(self.node, self.params, self.node.learner))
            self.prior.restore(kept)
        self.node.learner.load(self.model())
        for device in self.node.peers:
            await self.answer(device)

    async def _freeze(self) -> None:
        """The features as they arrive at devices are those of all from now on, the coordinator's too."""
        self.frozen, _ = self.mixed.body("")
        self._load_frozen()
        self.prior = PRIORS[self.params.kd](await setting(self.node, self.params, self.node.learner))
        await self.save()  # before anybody hears of it: a second life must not train them again

    def _load_frozen(self) -> None:
        weights = self.node.learner.weights()
        if self.frozen:
            weights[: self.node.learner.head_start] = unpack_model(self.frozen, self.mixed.setting.parts)
        self.node.learner.load(weights)

    def _base_of(self, message: Message) -> tuple[int, Sent]:
        """What a device built on."""
        base = whole(message.body, "base")
        sent = self.sent.get(message.sender, {}).get(base)
        if sent is None:
            raise RefusedError("unknown_base")
        return base, sent

    def _staleness(self, base: int) -> int:
        return max(0, self.version - base)

    async def _send(self, device: str, kind: str, body: Body, reference: Vector) -> None:
        history = self.sent.setdefault(device, {})
        history[self.version] = Sent(reference, self.node.now())
        if len(history) > KEPT_BASES:
            del history[min(history)]
        await self.node.send(device, kind, body)

    async def _advance(self, device: str, number: int | str, base: int, sent: Sent) -> None:
        """A new version, with its records."""
        applied(self.node, device, number, base, self._staleness(base), sent.at_s)
        self.node.record("aggregated_updates", 1)
        self.version += 1
        self.node.record("version", self.version)
        self.node.learner.load(self.model())  # what is tested when the run ends
        if self.version % self.params.checkpoint_every == 0:
            await self.save()
