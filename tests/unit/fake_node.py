"""A real node process that learns nothing: `python -m tests.unit.fake_node SPEC.json PORT`.

All of it is as in production but the learner (no torch, no data) and one more algorithm, `fake`, which does what its
parameter says.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from node_image import __main__, learner, registry
from node_image.learner import Learner
from node_image.outcomes import Evaluation
from node_image.parameters import parameter
from node_image.runtime import Cost, NodeRuntime
from node_image.spec import NodeSpec


@dataclass(frozen=True)
class Parameters:
    """What the fake algorithm does."""

    act: str = parameter("converse", "what to do")


async def device(node: NodeRuntime, params: Parameters) -> None:
    """One device's act."""
    match params.act:
        case "converse":
            assert node.coordinator is not None
            await node.send(node.coordinator, "update", {"samples": 3, "model": np.arange(10, dtype=np.float32)})
            answer = await node.receive()
            assert answer is not None
            node.record("round", float(cast(int, answer.body["round"])))
        case "raise":
            raise RuntimeError("the algorithm gave up")
        case "diverge":
            node.record("train_loss", float("nan"))
        case "time out":
            raise TimeoutError("of the algorithm's own")
        case "print":
            os.write(1, b"a library talks\n")
            await node.sleep(3600)
        case "compute":
            await node.compute(lambda: time.sleep(3600), Cost(0, 0))
        case _:
            await node.sleep(3600)


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Answer one update."""
    update = await node.receive()
    assert update is not None
    node.record("aggregated_updates", 1)
    await node.send(update.sender, "model", {"round": 1})


def build(spec: NodeSpec) -> Learner:
    """A learner whose test result depends on the device alone."""
    fake: Any = SimpleNamespace(
        parameters=10,
        untouched=False,
        changes=(),
        weights=lambda: np.zeros(10, np.float32),
        evaluate=lambda: Evaluation(0.5 + 0.1 * spec.index, loss=float("inf"), top_k={3: 0.9}, samples=4),
    )
    return cast(Learner, fake)


if __name__ == "__main__":
    learner.build = build
    cast(dict[str, Any], registry.ALGORITHMS)["fake"] = sys.modules["__main__"]
    os._exit(__main__.serve(NodeSpec.from_json(Path(sys.argv[1]).read_text()), port=int(sys.argv[2])))
