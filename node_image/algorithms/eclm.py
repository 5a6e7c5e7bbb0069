"""ECLM: the cloud trains a model of modules, each device holds those that matter to it and that it can carry.

After arXiv 2311.11083, of which we could read a summary: the parts are the paper's, the equations ours (so say
"ECLM-like" where results are told). Offline the coordinator trains the whole model on the task's public samples.
Online each device tells its means and what the modules are worth to it, gets a sub-model, trains its modules and the
head (stem and selector stay), and sends them back; the coordinator combines them module by module, in rounds (`sync`)
or one by one as they come (`async`). A device whose samples change asks for other modules, and gets the new ones alone.

A device that no sub-model fits is told so, takes no part, and asks again ever more rarely.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node_image import ability_training
from node_image.ability_training import AbilityTraining
from node_image.algorithms import eclm_device
from node_image.algorithms.eclm_cloud import Cloud, begun
from node_image.algorithms.exchange import RefusedError, refuse
from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.allowance import Allowance
from node_image.gating import holding
from node_image.modules import Update, layout, written
from node_image.outcomes import UnfitError
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime
from node_image.submodel import Chosen, imbalance, moved

if TYPE_CHECKING:
    from node_image.learner import Learner

PATIENCE = 1.5  # a round's deadline is so many times the slowest recent answer
RECENT_ANSWERS = 100


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    mode: str = parameter("sync", "in rounds, or each update as it comes", choices=("async", "sync"))
    online: bool = parameter(True, "devices learn; false: they use the cloud's model as it is")
    offline_steps: int = parameter(300, "minibatches of the cloud on the public samples of the task", minimum=0)
    offline_batch: int = parameter(64, "samples in such a minibatch", minimum=1)
    offline_rate: float = parameter(0.05, "step size of the cloud", minimum=0.0)
    offline_momentum: float = parameter(0.9, "share of the last step kept", unit="ratio", minimum=0.0, maximum=1.0)
    balance: float = parameter(0.1, "lambda_lb: weight of the modules' uneven load in the cloud's loss", minimum=0.0)
    subtask: float = parameter(0.0, "lambda_sub: pull of gates to their sub-task's mean; makes them alike", minimum=0.0)
    subtask_classes: int = parameter(2, "classes side by side that make a sub-task", minimum=1)
    gate_noise: float = parameter(0.5, "noise on the selector's scores while the cloud trains", minimum=0.0)
    local_steps: int = parameter(15, "H: minibatches in a local phase", minimum=1)
    size: float = parameter(
        1.0, "share of the weights of all modules that a device gets", unit="ratio", minimum=0.0, maximum=1.0
    )
    max_modules: int = parameter(16, "k_max: modules of a layer that a device gets at most", minimum=1)
    memory_share: float = parameter(
        1.0, "share of a device's memory for its sub-model", unit="ratio", minimum=0.0, maximum=1.0
    )
    compute_deadline_s: float = parameter(0.0, "time for a local phase; 0: any", unit="s", minimum=0.0)
    transfer_deadline_s: float = parameter(0.0, "time for one transfer; 0: any", unit="s", minimum=0.0)
    moved_by: float = parameter(0.1, "L1 change of the importances at which a device asks for others", minimum=0.0)
    mixing: float = parameter(0.6, "async, alpha: weight of a fresh update", unit="ratio", minimum=0.0, maximum=1.0)
    polynomial_a: float = parameter(0.5, "async: a module's update fades as (staleness + 1) ** -a", minimum=0.0)
    rounds: int = parameter(0, "sync: rounds to run; 0: until the run ends", minimum=0)
    deadline_s: float = parameter(
        0.0, "sync: a round closes after so long; 0: 1.5 x the slowest recent answer", unit="s", minimum=0.0
    )
    first_deadline_s: float = parameter(
        60.0, "sync: deadline while no answer was seen, and wait for the devices to join", unit="s", minimum=0.001
    )
    swap_within_s: float = parameter(5.0, "a device waits so long for new modules", unit="s", minimum=0.001)
    rejoin_after_s: float = parameter(20.0, "a device that hears nothing asks again", unit="s", minimum=0.001)
    evaluate_every_s: float = parameter(5.0, "time between two evaluations", unit="s", minimum=0.001)
    checkpoint_every: int = parameter(1, "rounds, or updates, between two checkpoints of the coordinator", minimum=1)


def fits(params: Parameters, learner: "Learner") -> None:
    """UnfitError where the model has no modules, or the cloud is to train on public samples and there are none."""
    layout(learner.parts, learner.head_start)
    if learner.task.train_boxes is not None:
        raise UnfitError("eclm: learns classes, not detection; choose another task")
    if params.offline_steps and not len(learner.public):
        raise UnfitError("eclm: the cloud trains on public samples: set public of the task, or offline_steps to 0")
    if not params.online and not params.offline_steps:
        raise UnfitError("eclm: nobody would learn: set online, or offline_steps above 0")


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Hold a sub-model, train it, send it; have it changed where the samples have changed."""
    assert node.coordinator is not None
    where = layout(node.learner.parts, node.learner.head_start)
    held: Chosen = np.ones(where.starts.shape, np.bool_)
    entire, patience_s, evaluate_at = node.learner, params.rejoin_after_s, params.evaluate_every_s
    installed = not _prototypes(node, params)
    await first_samples(node)
    told = await eclm_device.join(node, installed)
    while True:
        news = await eclm_device.newest(node, where, held, patience_s, installed)
        if news is None:  # one of us may have been away, or a message was lost
            patience_s *= 2
            told = await eclm_device.join(node, installed)
            continue
        if news.kind == "unfit":
            patience_s *= 2
            continue
        if news.kind == "install":
            installed = True
            node.learner.load(news.weights)
            told = await eclm_device.join(node, installed)
            continue
        patience_s, held, base = params.rejoin_after_s, news.chosen, news.base
        node.learner = holding(entire, held, news.weights)
        while not params.online:
            await eclm_device.evaluate_own(node)
            await node.sleep(params.evaluate_every_s)
        worth = await eclm_device.importance(node)
        if moved(told, worth) > params.moved_by:
            await node.send(node.coordinator, "moved", {"base": base, "importance": worth.ravel()})
            news = await eclm_device.newest(node, where, held, params.swap_within_s)
            if news is not None and news.kind in ("model", "modules"):
                told = worth if news.kind == "modules" else told  # what came instead was chosen before
                held, base = news.chosen, news.base
                node.learner = holding(entire, held, news.weights)
        if await local_phase(node, params.local_steps, trainable=where.mask(held)):
            packed = where.packed(node.learner.weights(), held)
            await node.send(node.coordinator, "update", {"base": base, "chosen": written(held), "model": packed})
        if node.now() >= evaluate_at:
            await eclm_device.evaluate_own(node)
            evaluate_at = node.now() + params.evaluate_every_s


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Train the cloud's model; then cut it to size for each device, and put it together again. Survives a crash."""
    batch = int(node.learner.rule_parameters.batch_size)
    deadlines = params.compute_deadline_s, params.transfer_deadline_s
    allowance = Allowance(
        params.size, params.max_modules, params.memory_share, *deadlines, steps=params.local_steps, batch=batch
    )
    cloud = begun(node, allowance, installs=_prototypes(node, params))
    if _prototypes(node, params) and node.restored() is None:
        await _prototype(node, params, cloud)
    async with asyncio.TaskGroup() as tasks:
        evaluation = tasks.create_task(_evaluate_for_ever(node, params, cloud))
        if params.online and params.mode == "sync":
            await _rounds(node, params, cloud)
        else:
            await _stream(node, params, cloud)
        evaluation.cancel()


