"""What a device does in ELABiP, step by step: features, priors, local phases. The whole is `elabip.device`.

`shared` is the learner whose weights travel: the node's own, or that of a narrower student beside it.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from node_image import readout
from node_image.algorithms.elabip_parameters import Parameters
from node_image.algorithms.exchange import RefusedError, Vector, refuse, whole
from node_image.algorithms.measured import PAUSE_S, local_phase, rest
from node_image.experience import Experience
from node_image.kd.strategy import Pupil
from node_image.packing import pack_update, unpack_model
from node_image.plasticity import RATES, Seen
from node_image.runtime import Body, Message, NodeRuntime

if TYPE_CHECKING:
    from node_image.learner import Learner


def shared_by(learner: "Learner", params: Parameters) -> "Learner":
    """The learner whose weights the fleet shares; UnfitError where it is to be narrower and cannot."""
    return learner.narrower(params.student_width) if params.has_full_student else learner


async def critical_period(node: NodeRuntime, params: Parameters, shared: "Learner") -> Message | None:
    """Train the shared features and send the difference until they are frozen; the prior that came along, if it did."""
    start = shared.head_start
    parts = tuple(part for part in shared.parts if part.end <= start)
    below = np.arange(shared.parameters) < start
    patience_s = params.rejoin_after_s
    await join(node, 0, frozen=False)
    heard = await newest(node, patience_s)
    while True:
        try:
            if "frozen" in heard:
                _install(node, shared, unpack_model(heard["frozen"].body, parts), None)
                return heard.get("prior")
            if "features" in heard:
                message = heard["features"]
                base, mixed = whole(message.body, "base"), unpack_model(message.body, parts)
                patience_s = params.rejoin_after_s
                begin = np.concatenate([mixed, shared.weights()[start:]])
                trained = await local_phase(node, params.critical_steps, begin, trainable=below, learner=shared)
                heard = await newest(node, 0.0)  # the period may have ended meanwhile
                if trained is not None and not heard:
                    delta = pack_update(mixed, shared.weights()[:start], parts, params.bits)
                    await send(node, "features", {"base": base, **delta})
                    heard = await newest(node, patience_s)
                continue
        except RefusedError as refused:
            refuse(node, heard.get("frozen", heard.get("features", next(iter(heard.values())))), refused.reason)
        patience_s *= 2  # one of us may have been away, or a message was lost
        await join(node, 0, frozen=False)
        heard = await newest(node, patience_s)


async def private_period(node: NodeRuntime, params: Parameters) -> None:
    """Beside a full student: train the features of the device's own network, as long, on its own samples alone."""
    learner = node.learner
    below = np.arange(learner.parameters) < learner.head_start
    for _ in range(params.critical_exchanges if below.any() else 0):
        await local_phase(node, params.critical_steps, trainable=below)


async def first_prior(
    node: NodeRuntime, params: Parameters, pupil: Pupil, shared: "Learner", message: Message | None
) -> tuple[int, int]:
    """Wait for a prior to begin with; its version and the number of devices."""
    patience_s = params.rejoin_after_s
    if not params.has_critical_period(shared.head_start):  # else it follows the frozen features
        await join(node, 0, frozen=True)
    while True:
        heard = adopt(node, pupil, shared, message or (await newest(node, patience_s)).get("prior"))
        if heard is not None:
            return heard
        patience_s *= 2
        message = None
        await join(node, 0, frozen=True)


async def feature_phase(node: NodeRuntime, params: Parameters, shared: "Learner", rate: float) -> None:
    """Open features: train them as well, and go as much of the way as the plasticity is of the highest rate."""
    start, before = shared.head_start, shared.weights()
    below = np.arange(shared.parameters) < start
    if start and await local_phase(node, params.local_steps, trainable=below, learner=shared) is not None:
        share = np.float32(min(1.0, rate / RATES[-1]))
        shared.load(before + share * (shared.weights() - before))


