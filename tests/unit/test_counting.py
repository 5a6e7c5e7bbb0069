"""What learning costs: the published table by formula, and the formula against counters that watch the real thing."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from node_image import registry
from node_image.counting import Macs, backprop_kept, backprop_macs, latents, lls_kept, lls_macs
from node_image.network import Constraint, Layer, Network, flatten
from node_image.parameters import read
from tests.kept import kept

BATCH = 4
IMAGE = (3, 32, 32)


def built(model: str, classes: int = 10, rule: str = "lls") -> Network:
    torch.manual_seed(0)
    architecture = registry.MODELS[model].build(read(registry.MODELS[model].Parameters, {}), IMAGE, classes)
    plugin = registry.RULES[rule]
    plugin.adapt(read(plugin.Parameters, {}), architecture.module, IMAGE, classes)
    return flatten(architecture)


def counted_macs(network: Network, rule: str) -> float:
    """Of one step, a sample, as torch counts them."""
    plugin = registry.RULES[rule]
    step = plugin.begin(read(plugin.Parameters, {}), network, Constraint())
    with FlopCounterMode(display=False) as counter:
        step(torch.rand(BATCH, *IMAGE), torch.arange(BATCH))
    return float(counter.get_total_flops()) / 2 / BATCH


def kept_elements(network: Network, rule: str) -> float:
    """At most, in one step, a sample; everything that autograd saves counts as 4-byte elements."""
    plugin = registry.RULES[rule]
    step = plugin.begin(read(plugin.Parameters, {}), network, Constraint())
    with kept(network) as counter:
        step(torch.rand(BATCH, *IMAGE), torch.arange(BATCH))
    assert counter.now_bytes == 0
    return counter.peak_bytes / 4 / BATCH


@pytest.mark.parametrize(
    ("model", "classes", "forward", "backward_signal", "local_signal"),
    [
        ("lls_conv", 10, 10_589_184, 9_704_448, 35_840),
        ("lls_conv", 100, 10_635_264, 9_750_528, 358_400),
        ("vgg8", 10, 722_872_320, 719_333_376, 204_800),
        ("vgg8", 100, 722_964_480, 719_425_536, 2_048_000),
    ],
)
def test_the_published_networks_have_the_table_of_multiply_accumulates(
    model: str, classes: int, forward: int, backward_signal: int, local_signal: int
) -> None:
    network = built(model, classes)
    lengths = latents(network.module, network.shape, 4, 2)
    assert backprop_macs(network.layers) == Macs(forward, forward, backward_signal)
    assert lls_macs(network.layers, lengths, classes) == Macs(forward, forward, local_signal)


@pytest.mark.parametrize(
    ("model", "classes", "signal_ratio", "total_ratio"),
    [("lls_conv", 10, 271, 1.46), ("lls_conv", 100, 27, 1.43), ("vgg8", 10, 3512, 1.50), ("vgg8", 100, 351, 1.50)],
)
def test_the_signal_is_hundreds_of_times_cheaper_and_learning_as_a_whole_half_as_much_again(
    model: str, classes: int, signal_ratio: int, total_ratio: float
) -> None:
    network = built(model, classes)
    back = backprop_macs(network.layers)
    local = lls_macs(network.layers, latents(network.module, network.shape, 4, 2), classes)
    assert round(back.signal / local.signal) == signal_ratio
    assert round(back.total / local.total, 2) == total_ratio


@pytest.mark.parametrize(
    ("model", "parameters", "lengths", "all_kept", "most_kept"),
    [
        ("lls_conv", 361_034, [512, 256, 512, 512], 131_584, 68_608),
        ("vgg8", 7_127_306, [2048, 1024, 1024, 1024, 2048, 2048, 1024], 1_424_384, 655_360),
    ],
)
def test_the_published_networks_have_their_parameters_latents_and_activations(
    model: str, parameters: int, lengths: list[int], all_kept: int, most_kept: int
) -> None:
    network = built(model)
    assert len(network.weights) == parameters
    assert list(latents(network.module, network.shape, 4, 2).values()) == lengths
    assert (backprop_kept(network.layers), lls_kept(network.layers)) == (all_kept, most_kept)


@pytest.mark.parametrize("model", ["lls_conv", "small_conv", "mlp"])
def test_torch_counts_the_multiply_accumulates_of_the_formulas(model: str) -> None:
    network = built(model)
    lengths = latents(network.module, network.shape, 4, 2)
    assert counted_macs(network, "backprop") == backprop_macs(network.layers).total
    assert counted_macs(network, "lls") == lls_macs(network.layers, lengths, 10).total
    mixed = built(model, rule="lls_mxm")
    assert counted_macs(mixed, "lls_mxm") == lls_macs(network.layers, lengths, 10, mixing=100).total


@pytest.mark.parametrize("model", ["lls_conv", "vgg8"])
def test_really_kept_is_as_much_less_as_the_formula_says(model: str) -> None:
    """Pooling and a block's own output are kept too, which the formula leaves out on both sides."""
    network = built(model)
    back, local = kept_elements(network, "backprop"), kept_elements(network, "lls")
    largest = max(layer.inputs + 3 * layer.outputs for layer in network.layers[:-1])
    assert local == pytest.approx(largest, rel=0.001)
    assert backprop_kept(network.layers) < back < 1.7 * backprop_kept(network.layers)
    assert back / local == pytest.approx(backprop_kept(network.layers) / lls_kept(network.layers), rel=0.12)


LAYERS = (
    Layer("0.0", 0, "conv", 100, 10, 20),
    Layer("1.0", 1, "conv", 40, 20, 20, groups=20),
    Layer("1.2", 1, "conv", 80, 20, 30),
    Layer("2", 2, "linear", 60, 30, 2),
)


def test_inside_a_block_of_several_layers_the_signal_goes_back() -> None:
    found = lls_macs(LAYERS, {0: 8, 1: 12}, rows=2)
    assert found == Macs(280, 280, signal=80 + 2 * 2 * (8 + 12))
    assert lls_kept(LAYERS) == (20 + 2 * 20) + (20 + 2 * 30)


def test_a_block_that_does_not_learn_costs_its_forward_pass_alone() -> None:
    assert lls_macs(LAYERS, {0: 8, 1: 12}, rows=2, learning={0}) == Macs(280, 100, signal=32)
    assert lls_macs(LAYERS, {0: 8, 1: 12}, rows=2, mixing=4, learning={2}) == Macs(280, 60, signal=0)


def test_the_parameters_of_the_variants_are_used_three_times_a_sample() -> None:
    plain, mixed = lls_macs(LAYERS, {0: 8, 1: 12}, 2), lls_macs(LAYERS, {0: 8, 1: 12}, 2, mixing=4)
    assert mixed.total - plain.total == 2 * 3 * 4


def test_a_model_without_blocks_keeps_nothing() -> None:
    assert lls_kept(LAYERS[-1:]) == backprop_kept(LAYERS[-1:]) == 0
    assert backprop_macs(LAYERS[-1:]) == Macs(60, 60, 0)
