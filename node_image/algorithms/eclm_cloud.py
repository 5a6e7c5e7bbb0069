"""The coordinator's side of ECLM: which device holds which modules, what it was sent, and what its updates weigh."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from node_image.aggregate import polynomial
from node_image.algorithms.eclm_messages import Profile, bounds_of, limits_of, read_chosen, read_profile, read_worth
from node_image.algorithms.exchange import RefusedError, Vector, applied, vector, whole
from node_image.allowance import Allowance, budgets
from node_image.modules import Layout, Update, combined, layout, mixed, written
from node_image.runtime import Body, Message, NodeRuntime
from node_image.spec import Limits
from node_image.submodel import Chosen, InfeasibleError, derive


@dataclass
class Sent:
    """The last sub-model sent to a device: on which number, when (s), which modules, and of which versions."""

    base: int
    at_s: float
    chosen: Chosen
    versions: NDArray[np.int64]
    answered: bool = False


@dataclass
class Cloud:
    """The whole model, and who holds what of it. Make it with `begun`.

    `number` counts rounds or, without rounds, updates; `versions` what was mixed into each module and, last, into the
    head: shape (L M + 1). `chosen` are the sub-models of the devices that take part. `installs`: devices have stem and
    selector from here, not from the start.
    """

    node: NodeRuntime
    allowance: Allowance
    installs: bool
    layout: Layout
    model: Vector
    number: int
    versions: NDArray[np.int64]
    profiles: dict[str, Profile] = field(default_factory=dict)
    chosen: dict[str, Chosen] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    taken: dict[str, Sent] = field(default_factory=dict)  # on which the update was made that was read last

    async def install(self, device: str) -> None:
        """Send stem and selector, which stay as they are from then on."""
        await self.node.send(device, "install", {"model": self.model[self.layout.frozen()]})

    async def send(self, device: str) -> None:
        """Send a device its modules and the head: 64 + 4 (sum |omega| + |head|) bytes."""
        chosen = self.chosen[device]
        self.sent[device] = Sent(self.number, self.node.now(), chosen, self.versions.copy())
        body: Body = {"base": self.number, "chosen": written(chosen), "model": self.layout.packed(self.model, chosen)}
        await self.node.send(device, "model", body)

    async def serve(self, message: Message) -> bool:
        """Answer a device that asks for what it is to install, or for other modules; True where it is to be sent all.

        RefusedError for messages of another kind, or useless, and where no sub-model fits the device, which is told so.
        """
        device, body = message.sender, message.body
        if message.kind == "join" and "importance" not in body and self.installs:
            for known in (self.profiles, self.chosen, self.sent):  # of a former life
                known.pop(device, None)
            await self.install(device)
            return False
        if message.kind == "join":
            await self._derive(device, read_profile(body, self.layout))
            return True
        if message.kind != "moved":
            raise RefusedError("unknown_kind")
        sent = self.sent.get(device)
        if sent is None or sent.answered or whole(body, "base") != sent.base:
            raise RefusedError("late")
        await self._derive(device, Profile(self.profiles[device].limits, read_worth(body, self.layout)))
        await self._send_new_modules(device, sent)
        return False

    def read(self, message: Message) -> Update:
        """The update in a message; RefusedError where it is none, not of what was sent last, or came before."""
        if message.kind != "update":
            raise RefusedError("unknown_kind")
        chosen = read_chosen(message.body, self.layout)
        packed = vector(message.body, "model", self.layout.length(chosen))
        sent = self.sent.get(message.sender)
        if sent is None or whole(message.body, "base") != sent.base:
            raise RefusedError("late")
        if sent.answered:
            raise RefusedError("duplicate")
        if (chosen & ~sent.chosen).any():
            raise RefusedError("unasked")
        sent.answered = True
        self.taken[message.sender] = sent
        return Update(self.layout.unpacked(self.model, packed, chosen), chosen, self.profiles[message.sender].worth)

    async def combine(self, updates: Mapping[str, Update]) -> None:
        """Synchronous: every module becomes its holders' mean."""
        ordered = [updates[device] for device in self.node.peers if device in updates]  # not in the order of arrival
        self.model = combined(self.layout, self.model, ordered)
        await self._advance(np.logical_or.reduce([update.chosen for update in ordered]), dict.fromkeys(updates, 0.0))

    async def mix(self, device: str, update: Update, mixing: float, a: float) -> None:
        """Asynchronous: each module is mixed in by alpha s(its staleness) and its share of the holders' importance.

        The head has all devices as holders, all alike.
        """
        stale = self.versions - self.sent[device].versions
        fade = np.array([polynomial(float(age), a) for age in stale])
        worth = np.where(update.chosen, update.worth, 0.0)
        total = worth.astype(np.float64)
        for other, chosen in self.chosen.items():
            if other != device:
                total += np.where(chosen, self.profiles[other].worth, 0.0)
        shares = mixing * fade[:-1].reshape(worth.shape) * worth / np.maximum(total, np.finfo(np.float32).tiny)
        head_share = mixing * float(fade[-1]) / max(1, len(self.chosen))
        self.model = mixed(self.layout, self.model, update, shares, head_share)
        oldest = float(stale[np.append(update.chosen.ravel(), np.True_)].max())
        await self._advance(update.chosen, {device: oldest})

    def checkpoint(self) -> Body:
        """What a coordinator must know to go on after a crash."""
        known = [self.profiles.get(device) for device in self.node.peers]
        nothing = np.zeros(self.layout.starts.shape, np.float32)
        return {
            "number": self.number,
            "model": self.model,
            "versions": self.versions,
            "known": np.array([profile is not None for profile in known], np.uint8),
            "worth": np.stack([nothing if each is None else each.worth for each in known]),
            "limits": np.array([bounds_of(Limits() if each is None else each.limits) for each in known]),
        }

    async def _derive(self, device: str, profile: Profile) -> None:
        self.profiles[device] = profile
        self.chosen.pop(device, None)
        bounds = budgets(self.node.learner, self.layout, self.allowance, profile.limits)
        try:
            self.chosen[device] = derive(profile.worth, bounds, self.allowance.modules)
        except InfeasibleError as error:
            await self.node.send(device, "unfit", {"constraint": error.constraint})
            raise RefusedError(f"unfit_{error.constraint}") from error
        self.node.record("held_modules", int(self.chosen[device].sum()), peer=device)

    async def _send_new_modules(self, device: str, sent: Sent) -> None:
        """Send those modules alone that a device has not yet; it keeps the others as it has trained them."""
        chosen = self.chosen[device]
        new = chosen & ~sent.chosen
        sent.versions[:-1][new.ravel()] = self.versions[:-1][new.ravel()]
        sent.chosen = sent.chosen | chosen
        packed = self.layout.packed(self.model, new, head=False)
        await self.node.send(device, "modules", {"base": sent.base, "chosen": written(chosen), "model": packed})

    async def _advance(self, touched: Chosen, staleness: Mapping[str, float]) -> None:
        for device, age in staleness.items():
            sent = self.taken[device]  # not `sent`: it may have begun a new life since
            applied(self.node, device, sent.base, sent.base, age, sent.at_s)
        self.versions += np.append(touched.ravel(), np.True_)
        self.number += 1
        self.node.learner.load(self.model)  # what is tested when the run ends
        self.node.record("aggregated_updates", len(staleness))
        self.node.record("version", self.number)


def begun(node: NodeRuntime, allowance: Allowance, installs: bool) -> Cloud:
    """The cloud before anything was learned, or as its checkpoint has it; UnfitError where the model has no modules."""
    learner, kept = node.learner, node.restored()
    found = layout(learner.parts, learner.head_start)
    versions = np.zeros(found.starts.size + 1, np.int64)
    cloud = Cloud(node, allowance, installs, found, learner.weights(), 0, versions)
    if kept is None:
        return cloud
    cloud.model, cloud.number = vector(kept, "model", learner.parameters), whole(kept, "number")
    cloud.versions = np.array(kept["versions"], np.int64)
    learner.load(cloud.model)
    worth, limits = np.asarray(kept["worth"], np.float32), np.asarray(kept["limits"], np.float64)
    for index in np.flatnonzero(np.asarray(kept["known"])):
        profile = Profile(limits_of(*limits[index].tolist()), worth[index])
        cloud.profiles[node.peers[index]] = profile
        with contextlib.suppress(InfeasibleError):  # it was told so in the former life, and asks again
            cloud.chosen[node.peers[index]] = derive(
                profile.worth, budgets(learner, found, allowance, profile.limits), allowance.modules
            )
    return cloud
