"""DRACO-like gossip in continuous time: every device computes, sends and mixes by clocks of its own.

The ideas are those of DRACO (Jeong and Kountouris 2024, arXiv 2406.13533): Poisson clocks, row-stochastic mixing, and
a bound on receptions. The equations are ours. Waits between two events of a clock are exponential:

    compute   H local steps on the own model w_i
    transmit  w_i to every neighbour, with the time it left, unless it is as it was the last time
    receive   into the inbox, which holds the newest of each sender; refused where it is older than Gamma, or where
              Psi were accepted in the present period P_u
    mix       w_i <- q w_i + sum_j q w_j over the m models in the inbox, q = 1 / (1 + m); the inbox is then empty

Rows sum to 1, columns need not: with equal models nothing changes, and with fixed q and no learning all come to
pi^T w(0), pi being the left Perron vector of q. Nobody waits for anybody. Periods in which one node's model
overwrites all others are left out.
"""

import asyncio
import math
from dataclasses import dataclass, field

from node_image.algorithms.exchange import RefusedError, Vector, refuse, vector
from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.algorithms.neighbours import neighbours_of, stand_by
from node_image.mixing import blend
from node_image.parameters import parameter
from node_image.runtime import Body, Message, NodeRuntime

AGE_PHASES = 3.0  # Gamma, and
PERIOD_PHASES = 2.0  # P_u, where they are not given: so many local phases of the device
ACCEPTED_PER_NEIGHBOUR = 2  # Psi, where it is not given


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set. Times of 0 follow the device: its last local phase took tau seconds."""

    local_steps: int = parameter(20, "H: minibatches in a local phase", minimum=1)
    compute_every_s: float = parameter(
        0.0, "1/lambda_comp: mean wait before a local phase; 0: tau", unit="s", minimum=0.0
    )
    transmit_every_s: float = parameter(
        0.0, "1/lambda_tx: mean time between two transmissions; 0: 2 tau", unit="s", minimum=0.0
    )
    mix_every_s: float = parameter(
        0.0, "mean time between two mixings; 0: before every local phase", unit="s", minimum=0.0
    )
    max_age_s: float = parameter(0.0, "Gamma: models older than that are refused; 0: 3 tau", unit="s", minimum=0.0)
    max_accepted: int = parameter(0, "Psi: models accepted in a period; 0: two for each neighbour", minimum=0)
    period_s: float = parameter(0.0, "P_u: length of a period; 0: 2 tau", unit="s", minimum=0.0)
    evaluate_every_s: float = parameter(
        10.0, "time between two evaluations of each device's own model; 0: only at the end", unit="s", minimum=0.0
    )
    checkpoint_every: int = parameter(10, "local phases between two checkpoints of each device", minimum=1)


@dataclass
class State:
    """What the clocks of a device share. `learner` holds its model; `lock` is held while that changes."""

    phase_s: float  # tau
    inbox: dict[str, Vector] = field(default_factory=dict)
    changed: bool = False  # since the last transmission
    period_began_s: float = -math.inf
    accepted: int = 0  # in this period
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """One local phase, to know tau; then four clocks, none of which waits for another."""
    kept = node.restored()
    if kept is not None:
        node.learner.load(vector(kept, "model", node.learner.parameters))
    await first_samples(node)
    begun_s = node.elapsed()
    await local_phase(node, params.local_steps)
    state = State(phase_s=node.elapsed() - begun_s, changed=True)
    async with asyncio.TaskGroup() as clocks:
        clocks.create_task(_receive(node, params, state))
        clocks.create_task(_compute(node, params, state))
        clocks.create_task(_transmit(node, params, state))
        if params.mix_every_s:
            clocks.create_task(_mix(node, params, state))


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Nothing to do: devices speak among themselves."""
    await stand_by(node)


async def _compute(node: NodeRuntime, params: Parameters, state: State) -> None:
    phases, evaluate_at = 1, node.now() + params.evaluate_every_s
    while True:
        await _tick(node, params.compute_every_s or state.phase_s)
        async with state.lock:
            if not params.mix_every_s:
                _mix_inbox(node, state)
            begun_s = node.elapsed()
            if await local_phase(node, params.local_steps):
                state.phase_s, state.changed = node.elapsed() - begun_s, True
                phases += 1
        if phases % params.checkpoint_every == 0:
            await node.save({"model": node.learner.weights()})
        if params.evaluate_every_s and node.now() >= evaluate_at:
            await evaluate(node)
            evaluate_at = node.now() + params.evaluate_every_s


async def _transmit(node: NodeRuntime, params: Parameters, state: State) -> None:
    while True:
        if state.changed:
            state.changed = False
            body: Body = {"sent_s": node.now(), "model": node.learner.weights()}
            for neighbour in neighbours_of(node):
                await node.send(neighbour, "model", body)
        await _tick(node, params.transmit_every_s or 2.0 * state.phase_s)


async def _mix(node: NodeRuntime, params: Parameters, state: State) -> None:
    while True:
        await _tick(node, params.mix_every_s)
        async with state.lock:
            _mix_inbox(node, state)


async def _receive(node: NodeRuntime, params: Parameters, state: State) -> None:
    while True:
        message = await node.receive()
        if message is None:
            continue
        try:
            state.inbox[message.sender] = _accept(node, params, state, message)
            node.record("gossip_exchanges", 1)
        except RefusedError as refused:
            refuse(node, message, refused.reason)


def _accept(node: NodeRuntime, params: Parameters, state: State, message: Message) -> Vector:
    neighbours = neighbours_of(node)
    if message.sender not in neighbours:
        raise RefusedError("stranger")
    if message.kind != "model":
        raise RefusedError("unknown_kind")
    sent_s, model = message.body.get("sent_s"), vector(message.body, "model", node.learner.parameters)
    if not isinstance(sent_s, float) or not math.isfinite(sent_s):
        raise RefusedError("wrong_field")
    if node.now() - sent_s > (params.max_age_s or AGE_PHASES * state.phase_s):
        raise RefusedError("stale")
    if node.now() >= state.period_began_s + (params.period_s or PERIOD_PHASES * state.phase_s):
        state.period_began_s, state.accepted = node.now(), 0
    if state.accepted >= (params.max_accepted or ACCEPTED_PER_NEIGHBOUR * len(neighbours)):
        raise RefusedError("quota")
    state.accepted += 1
    return model


def _mix_inbox(node: NodeRuntime, state: State) -> None:
    others, state.inbox = list(state.inbox.values()), {}
    if others:
        node.learner.load(blend(node.learner.weights(), others, [1.0 / (1 + len(others))] * len(others)))
        state.changed = True
    node.record("neighbours", len(others))


async def _tick(node: NodeRuntime, mean_s: float) -> None:
    """Wait for the next event of a Poisson clock."""
    await node.sleep(float(node.rng.exponential(mean_s)))
