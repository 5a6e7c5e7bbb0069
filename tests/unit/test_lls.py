"""LLS, LLS-M and LLS-MxM: local in what they learn from, and learning."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from node_image import registry
from node_image.learner import build
from node_image.local_signal import KINDS, basis, pooled
from node_image.network import Architecture, Constraint, Network, flatten
from node_image.parameters import read
from node_image.rules.lls import mixing_of
from node_image.spec import Chosen
from tests.kept import kept
from tests.unit.learners import node_spec

torch.set_num_threads(1)  # as a node has it; more only disturb each other on layers this small
RULES = ("lls", "lls_m", "lls_mxm")
IMAGE, CLASSES = (2, 8, 8), 5
Y = torch.arange(20) % CLASSES
SHADES = torch.rand(CLASSES, *IMAGE, generator=torch.Generator().manual_seed(0))
X = 0.5 * SHADES[Y] + 0.5 * torch.rand(20, *IMAGE, generator=torch.Generator().manual_seed(1))
FREE = Constraint()


def module(last: int = 12) -> nn.Sequential:
    """A convolution, a depthwise-separable block, a block without weights, a linear block, a head."""
    separable = nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.LeakyReLU(), nn.Conv2d(6, 8, 1), nn.LeakyReLU())
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.GroupNorm(1, 6), nn.LeakyReLU()),
        separable,
        nn.Sequential(nn.MaxPool2d(2), nn.Flatten()),
        nn.Sequential(nn.Linear(72, last), nn.LeakyReLU()),
        nn.Linear(last, CLASSES),
    )


def parameters(rule: str, **given: Any) -> Any:
    return read(registry.RULES[rule].Parameters, given)


def adapted(rule: str, params: Any, built: nn.Sequential | None = None) -> Network:
    torch.manual_seed(3)
    built = module() if built is None else built
    registry.RULES[rule].adapt(params, built, IMAGE, CLASSES)
    return flatten(Architecture(built, IMAGE))


def stepped(network: Network, rule: str, params: Any, steps: int = 1, constraint: Constraint = FREE) -> torch.Tensor:
    step = registry.RULES[rule].begin(params, network, constraint)
    for _ in range(steps):
        step(X, Y)
    return network.weights.clone()


def part_of(network: Network, child: int) -> slice:
    places = [part for part in network.parts if part.child == child]
    return slice(places[0].start, places[-1].end)


def local_loss(output: torch.Tensor, size: int, mixing: nn.Parameter | None, waves: str = "square") -> torch.Tensor:
    latent = pooled(output, size)
    if waves != "random":
        latent = nn.functional.normalize(latent, dim=1)
    q = latent @ basis(waves, CLASSES if mixing is None else len(mixing), latent.shape[1]).T
    if mixing is not None:
        q = q @ mixing if mixing.dim() == 2 else q * mixing
    return cross_entropy(q / 0.5, Y)


def reference(network: Network, given: dict[str, Any], steps: int) -> torch.Tensor:
    """The same as torch would have it: an optimiser for each block, autograd through the local loss as published."""
    children = [child for child in network.module if list(child.parameters())]
    optimisers = [torch.optim.SGD(child.parameters(), lr=given["lr"], momentum=given["momentum"]) for child in children]
    for _ in range(steps):
        x = X
        for number, child in enumerate(network.module):
            output = child(x.detach())
            if child in children:
                last = child is network.head
                loss = cross_entropy(output, Y) if last else local_loss(output, 2 if number else 4, mixing_of(child))
                optimiser = optimisers[children.index(child)]
                optimiser.zero_grad(set_to_none=False)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
                optimiser.step()
            x = output
    return network.weights.clone()


@pytest.mark.parametrize("rule", [*RULES, "reduced"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_one_optimiser_a_block_on_the_published_loss(rule: str, momentum: float) -> None:
    given = {"reduced": 3} if rule == "reduced" else {}
    name = "lls_mxm" if given else rule
    params = parameters(name, learning_rate=0.3, momentum=momentum, **given)
    ours = stepped(adapted(name, params), name, params, steps=4)
    theirs = reference(adapted(name, params), {"lr": 0.3, "momentum": momentum}, 4)
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_the_loss_is_that_of_the_whole_model_before_the_step(rule: str) -> None:
    params = parameters(rule)
    network = adapted(rule, params)
    expected = cross_entropy(network.module(X), Y).detach()
    assert torch.equal(registry.RULES[rule].begin(params, network, FREE)(X, Y), expected)


@pytest.mark.parametrize("rule", RULES)
def test_a_block_learns_the_same_whatever_comes_after_it(rule: str) -> None:
    params = parameters(rule, learning_rate=0.5)
    whole, other = adapted(rule, params), adapted(rule, params)
    first = part_of(whole, 0)
    other.weights[first.stop :] = torch.randn(len(other.weights) - first.stop)
    short = flatten(
        Architecture(nn.Sequential(adapted(rule, params).module[0], nn.Flatten(), nn.Linear(384, 5)), IMAGE)
    )
    found = [stepped(network, rule, params, 3)[first] for network in (whole, other, short)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("rule", ["lls_m", "lls_mxm"])
def test_a_mixing_of_ones_or_the_identity_learns_as_plain_lls(rule: str) -> None:
    params = parameters(rule, learning_rate=0.5)
    network, plain = adapted(rule, params), adapted("lls", parameters("lls"))
    for mine, theirs in zip(network.blocks, plain.blocks, strict=True):
        if (mixing := mixing_of(mine)) is not None:
            mixing.data.copy_(torch.ones(CLASSES) if rule == "lls_m" else torch.eye(CLASSES))
            own = [each for each in mine.parameters() if each is not mixing]
            for weight, other in zip(own, theirs.parameters(), strict=True):
                weight.data.copy_(other)
    network.weights[network.head_start :] = plain.weights[plain.head_start :]
    stepped(network, rule, params)
    stepped(plain, "lls", parameters("lls", learning_rate=0.5))
    named = dict(network.module.named_parameters())
    for name, weight in plain.module.named_parameters():
        torch.testing.assert_close(named[name], weight, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("rule", "given", "more"), [("lls", {}, 0), ("lls_m", {}, 5), ("lls_mxm", {}, 25), ("lls_mxm", {"reduced": 2}, 10)]
)
def test_every_block_with_weights_has_its_few_parameters_more(rule: str, given: dict[str, Any], more: int) -> None:
    network = adapted(rule, parameters(rule, **given))
    assert len(network.weights) - sum(each.numel() for each in module().parameters()) == 3 * more
    assert network.head_start == part_of(network, 4).start


@pytest.mark.parametrize("rule", RULES)
def test_weights_that_may_not_move_stay_to_the_bit(rule: str) -> None:
    params = parameters(rule, learning_rate=0.5, momentum=0.9)
    before = adapted(rule, params).weights
    trainable = np.random.default_rng(0).random(len(before)) < 0.5
    trainable[: part_of(adapted(rule, params), 0).stop] = False
    after = stepped(adapted(rule, params), rule, params, 3, Constraint(proximal=0.1, trainable=trainable))
    assert torch.equal(after[~torch.from_numpy(trainable)], before[~torch.from_numpy(trainable)])
    assert (after != before)[torch.from_numpy(trainable)].float().mean() > 0.9


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("features", [True, False])
def test_features_or_the_head_learn_alone_where_the_other_is_held(rule: str, features: bool) -> None:
    params = parameters(rule, learning_rate=0.5)
    network, free = adapted(rule, params), adapted(rule, params)
    before = network.weights.clone()
    learns = (np.arange(len(before)) < network.head_start) == features
    after = stepped(network, rule, params, 1, Constraint(trainable=learns))
    mask = torch.from_numpy(learns)
    assert torch.equal(after[~mask], before[~mask])
    torch.testing.assert_close(after[mask], stepped(free, rule, params)[mask])


@pytest.mark.parametrize("rule", RULES)
def test_the_proximal_term_has_no_say_in_the_first_step_and_holds_back_the_later_ones(rule: str) -> None:
    params, held = parameters(rule, learning_rate=0.3), Constraint(proximal=1.0)
    start = adapted(rule, params).weights
    moved = [stepped(adapted(rule, params), rule, params, n, c) for n in (1, 20) for c in (FREE, held)]
    assert torch.equal(moved[0], moved[1])
    assert (moved[3] - start).norm() < 0.8 * (moved[2] - start).norm()


def test_activations_of_one_block_at_a_time_are_kept() -> None:
    params = parameters("lls")
    network, alone = adapted("lls", params), []
    for child in range(4):
        trainable = np.zeros(len(network.weights), bool)
        if any(part.child == child for part in network.parts):
            trainable[part_of(network, child)] = True
        with kept(network) as counter:
            registry.RULES["lls"].begin(params, network, Constraint(trainable=trainable))(X, Y)
        alone.append(counter.peak_bytes)
    with kept(network) as counter:
        registry.RULES["lls"].begin(params, network, FREE)(X, Y)
    assert counter.peak_bytes == max(alone)


@pytest.mark.parametrize("rule", ["lls", "lls_mxm"])
@pytest.mark.parametrize("held", [(), (0,), (1, 4), (0, 1, 3)])
def test_a_step_costs_the_multiply_accumulates_that_torch_counts(rule: str, held: tuple[int, ...]) -> None:
    params = parameters(rule)
    network = adapted(rule, params)
    trainable = np.ones(len(network.weights), bool)
    for child in held:
        trainable[part_of(network, child)] = False
    constraint = Constraint(trainable=trainable)
    step = registry.RULES[rule].begin(params, network, constraint)
    with FlopCounterMode(display=False) as counter:
        step(X, Y)
    cost = registry.RULES[rule].cost(params, network, constraint, samples=len(X), steps=1)
    # Torch takes the weight gradient of a convolution in groups for that of a dense one.
    grouped = [layer for layer in network.layers if layer.groups > 1 and layer.child not in held]
    too_many = sum((layer.groups - 1) * layer.macs for layer in grouped) * len(X)
    assert cost.macs == counter.get_total_flops() / 2 - too_many
    assert cost.ops > 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("waves", KINDS)
def test_a_block_lowers_its_own_loss_with_every_basis(rule: str, waves: str) -> None:
    params = parameters(rule, learning_rate=0.3, basis=waves)
    network = adapted(rule, params)
    losses = []
    for _ in range(3):
        with torch.no_grad():
            output = network.blocks[0](X)
        losses.append(float(local_loss(output, 4, mixing_of(network.blocks[0]), waves).detach()))
        stepped(network, rule, params, 10)
    assert losses[0] > losses[1] > losses[2]


def learnt(model: str, rule: str, learning_rate: float) -> float:
    """Accuracy on digits of one device that has all of them, after 300 steps."""
    spec = replace(node_spec(devices=1, model=model), rule=Chosen(rule, {"learning_rate": learning_rate}))
    learner = build(spec)
    before = learner.weights()
    learner.train(300, 0.0, np.random.default_rng(0))
    assert not np.array_equal(learner.weights(), before)
    return learner.evaluate().accuracy


@pytest.mark.parametrize(
    ("model", "learning_rate", "rules"), [("mlp", 0.1, RULES), ("small_conv", 0.05, ("lls", "lls_mxm"))]
)
def test_digits_are_learnt_within_a_few_points_of_back_propagation(
    model: str, learning_rate: float, rules: tuple[str, ...]
) -> None:
    backprop = learnt(model, "backprop", learning_rate)
    assert backprop > 0.9
    for rule in rules:
        assert learnt(model, rule, learning_rate) > backprop - 0.05


@pytest.mark.parametrize("model", ["lls_conv", "mobilenet_v2", "resnet18"])
def test_deep_models_of_any_blocks_take_a_step(model: str) -> None:
    plugin = registry.MODELS[model]
    built = plugin.build(read(plugin.Parameters, {}), (3, 32, 32), 4)
    params = parameters("lls_mxm")
    registry.RULES["lls_mxm"].adapt(params, built.module, built.shape, 4)
    network = flatten(built)
    before = network.weights.clone()
    step = registry.RULES["lls_mxm"].begin(params, network, FREE)
    assert torch.isfinite(step(torch.rand(4, 3, 32, 32), torch.arange(4)))
    assert all((network.weights != before)[part.start : part.end].any() for part in network.parts)
