"""MobileNetV2 and ResNet18: the sizes that their papers' networks have, at full width and at small ones."""

import pytest
import torch

from node_image.models import mobilenet_v2, resnet18
from node_image.models.images import scaled, strides
from node_image.network import Architecture, flatten
from node_image.neurons import neurons


def convolution_weights(architecture: Architecture) -> int:
    return sum(each.numel() for each in architecture.module.parameters() if each.dim() == 4)


@pytest.mark.parametrize(("width", "weights"), [(1.0, 2_189_760), (0.35, 288_864)])
def test_mobilenet_v2_has_as_many_convolution_weights_as_published(width: float, weights: int) -> None:
    architecture = mobilenet_v2.build(mobilenet_v2.Parameters(width=width), (3, 32, 32), 10)
    assert convolution_weights(architecture) == weights
    assert len(architecture.module) == 1 + 17 + 1 + 1


def test_resnet18_has_as_many_convolution_weights_as_published() -> None:
    architecture = resnet18.build(resnet18.Parameters(width=1.0), (3, 64, 64), 10)
    assert convolution_weights(architecture) == 11_166_912
    assert len(architecture.module) == 1 + 8 + 1 + 1


@pytest.mark.parametrize("shape", [(28, 28), (3, 32, 32), (3, 64, 64)])
def test_small_versions_score_every_class_of_small_images_and_learn_in_every_weight(shape: tuple[int, ...]) -> None:
    for built in (
        mobilenet_v2.build(mobilenet_v2.Parameters(width=0.1), shape, 7),
        resnet18.build(resnet18.Parameters(width=0.1), shape, 7),
    ):
        network = flatten(built)
        scores = network.module(torch.rand(2, *shape))
        assert scores.shape == (2, 7)
        scores.square().sum().backward()
        moved = [bool(network.gradients[part.start : part.end].any()) for part in network.parts]
        assert all(moved), [part.name for part, moves in zip(network.parts, moved, strict=True) if not moves]


def test_all_their_neurons_together_cost_the_published_number_of_weights() -> None:
    network = flatten(resnet18.build(resnet18.Parameters(width=1.0), (3, 32, 32), 10))
    assert neurons(network).parameters.sum() == 11_166_912


def test_how_often_an_image_is_halved_changes_its_size_inside_but_no_weight() -> None:
    networks = [
        flatten(mobilenet_v2.build(mobilenet_v2.Parameters(width=0.1, halvings=halvings), (3, 64, 64), 10))
        for halvings in (3, 5)
    ]
    assert [part.shape for part in networks[0].parts] == [part.shape for part in networks[1].parts]
    last = [network.layers[-2] for network in networks]
    assert last[0].outputs == 16 * last[1].outputs


def test_the_earliest_strides_are_given_up_first() -> None:
    assert strides(2, (True, False, True, True)) == (1, 1, 2, 2)
    assert strides(3, (True, False, True, True)) == (2, 1, 2, 2)


def test_channels_scale_to_multiples_of_eight_and_never_lose_more_than_a_tenth() -> None:
    assert [scaled(channels, 0.35) for channels in (16, 24, 32, 64, 96, 160, 320, 1280)] == [
        8, 8, 16, 24, 32, 56, 112, 448,
    ]  # fmt: skip


def test_samples_that_are_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="must be images"):
        resnet18.build(resnet18.Parameters(), (100,), 5)
