"""How a readout learns in the ways to distil: a local phase of H minibatches, and what it costs. Pure functions."""

import numpy as np

from node_image import readout
from node_image.algorithms.elabip_parameters import Parameters
from node_image.experience import Experience
from node_image.readout import Matrix
from node_image.runtime import Cost

TEACHING = 0.1  # p of a readout that learns answers and not labels: the coordinator's own, a full student's


def taught(params: Parameters, weights: Matrix, h: Matrix, targets: Matrix, rng: np.random.Generator) -> Matrix:
    """A readout after a phase's steps towards these targets, without logit adjustment."""
    used_to, none = readout.habit(h), np.zeros(len(weights), np.float32)
    for batch in readout.minibatches(len(h), params.batch_size, params.local_steps, rng):
        weights = readout.step(weights, h[batch], targets[batch], none, used_to, TEACHING, params.decay)
    return weights


def phase_cost(weights: Matrix, samples: int, steps: int, seen: Experience) -> Cost:
    """Work of so many steps of a readout on so many samples, and of three looks at those held out."""
    looked_at = 3 * len(seen.held_labels)  # accuracy before and after, divergence
    return Cost(weights.size * (2.0 * samples + looked_at), 10.0 * steps + 6.0)


def steps_cost(params: Parameters, weights: Matrix) -> Cost:
    """Work of H steps of a readout: 2 C D multiply-accumulates a sample, forward and Hebbian; ten operations a step."""
    samples = params.local_steps * params.batch_size
    return Cost(2.0 * weights.size * samples, 10.0 * params.local_steps)


def contrasted(
    params: Parameters,
    weights: Matrix,
    seen: Experience,
    prior: Matrix | None,
    plasticity: float,
    rng: np.random.Generator,
) -> tuple[Matrix, float]:
    """A readout after H contrastive Hebbian minibatches, and their mean cross-entropy.

    The clamped target leans by beta towards what the prior says of the samples (None: nothing, as beta is 0).
    """
    targets, total = readout.one_hot(seen.labels, len(weights)), 0.0
    if prior is not None:
        targets = readout.clamped(targets, prior, params.beta)
    for batch in readout.minibatches(len(seen.h), params.batch_size, params.local_steps, rng):
        h, wanted = seen.h[batch], targets[batch]
        total += readout.cross_entropy(readout.softmax(h @ weights.T + seen.log_prior), wanted)
        weights = readout.step(weights, h, wanted, seen.log_prior, seen.habit, plasticity, params.decay)
    return weights, total / params.local_steps


def half_and_half(
    params: Parameters,
    weights: Matrix,
    seen: Experience,
    taught_h: Matrix,
    taught_targets: Matrix,
    plasticity: float,
    rng: np.random.Generator,
) -> tuple[Matrix, float]:
    """A readout after H minibatches, half local samples with their labels, half taught ones without logit adjustment.

    Also their mean cross-entropy. Where nothing is taught (no rows) all samples are local.
    """
    h, targets = seen.h, readout.one_hot(seen.labels, len(weights))
    local = params.batch_size if not len(taught_h) else max(1, params.batch_size // 2)
    both = zip(
        readout.minibatches(len(h), local, params.local_steps, rng),
        readout.minibatches(max(1, len(taught_h)), max(1, params.batch_size - local), params.local_steps, rng),
        strict=True,
    )
    total = 0.0
    for own, told in both:
        rows, wanted, adjustment = h[own], targets[own], np.tile(seen.log_prior, (len(own), 1))
        if len(taught_h):
            rows, wanted = np.concatenate([rows, taught_h[told]]), np.concatenate([wanted, taught_targets[told]])
            adjustment = np.concatenate([adjustment, np.zeros((len(told), len(weights)), np.float32)])
        total += readout.cross_entropy(readout.softmax(rows @ weights.T + adjustment), wanted)
        weights = readout.step(weights, rows, wanted, adjustment, seen.habit, plasticity, params.decay)
    return weights, total / params.local_steps
