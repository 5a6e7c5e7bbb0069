"""Architectures: sizes that are published, costs that follow from the layers."""

import numpy as np
import pytest
import torch
from torch import nn

from node_image import registry
from node_image.network import flatten
from node_image.parameters import read

CASES = [
    ("linear", (8, 8), 10, 650),
    ("mlp", (8, 8), 10, 2_410),
    ("small_conv", (3, 32, 32), 10, 32_554),
    ("small_conv", (1, 32, 32), 10, 32_266),
    ("small_conv", (28, 28), 10, 32_266),
    ("small_conv", (8, 16, 16), 8, 33_016),
    ("small_conv", (100, 6), 5, 31_621),
]


def built(name: str, shape: tuple[int, ...], classes: int) -> tuple[nn.Module, int, int]:
    plugin = registry.MODELS[name]
    architecture = plugin.build(read(plugin.Parameters, {}), shape, classes)
    return architecture.module, architecture.macs, architecture.ops


@pytest.mark.parametrize(("name", "shape", "classes", "parameters"), CASES)
def test_a_model_has_its_number_of_parameters_and_scores_every_class(
    name: str, shape: tuple[int, ...], classes: int, parameters: int
) -> None:
    module, _, ops = built(name, shape, classes)
    assert sum(each.numel() for each in module.parameters()) == parameters
    assert module(torch.zeros(5, *shape)).shape == (5, classes)
    assert ops > 0


@pytest.mark.parametrize(("name", "shape", "classes", "parameters"), CASES)
def test_macs_are_those_that_the_layers_do(name: str, shape: tuple[int, ...], classes: int, parameters: int) -> None:
    module, macs, _ = built(name, shape, classes)
    counted = 0

    def count(layer: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(layer, nn.Linear):
            counted += layer.in_features * layer.out_features
        elif isinstance(layer, nn.Conv2d):
            counted += 9 * layer.in_channels * output[0].numel()

    for layer in module.modules():
        layer.register_forward_hook(count)
    module(torch.zeros(1, *shape))
    assert macs == counted


def test_a_flattened_model_computes_the_same_and_is_ruled_by_its_vector() -> None:
    architecture = registry.MODELS["mlp"].build(read(registry.MODELS["mlp"].Parameters, {}), (8, 8), 10)
    x = torch.rand(4, 8, 8)
    before = architecture.module(x).detach().clone()
    network = flatten(architecture)
    assert torch.equal(network.module(x), before)
    network.buffer[:] = 0
    assert torch.count_nonzero(network.module(x)) == 0
    assert network.weights.shape == network.gradients.shape == (2_410,)


def test_gradients_of_a_flattened_model_are_collected_in_one_vector() -> None:
    architecture = registry.MODELS["linear"].build(read(registry.MODELS["linear"].Parameters, {}), (4,), 2)
    network = flatten(architecture)
    network.module(torch.ones(1, 4)).sum().backward()
    np.testing.assert_array_equal(network.gradients.numpy(), np.ones(10))
