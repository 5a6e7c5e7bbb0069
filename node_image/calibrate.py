"""How long one local step takes on this host: CPU time of this thread, with nothing held back."""

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from node_image.learner import Learner

WARM_UP_STEPS = 3
ROUNDS = 7
ROUND_S = 0.08
ALL_ARRIVED_S = 1e9  # late enough that the whole stream is there


def calibrate(learner: "Learner") -> dict[str, float]:
    """Run local steps for about half a second and put the weights back.

    Returns host_s, the CPU seconds of one step (the least of several rounds: noise only ever adds), and the step's
    cost in macs and ops.
    """
    before = learner.weights()
    rng = np.random.default_rng(0)
    learner.train(WARM_UP_STEPS, ALL_ARRIVED_S, rng)
    best = float("inf")
    for _ in range(ROUNDS):
        began, steps = time.thread_time(), 0
        while time.thread_time() - began < ROUND_S:
            learner.train(1, ALL_ARRIVED_S, rng)
            steps += 1
        best = min(best, (time.thread_time() - began) / steps)
    learner.load(before)
    cost = learner.cost(1, ALL_ARRIVED_S)
    return {"host_s": best, "macs": cost.macs, "ops": cost.ops}