def _prototypes(node: NodeRuntime, params: Parameters) -> bool:
    """Whether the coordinator trains the model before the devices do; if not, all have it from the start."""
    return params.offline_steps > 0 and len(node.learner.public) > 0


async def _prototype(node: NodeRuntime, params: Parameters, cloud: Cloud) -> None:
    """Offline: train all of the model on the public samples, then install stem and selector where they are awaited."""
    settings = AbilityTraining(
        params.offline_steps,
        params.offline_batch,
        params.offline_rate,
        params.offline_momentum,
        params.balance,
        params.subtask,
        params.subtask_classes,
        params.gate_noise,
    )
    learner = node.learner
    trained = await node.compute(
        lambda: ability_training.train(learner, settings, node.rng), ability_training.cost(learner, settings)
    )
    cloud.model = learner.weights()
    node.record("train_loss", trained.loss)
    node.record("load_imbalance", imbalance(trained.load))
    await node.save(cloud.checkpoint())
    waiting = set()
    while (message := await node.receive(0.0)) is not None:  # some asked more than once meanwhile
        if message.kind == "join":
            waiting.add(message.sender)
        else:
            refuse(node, message, "unasked" if message.kind == "update" else "unknown_kind")
    for peer in sorted(waiting):
        await cloud.install(peer)


