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
from dataclasses import replace
from typing import TYPE_CHECKING

from node_image import plasticity, readout
from node_image.algorithms import elabip_device as steps
from node_image.algorithms.elabip_ledger import Ledger
from node_image.algorithms.elabip_parameters import Parameters
from node_image.algorithms.exchange import RefusedError, refuse, whole
from node_image.algorithms.measured import evaluate, first_samples
from node_image.kd import pupil_of
from node_image.kd.strategy import setting
from node_image.outcomes import UnfitError
from node_image.plasticity import RATES, Pace, Seen
from node_image.runtime import Message, NodeRuntime

if TYPE_CHECKING:
    from node_image.learner import Learner

__all__ = ["Parameters", "coordinator", "device", "fits"]

ANSWERED = ("counted", "critical", "gap", "stale", "unknown_base")  # refused, and told how things stand


def fits(params: Parameters, learner: "Learner") -> None:
    """UnfitError where devices are to speak of public samples and there are none, where there are no classes, or where
    the model has no narrower form for a student."""
    if params.kd == "logits" and not len(learner.public):
        raise UnfitError("elabip: kd logits speaks of public samples: set public of the task, or another kd")
    if learner.task.train_boxes is not None:
        raise UnfitError("elabip: its readout tells classes apart and finds no boxes; choose another task")
    steps.shared_by(learner, params)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Learn features; then for ever: choose a plasticity, learn, tell what was learnt, hear the prior."""
    await first_samples(node)
    shared = steps.shared_by(node.learner, params)
    has_period = params.has_critical_period(shared.head_start)
    prior = await steps.critical_period(node, params, shared) if has_period else None
    if params.has_full_student:
        await steps.private_period(node, params)
    own = readout.unflatten(node.learner.weights()[node.learner.head_start :], shared.parts[-1].shape[0])
    pupil = pupil_of(await setting(node, params, shared), own)
    base, devices = await steps.first_prior(node, params, pupil, shared, prior)
    agent, pace = plasticity.agent(params.agent, params.plasticity), Pace()
    experience, seen = steps.experienced(params, pupil, shared, node.learner), Seen(devices=devices)
    phase, silent, patience_s, send_at_s = 0, 0, params.reply_within_s, 0.0
    while True:
        action = agent.choose(seen, node.rng)
        rate = agent.rates[action] if silent <= params.max_offline_phases else RATES[0]
        if params.is_open:
            await steps.feature_phase(node, params, shared, rate)
            experience = experience.renewed()  # what was cached is of other features
        await experience.grow(node)
        ended = replace(seen, before=experience.accuracy(pupil.weights))
        worked = await steps.readout_phase(node, params, pupil, shared, experience, rate)
        if worked is None:
            continue
        phase += 1
        ended = replace(ended, after=experience.accuracy(pupil.weights), divergence=pupil.divergence(experience))
        ended = replace(ended, load=pace.load(*worked), drained=0.0 if node.charge is None else 1.0 - node.charge)
        waits = False
        if phase % params.send_every == 0 and node.now() >= send_at_s:
            z = pupil.knowledge(experience, shared.weights()[: shared.head_start])
            if z:  # else nothing is new
                await steps.send(node, "update", {"base": base, "phase": phase, **z})
                waits = not params.is_windowed
        found = await steps.newest(node, params.reply_within_s if waits else pupil.pause_s)
        heard = steps.adopt(node, pupil, shared, found.get("prior"))
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
        steps.record(node, rate, gained, seen)


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Mix features until they are frozen, then take in whatever comes and answer with a prior; wait for nobody."""
    node.learner = steps.shared_by(node.learner, params)  # what is tested is what is shared
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
