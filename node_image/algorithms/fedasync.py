"""FedAsync: every update is mixed in as it comes, by its staleness (Xie, Koyejo and Gupta 2019, arXiv 1903.03934)."""

import asyncio
from dataclasses import dataclass, field

from node_image import aggregate
from node_image.algorithms.exchange import RefusedError, Vector, newest_model, refuse, vector, whole
from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.parameters import parameter
from node_image.runtime import Message, NodeRuntime


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    mixing: float = parameter(0.6, "alpha: weight of a fresh update", unit="ratio", minimum=0.0, maximum=1.0)
    staleness: str = parameter(
        "polynomial", "how an update's weight falls with its age", choices=("constant", "hinge", "polynomial")
    )
    polynomial_a: float = parameter(0.5, "polynomial: (staleness + 1) ** -a", minimum=0.0)
    hinge_a: float = parameter(10.0, "hinge: 1 / (a * (staleness - b) + 1) above b", minimum=0.0)
    hinge_b: float = parameter(4.0, "hinge: staleness up to which an update has its full weight", minimum=0.0)
    proximal: float = parameter(0.005, "rho: pull of the local loss towards the model received", minimum=0.0)
    local_steps: int = parameter(20, "minibatches in a local phase", minimum=1)
    max_staleness: int = parameter(0, "updates older than so many versions are refused; 0: none is", minimum=0)
    rejoin_after_s: float = parameter(20.0, "a device that hears nothing asks again", unit="s", minimum=0.001)
    evaluate_every_s: float = parameter(5.0, "time between two evaluations", unit="s", minimum=0.001)
    checkpoint_every: int = parameter(10, "aggregations between two checkpoints of the coordinator", minimum=1)


@dataclass
class State:
    """What the coordinator knows: its model, and for every device what was sent last and what it answered last."""

    version: int
    model: Vector
    sent: dict[str, tuple[int, float]] = field(default_factory=dict)  # version and time (s)
    answered: dict[str, int] = field(default_factory=dict)  # version that its last update was made on


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Learn on the newest model, send the result, for ever."""
    assert node.coordinator is not None
    patience_s = params.rejoin_after_s
    await first_samples(node)
    await node.send(node.coordinator, "join", {})
    while True:
        newest = await newest_model(node, "base", patience_s)
        if newest is None:  # one of us may have been away, or a message was lost
            patience_s *= 2
            await node.send(node.coordinator, "join", {})
            continue
        base, model = newest
        patience_s = params.rejoin_after_s
        if await local_phase(node, params.local_steps, start=model, proximal=params.proximal):
            await node.send(node.coordinator, "update", {"base": base, "model": node.learner.weights()})


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Mix in whatever comes, answer with the new model; wait for nobody. Goes on from its checkpoint after a crash."""
    kept = node.restored()
    if kept is None:
        state = State(0, node.learner.weights())
    else:
        state = State(whole(kept, "version"), vector(kept, "model", node.learner.parameters))
        node.learner.load(state.model)
        for device in node.peers:
            await _send_model(node, device, state)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_evaluate_for_ever(node, params, state))
        while True:
            message = await node.receive()
            if message is None:
                continue
            if message.kind == "join":
                await _send_model(node, message.sender, state)
                continue
            try:
                base, update = _read(node, message, state)
            except RefusedError as refused:
                refuse(node, message, refused.reason)
                continue
            # A base from before a crash may be newer than the checkpoint: it is not stale.
            staleness = max(0, state.version - base)
            if params.max_staleness and staleness > params.max_staleness:
                refuse(node, message, "stale")
            else:
                await _mix_in(node, params, state, update, staleness, message.sender)
            await _send_model(node, message.sender, state)


def weight(params: Parameters, staleness: int) -> float:
    """alpha * s(staleness): what an update of that age weighs."""
    match params.staleness:
        case "hinge":
            return params.mixing * aggregate.hinge(staleness, params.hinge_a, params.hinge_b)
        case "polynomial":
            return params.mixing * aggregate.polynomial(staleness, params.polynomial_a)
        case _:
            return params.mixing * aggregate.constant(staleness)


async def _mix_in(
    node: NodeRuntime, params: Parameters, state: State, update: Vector, staleness: int, sender: str
) -> None:
    state.model = aggregate.mix(state.model, update, weight(params, staleness))
    node.learner.load(state.model)
    state.version += 1
    node.learner.load(state.model)  # what is tested when the run ends
    node.record("staleness", staleness)
    node.record("aggregated_updates", 1)
    node.record("version", state.version)
    base, sent_s = state.sent.get(sender, (-1, 0.0))
    if base == state.answered[sender]:
        node.record("update_age_s", node.now() - sent_s)
    if state.version % params.checkpoint_every == 0:
        await node.save({"version": state.version, "model": state.model})


async def _send_model(node: NodeRuntime, device: str, state: State) -> None:
    state.sent[device] = (state.version, node.now())
    await node.send(device, "model", {"base": state.version, "model": state.model})


async def _evaluate_for_ever(node: NodeRuntime, params: Parameters, state: State) -> None:
    evaluated = None
    while True:
        await node.sleep(params.evaluate_every_s)
        if state.version != evaluated:
            evaluated = state.version
            await evaluate(node, state.model)


def _read(node: NodeRuntime, message: Message, state: State) -> tuple[int, Vector]:
    if message.kind != "update":
        raise RefusedError("unknown_kind")
    base, update = whole(message.body, "base"), vector(message.body, "model", node.learner.parameters)
    if state.answered.get(message.sender) == base:
        raise RefusedError("duplicate")
    state.answered[message.sender] = base
    return base, update