async def _rounds(node: NodeRuntime, params: Parameters, cloud: Cloud) -> None:
    """Synchronous: all devices train their sub-models, then every module becomes the mean of its holders'."""
    answers_s: deque[float] = deque(maxlen=RECENT_ANSWERS)
    while params.rounds == 0 or cloud.number < params.rounds:
        opened_s = node.elapsed()
        patience_s = params.deadline_s or (PATIENCE * max(answers_s) if answers_s else params.first_deadline_s)
        await cloud.combine(await _round(node, cloud, patience_s, answers_s))
        node.record("round_s", node.elapsed() - opened_s)
        node.record("round", cloud.number)
        if cloud.number % params.checkpoint_every == 0:
            await node.save(cloud.checkpoint())


async def _round(node: NodeRuntime, cloud: Cloud, patience_s: float, answers_s: deque[float]) -> dict[str, Update]:
    """One round's updates. It closes when all have answered, or at its deadline if somebody has.

    The first round waits for all devices to join. One that joins later is asked at once.
    """
    updates: dict[str, Update] = {}
    for peer in [peer for peer in node.peers if peer in cloud.chosen]:
        await cloud.send(peer)
    closes_s = node.now() + patience_s
    while not updates or (node.now() < closes_s and not _awaited(cloud) <= updates.keys()):
        left_s = closes_s - node.now()
        message = await node.receive(left_s if left_s > 0 else None)
        if message is None:
            continue
        peer = message.sender
        try:
            if message.kind == "update":
                updates[peer] = cloud.read(message)
                answers_s.append(node.now() - cloud.sent[peer].at_s)
            elif await cloud.serve(message) and peer not in updates:
                await cloud.send(peer)
        except RefusedError as refused:
            refuse(node, message, refused.reason)
    return updates


def _awaited(cloud: Cloud) -> set[str]:
    """Those without whose updates a round does not close before its deadline."""
    unfit = cloud.profiles.keys() - cloud.chosen.keys()
    return set(cloud.chosen) if cloud.number else set(cloud.node.peers) - unfit


async def _stream(node: NodeRuntime, params: Parameters, cloud: Cloud) -> None:
    """Asynchronous: every update is mixed in as it comes, and its device gets its sub-model anew."""
    for peer in list(cloud.chosen):  # of a former life
        await cloud.send(peer)
    while True:
        message = await node.receive()
        if message is None:
            continue
        try:
            if message.kind != "update":
                wants_all = await cloud.serve(message)
            else:
                await cloud.mix(message.sender, cloud.read(message), params.mixing, params.polynomial_a)
                wants_all = True
                if cloud.number % params.checkpoint_every == 0:
                    await node.save(cloud.checkpoint())
        except RefusedError as refused:
            refuse(node, message, refused.reason)
            continue
        if wants_all:
            await cloud.send(message.sender)


async def _evaluate_for_ever(node: NodeRuntime, params: Parameters, cloud: Cloud) -> None:
    evaluated = None
    while True:
        await node.sleep(params.evaluate_every_s)
        if cloud.number != evaluated:
            evaluated = cloud.number
            await evaluate(node, cloud.model)
