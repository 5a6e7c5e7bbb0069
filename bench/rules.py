"""One local step of each rule on the LLS paper's small network: time and memory beside back-propagation's.

`python -m bench.rules`. Kept activations are the bytes that autograd really saves, at most, beside the formula's
figure; resident memory is what one step of a large minibatch adds to a process of its own.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.figures import Figure, show
from node_image import registry
from node_image.counting import backprop_kept, backprop_macs, latents, lls_kept, lls_macs
from node_image.network import Constraint, Network, Step, flatten
from node_image.parameters import read
from tests.kept import kept

SHAPE, CLASSES = (3, 32, 32), 10
BATCH, LARGE_BATCH = 32, 512
TIMES = 15
RULES = [name for name in ("backprop", "lls", "lls_mxm", "softhebb") if name in registry.RULES]


def prepared(rule: str) -> tuple[Network, Step]:
    """The model with what the rule adds, and its step, which has run once on two samples."""
    torch.manual_seed(0)
    model, plugin = registry.MODELS["lls_conv"], registry.RULES[rule]
    architecture, params = model.build(read(model.Parameters, {}), SHAPE, CLASSES), read(plugin.Parameters, {})
    plugin.adapt(params, architecture.module, SHAPE, CLASSES)
    network = flatten(architecture)
    step = plugin.begin(params, network, Constraint())
    step(*minibatch(2))
    return network, step


def minibatch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise and labels."""
    return torch.rand(size, *SHAPE), torch.arange(size) % CLASSES


def times_ms() -> dict[str, float]:
    """Milliseconds of a step: the best of each rule, taken in turn."""
    steps, (x, y) = {rule: prepared(rule)[1] for rule in RULES}, minibatch(BATCH)
    took: dict[str, list[float]] = {rule: [] for rule in RULES}
    for _ in range(TIMES):
        for rule, step in steps.items():
            began = time.process_time()
            step(x, y)
            took[rule].append(1e3 * (time.process_time() - began))
    return {rule: min(values) for rule, values in took.items()}


def kept_bytes(rule: str) -> int:
    """Activations that autograd holds at most, in a step."""
    network, step = prepared(rule)
    with kept(network) as counter:
        step(*minibatch(BATCH))
    return counter.peak_bytes


def added_bytes(rule: str) -> int:
    """The peak of this process's memory in one step of a large minibatch, above what it holds before the step."""
    _, step = prepared(rule)
    x, y = minibatch(LARGE_BATCH)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    step(x, y)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resource.getpagesize() * pages


def added_bytes_alone(rule: str) -> int:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "bench.rules", rule]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def figures() -> Iterator[Figure]:
    """Three figures a rule other than back-propagation, in per cent of it."""
    network, _ = prepared("backprop")
    back = backprop_macs(network.layers)
    local = lls_macs(network.layers, latents(network.module, SHAPE, 4, 2), CLASSES)
    formulas = f"of the MACs by formula {100 * local.total / back.total:.0f} %"
    elements = f"of the elements by formula {100 * lls_kept(network.layers) / backprop_kept(network.layers):.0f} %"
    took, held = times_ms(), {rule: kept_bytes(rule) for rule in RULES}
    added = {rule: added_bytes_alone(rule) for rule in RULES}
    for rule in RULES[1:]:
        by_lls = rule.startswith("lls")
        for what, values, unit, scale, formula in (
            ("step, CPU time", took, "ms", 1.0, formulas),
            ("activations kept", held, "MB", 1e-6, elements),
            (f"resident memory added, {LARGE_BATCH} samples", added, "MB", 1e-6, elements),
        ):
            mine, others = values[rule], values["backprop"]
            beside = f"{scale * mine:.1f} {unit}, backprop {scale * others:.1f} {unit}"
            beside += f"; {formula}" if by_lls else ""
            yield Figure(f"{rule}: {what}, of backprop's", 100 * mine / others, "%", 100.0, beside=beside)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        sys.stdout.write(f"{added_bytes(sys.argv[1])}\n")
    else:
        for each in figures():
            show(each)
