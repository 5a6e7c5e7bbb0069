"""ELABiP: asynchronous learning on devices by local, biologically inspired rules; distilled knowledge is what travels.

A device trains its features without labels in a *critical period*, in which they are mixed with everybody else's;
then they are frozen, and the same for all. From then on it learns its readout by a contrastive Hebbian rule, with a
plasticity that an agent chooses (`plasticity`), and sends what it knows in few bits (`kd`). The coordinator makes a
*prior* of it, with which devices go on. Nobody waits for anybody.

    device                              coordinator
      | join {phase, frozen}      ->      |
      | <- features {base, ...}           |   critical period: train these, send the difference, again
      | features {base, ...}      ->      |
      | <- frozen {...}                   |   the features, for good
      | <- prior {base, devices, ...}     |   `base` is the version it was made of
      | update {base, phase, ...} ->      |   z_k; answered with the next prior, at once or in a broadcast
"""

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from node_image import plasticity, readout
from node_image.algorithms.elabip_ledger import Ledger
from node_image.algorithms.elabip_parameters import Parameters
from node_image.algorithms.exchange import RefusedError, Vector, refuse, whole
from node_image.algorithms.measured import PAUSE_S, evaluate, first_samples, local_phase, rest
from node_image.experience import Experience
from node_image.kd import PUPILS
from node_image.kd.strategy import Pupil, setting
from node_image.outcomes import UnfitError
from node_image.packing import pack_update, unpack_model
from node_image.plasticity import RATES, Seen
from node_image.runtime import Body, Cost, Message, NodeRuntime

if TYPE_CHECKING:
    from node_image.learner import Learner

__all__ = ["Parameters", "coordinator", "device", "fits"]

ANSWERED = ("counted", "critical", "gap", "stale", "unknown_base")  # refused, and told how things stand


def fits(params: Parameters, learner: "Learner") -> None:
    """UnfitError where devices are to speak of public samples and there are none, or where there are no classes."""
    if params.kd == "logits" and not len(learner.public):
        raise UnfitError("elabip: kd logits speaks of public samples: set public of the task, or another kd")
    if learner.task.train_boxes is not None:
        raise UnfitError("elabip: its readout tells classes apart and finds no boxes; choose another task")


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Learn features; then for ever: choose a plasticity, learn, tell what was learnt, hear the prior."""
    await first_samples(node)
    prior = await _critical_period(node, params) if params.has_critical_period(node.learner.head_start) else None
    pupil = PUPILS[params.kd](await setting(node, params))
    base, devices = await _first_prior(node, params, pupil, prior)
    agent = plasticity.agent(params.agent, params.plasticity)
    experience, seen = _experience(node, params, pupil), Seen(devices=devices)
    phase, silent, patience_s, send_at_s = 0, 0, params.reply_within_s, 0.0
    while True:
        action = agent.choose(seen, node.rng)
        rate = agent.rates[action] if silent <= params.max_offline_phases else RATES[0]
        if params.is_open:
            await _feature_phase(node, params, rate)
            experience = _experience(node, params, pupil)  # what was cached is of other features
        await experience.grow(node)
        ended = replace(seen, before=experience.accuracy(pupil.weights))
        if not await _readout_phase(node, params, pupil, experience, rate):
            continue
        phase += 1
        ended = replace(ended, after=experience.accuracy(pupil.weights), divergence=pupil.divergence(experience))
        waits = False
        if phase % params.send_every == 0 and node.now() >= send_at_s:
            z = pupil.knowledge(experience, node.learner.weights()[: node.learner.head_start])
            if z:  # else nothing is new
                await _send(node, "update", {"base": base, "phase": phase, **z})
                waits = not params.is_windowed
        heard = _adopt(
            node, pupil, (await _newest(node, params.reply_within_s if waits else pupil.pause_s)).get("prior")
        )
        if heard is None:
            silent += 1
            if waits:  # the link may be down: learn on, and tell more and more rarely
                patience_s *= 2
                send_at_s = node.now() + patience_s
        else:
            silent, patience_s, send_at_s = 0, params.reply_within_s, 0.0
            ended = replace(ended, staleness=max(0, heard[0] - base - 1))  # the last version is our own
            base = heard[0]
        gained = plasticity.reward(ended)
        agent.learn(seen, action, gained, ended)
        seen = ended
        _record(node, rate, gained, seen)


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Mix features until they are frozen, then take in whatever comes and answer with a prior; wait for nobody."""
    ledger = await Ledger.begun(node, params)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_evaluate_for_ever(node, params, ledger))
        while True:
            message = await node.receive(ledger.window_left_s())
            if ledger.is_broadcast_due():
                await ledger.broadcast()
            if message is None:
                continue
            try:
                await _hear(ledger, message)
            except RefusedError as refused:
                refuse(node, message, refused.reason)
                if refused.reason in ANSWERED:
                    await ledger.answer(message.sender)


