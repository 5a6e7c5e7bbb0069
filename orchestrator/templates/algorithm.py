"""MINE: an algorithm of one's own. As it stands, updates are mixed in as they come, and nobody waits for anybody.

    edgebed test-plugin MINE.py
    edgebed run smoke --plugin MINE.py --set learning.algorithm.name=MINE

Two coroutines say who tells whom what, when. All of the world comes through `node`: clock, messages, learner.
The same lines run in virtual time and as processes on emulated links, so use `node.now()` and `node.sleep()`, never a
clock or a random generator of your own (`node.rng` is the node's). docs/plugins.md has everything that `node` can do.
"""

from dataclasses import dataclass

from node_image import aggregate
from node_image.algorithms.exchange import RefusedError, refuse, vector
from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set: `algorithm: {name: MINE, mixing: 0.3}`. A time ends in _s here and is written `2 s`."""

    mixing: float = parameter(0.5, "what an update weighs in the new model", unit="ratio", minimum=0.0, maximum=1.0)
    local_steps: int = parameter(20, "minibatches in a local phase", minimum=1)
    ask_again_s: float = parameter(5.0, "a device that hears nothing asks again", unit="s", minimum=0.001)
    evaluate_every_s: float = parameter(2.0, "time between two evaluations", unit="s", minimum=0.001)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """A device's part, for as long as it lives. A device that crashed begins here again when it comes back."""
    assert node.coordinator is not None
    await first_samples(node)  # a stream may have brought none yet
    await node.send(node.coordinator, "ask", {})
    while True:
        message = await node.receive(params.ask_again_s)
        if message is None:  # one of us was away, or a message was lost: never wait for ever
            await node.send(node.coordinator, "ask", {})
            continue
        try:
            if message.kind != "model":
                raise RefusedError("unknown_kind")
            model = vector(message.body, "model", node.learner.parameters)
        except RefusedError as refused:  # what others send may be garbage: refuse it, and count it
            refuse(node, message, refused.reason)
            continue
        if await local_phase(node, params.local_steps, start=model):  # the work itself, charged to the device
            await node.send(node.coordinator, "update", {"model": node.learner.weights()})


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """The coordinator's part; where it returns, the run is over."""
    kept = node.restored()  # the checkpoint of a former life, after a crash
    model = node.learner.weights() if kept is None else vector(kept, "model", node.learner.parameters)
    version, evaluate_at_s = 0, node.now()
    while True:
        message = await node.receive()
        if message is None:
            continue
        try:
            if message.kind == "update":
                update = vector(message.body, "model", node.learner.parameters)
                model = aggregate.mix(model, update, params.mixing)  # (1 - mixing) model + mixing update
                version += 1
                node.learner.load(model)  # what is tested when the run ends
                node.record("aggregated_updates", 1)
                node.record("version", version)
                await node.save({"model": model})
            elif message.kind != "ask":
                raise RefusedError("unknown_kind")
        except RefusedError as refused:
            refuse(node, message, refused.reason)
            continue
        await node.send(message.sender, "model", {"model": model})
        if node.now() >= evaluate_at_s:
            await evaluate(node)
            evaluate_at_s = node.now() + params.evaluate_every_s
