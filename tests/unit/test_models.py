"""Architectures: sizes that are published, costs that follow from the layers."""

import numpy as np
import pytest
import torch
from torch import nn

from node_image import registry
from node_image.network import Architecture, Network, flatten
from node_image.outcomes import UnfitError
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


def built(name: str, shape: tuple[int, ...], classes: int) -> Network:
    plugin = registry.MODELS[name]
    return flatten(plugin.build(read(plugin.Parameters, {}), shape, classes))


@pytest.mark.parametrize(("name", "shape", "classes", "parameters"), CASES)
def test_a_model_has_its_number_of_parameters_and_scores_every_class(
    name: str, shape: tuple[int, ...], classes: int, parameters: int
) -> None:
    network = built(name, shape, classes)
    assert len(network.weights) == parameters
    assert network.module(torch.zeros(5, *shape)).shape == (5, classes)
    assert network.ops > 0


@pytest.mark.parametrize(("name", "shape", "classes", "parameters"), CASES)
def test_macs_are_those_that_the_layers_do(name: str, shape: tuple[int, ...], classes: int, parameters: int) -> None:
    network = built(name, shape, classes)
    counted = 0

    def count(layer: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(layer, nn.Linear):
            counted += layer.in_features * layer.out_features
        elif isinstance(layer, nn.Conv2d):
            counted += 9 * layer.in_channels * output[0].numel()

    for layer in network.module.modules():
        layer.register_forward_hook(count)
    network.module(torch.zeros(1, *shape))
    assert network.macs == counted


def test_the_parts_are_the_tensors_in_their_places_and_the_head_is_the_last_of_them() -> None:
    network = built("small_conv", (28, 28), 10)
    for part, (name, tensor) in zip(network.parts, network.module.named_parameters(), strict=True):
        assert part.name == name
        assert torch.equal(network.weights[part.start : part.end].view(part.shape), tensor)
    head = network.weights[network.head_start :]
    assert torch.equal(head[:-10].view(10, network.features), network.head.weight)
    assert torch.equal(head[-10:], network.head.bias)
    assert len(network.blocks) == 4
    assert {part.child for part in network.parts} == {0, 1, 2, 3, 4}


def test_a_model_without_a_linear_head_is_refused() -> None:
    with pytest.raises(TypeError, match="linear head"):
        flatten(Architecture(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (3,)))


def test_samples_too_small_for_a_model_are_refused() -> None:
    with pytest.raises(UnfitError, match=r"samples of shape \(3, 3\) do not pass through the model: .*too small"):
        built("vgg8", (3, 3), 10)


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