async def _hear(ledger: Ledger, message: Message) -> None:
    """One message at the coordinator."""
    match message.kind:
        case "join":
            ledger.welcome(
                message.sender, whole(message.body, "phase"), has_features=message.body.get("frozen") is True
            )
            await ledger.answer(message.sender)
        case "features":
            if ledger.prior is not None:
                raise RefusedError("frozen")  # and no answer: the frozen ones are on their way
            await ledger.take_features(message)
        case "update":
            if ledger.prior is None:
                raise RefusedError("critical")
            await ledger.take_update(message)
        case _:
            raise RefusedError("unknown_kind")


async def _evaluate_for_ever(node: NodeRuntime, params: Parameters, ledger: Ledger) -> None:
    evaluated = None
    while True:
        await node.sleep(params.evaluate_every_s)
        if ledger.prior is not None and ledger.version != evaluated:
            evaluated = ledger.version
            await evaluate(node, ledger.model())


async def _critical_period(node: NodeRuntime, params: Parameters) -> Message | None:
    """Train features and send the difference until they are frozen; the prior that came along, if it did."""
    learner, start = node.learner, node.learner.head_start
    parts = tuple(part for part in learner.parts if part.end <= start)
    below = np.arange(learner.parameters) < start
    patience_s = params.rejoin_after_s
    await _join(node, 0, frozen=False)
    heard = await _newest(node, patience_s)
    while True:
        try:
            if "frozen" in heard:
                _install(node, unpack_model(heard["frozen"].body, parts), None)
                return heard.get("prior")
            if "features" in heard:
                message = heard["features"]
                base, mixed = whole(message.body, "base"), unpack_model(message.body, parts)
                patience_s = params.rejoin_after_s
                head = learner.weights()[start:]
                trained = await local_phase(node, params.critical_steps, np.concatenate([mixed, head]), trainable=below)
                heard = await _newest(node, 0.0)  # the period may have ended meanwhile
                if trained is not None and not heard:
                    delta = pack_update(mixed, learner.weights()[:start], parts, params.bits)
                    await _send(node, "features", {"base": base, **delta})
                    heard = await _newest(node, patience_s)
                continue
        except RefusedError as refused:
            refuse(node, heard.get("frozen", heard.get("features", next(iter(heard.values())))), refused.reason)
        patience_s *= 2  # one of us may have been away, or a message was lost
        await _join(node, 0, frozen=False)
        heard = await _newest(node, patience_s)


async def _first_prior(node: NodeRuntime, params: Parameters, pupil: Pupil, message: Message | None) -> tuple[int, int]:
    """Wait for a prior to begin with; its version and the number of devices."""
    patience_s = params.rejoin_after_s
    if not params.has_critical_period(node.learner.head_start):  # else it follows the frozen features
        await _join(node, 0, frozen=True)
    while True:
        heard = _adopt(node, pupil, message or (await _newest(node, patience_s)).get("prior"))
        if heard is not None:
            return heard
        patience_s *= 2
        message = None
        await _join(node, 0, frozen=True)