async def readout_phase(
    node: NodeRuntime, params: Parameters, pupil: Pupil, shared: "Learner", experience: Experience, rate: float
) -> tuple[float, float] | None:
    """One local phase of the readout, with its records: its multiply-accumulates, and the time they took (s).

    None where it came to nothing.
    """
    if not params.is_open:  # else the phase of its features has rested already
        await rest(node)
    begun, before, samples = node.elapsed(), pupil.weights, pupil.samples(experience)
    if not len(experience.labels):
        await node.sleep(PAUSE_S)
        return None
    cost = pupil.cost(experience)
    loss = await node.compute(lambda: pupil.learn(experience, rate, node.rng), cost)
    if not (math.isfinite(loss) and np.isfinite(pupil.weights).all()):
        pupil.weights = before
        node.record("discarded_updates", 1, reason="diverged")
        await node.sleep(PAUSE_S)
        return None
    _install(node, shared, None, pupil)
    took_s = node.elapsed() - begun
    node.record("local_phase_s", took_s)
    node.record("local_step_s", took_s / pupil.steps, of="readout")
    node.record("samples_seen", samples)
    node.record("train_loss", loss)
    return cost.macs, took_s


def adopt(node: NodeRuntime, pupil: Pupil, shared: "Learner", message: Message | None) -> tuple[int, int] | None:
    """Install a prior; its version and the number of devices. None where there is none, or garbage."""
    if message is None:
        return None
    try:
        base, devices = whole(message.body, "base"), whole(message.body, "devices", minimum=1)
        _install(node, shared, pupil.adopt(message.body), pupil)
    except RefusedError as refused:
        refuse(node, message, refused.reason)
        return None
    return base, devices


def experienced(params: Parameters, pupil: Pupil, shared: "Learner", learner: "Learner") -> Experience:
    """Nothing yet, as the device's own network sees it, and beside it a full student."""
    limit = 0 if params.kd == "stats" else params.cache_samples  # sums must leave no sample out
    (classes, width), gamma = pupil.weights.shape, params.eligibility
    if shared is learner:
        return Experience(width - 1, classes, limit, gamma)
    narrow = Experience(pupil.shared.shape[1] - 1, classes, limit, gamma, shared)
    return Experience(width - 1, classes, limit, gamma, beside=narrow)


async def newest(node: NodeRuntime, within_s: float) -> dict[str, Message]:
    """The newest message of each kind that came within so many seconds; older ones that wait as well are skipped."""
    found: dict[str, Message] = {}
    message = await node.receive(within_s)
    while message is not None:
        if message.kind in ("features", "frozen", "prior"):
            found[message.kind] = message
        else:
            refuse(node, message, "unknown_kind")
        message = await node.receive(0.0)
    return found


async def join(node: NodeRuntime, phase: int, *, frozen: bool) -> None:
    """Say hello: how many phases are done in this life, and whether the frozen features are here."""
    await send(node, "join", {"phase": phase, "frozen": frozen})


async def send(node: NodeRuntime, kind: str, body: Body) -> None:
    """To the coordinator."""
    assert node.coordinator is not None
    await node.send(node.coordinator, kind, body)


def record(node: NodeRuntime, rate: float, gained: float, seen: Seen) -> None:
    """What the agent chose, saw and was rewarded with."""
    node.record("plasticity", rate)
    node.record("reward", gained)
    node.record("divergence", seen.divergence)
    node.record("held_out_accuracy", seen.after)
    node.record("load", seen.load)
    if node.charge is not None:
        node.record("charge", node.charge)


def _install(node: NodeRuntime, shared: "Learner", features: Vector | None, pupil: Pupil | None) -> None:
    """Make the weights what the device knows: the shared features, where some came, and the pupil's readouts."""
    weights, start = shared.weights(), shared.head_start
    if features is not None and len(features):
        weights[:start] = features
    if pupil is not None:
        weights[start:] = readout.flatten(pupil.shared)
    shared.load(weights)
    if shared is not node.learner and pupil is not None:
        own, start = node.learner.weights(), node.learner.head_start
        own[start:] = readout.flatten(pupil.weights)
        node.learner.load(own)