async def _feature_phase(node: NodeRuntime, params: Parameters, rate: float) -> None:
    """Open features: train them as well, and go as much of the way as the plasticity is of the highest rate."""
    learner, start = node.learner, node.learner.head_start
    before = learner.weights()
    below = np.arange(learner.parameters) < start
    if start and await local_phase(node, params.local_steps, trainable=below) is not None:
        share = np.float32(min(1.0, rate / RATES[-1]))
        learner.load(before + share * (learner.weights() - before))


async def _readout_phase(
    node: NodeRuntime, params: Parameters, pupil: Pupil, experience: Experience, rate: float
) -> bool:
    """One local phase of the readout, with its records; False where it came to nothing."""
    if not params.is_open:  # else the phase of its features has rested already
        await rest(node)
    begun, before, samples = node.elapsed(), pupil.weights, pupil.samples(experience)
    if not len(experience.labels):
        await node.sleep(PAUSE_S)
        return False
    looked_at = 3 * len(experience.held_labels)  # accuracy before and after, divergence
    cost = Cost(before.size * (2.0 * samples + looked_at), 10.0 * pupil.steps + 6.0)
    loss = await node.compute(lambda: pupil.learn(experience, rate, node.rng), cost)
    if not (math.isfinite(loss) and np.isfinite(pupil.weights).all()):
        pupil.weights = before
        node.record("discarded_updates", 1, reason="diverged")
        await node.sleep(PAUSE_S)
        return False
    _install(node, None, pupil)
    took_s = node.elapsed() - begun
    node.record("local_phase_s", took_s)
    node.record("local_step_s", took_s / pupil.steps, of="readout")
    node.record("samples_seen", samples)
    node.record("train_loss", loss)
    return True


def _adopt(node: NodeRuntime, pupil: Pupil, message: Message | None) -> tuple[int, int] | None:
    """Install a prior; its version and the number of devices. None where there is none, or garbage."""
    if message is None:
        return None
    try:
        base, devices = whole(message.body, "base"), whole(message.body, "devices", minimum=1)
        _install(node, pupil.adopt(message.body), pupil)
    except RefusedError as refused:
        refuse(node, message, refused.reason)
        return None
    return base, devices


def _install(node: NodeRuntime, features: Vector | None, pupil: Pupil | None) -> None:
    """Make the learner's weights what the device knows: features, where some came, and the pupil's readout."""
    weights, start = node.learner.weights(), node.learner.head_start
    if features is not None and len(features):
        weights[:start] = features
    if pupil is not None:
        weights[start:] = readout.flatten(pupil.weights)
    node.learner.load(weights)


def _experience(node: NodeRuntime, params: Parameters, pupil: Pupil) -> Experience:
    classes, width = pupil.weights.shape
    limit = 0 if params.kd == "stats" else params.cache_samples  # sums must leave no sample out
    return Experience(width - 1, classes, limit, params.eligibility)


async def _newest(node: NodeRuntime, within_s: float) -> dict[str, Message]:
    """The newest message of each kind that came within so many seconds; older ones that wait as well are skipped."""
    newest: dict[str, Message] = {}
    message = await node.receive(within_s)
    while message is not None:
        if message.kind in ("features", "frozen", "prior"):
            newest[message.kind] = message
        else:
            refuse(node, message, "unknown_kind")
        message = await node.receive(0.0)
    return newest


async def _join(node: NodeRuntime, phase: int, *, frozen: bool) -> None:
    """Say hello: how many phases are done in this life, and whether the frozen features are here."""
    await _send(node, "join", {"phase": phase, "frozen": frozen})


async def _send(node: NodeRuntime, kind: str, body: Body) -> None:
    assert node.coordinator is not None
    await node.send(node.coordinator, kind, body)


def _record(node: NodeRuntime, rate: float, gained: float, seen: Seen) -> None:
    node.record("plasticity", rate)
    node.record("reward", gained)
    node.record("divergence", seen.divergence)
    node.record("held_out_accuracy", seen.after)
