"""Hebbian rules against closed forms and worked numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from node_image import hebbian

torch.set_num_threads(1)  # as learners have it; two threads on shared cores are many times slower


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def softhebb(x: Tensor, w: Tensor) -> Tensor:
    u = x @ w.T
    return hebbian.softhebb(x, u, w, hebbian.signed(hebbian.activity(u, 1.0)))


# What a layer sees and answers


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 4),
        nn.Conv2d(2, 5, 3, padding=1),
        nn.Conv2d(2, 5, (3, 5), stride=2, padding=(0, 2), padding_mode="reflect", bias=False),
        nn.Conv2d(2, 5, 3, dilation=2),
    ],
)
def test_what_a_layer_sees_times_its_weights_is_what_it_answers(layer: nn.Linear | nn.Conv2d) -> None:
    x = noise(3, 6) if isinstance(layer, nn.Linear) else noise(3, 2, 8, 9)
    seen = hebbian.patches(x, layer).flatten(0, 1)
    torch.testing.assert_close(seen @ layer.weight.flatten(1).T, hebbian.answers(layer(x), layer))


def test_a_convolution_in_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="one group"):
        hebbian.patches(noise(1, 4, 8, 8), nn.Conv2d(4, 4, 3, groups=4))


# SoftHebb


def test_the_winner_learns_and_all_others_unlearn() -> None:
    a = hebbian.activity(torch.tensor([[1.0, 3.0, 2.0]]), kappa=1.0)
    torch.testing.assert_close(hebbian.signed(a), torch.tensor([[-0.0900306, 0.6652410, -0.2447285]]))


def test_softhebb_is_its_equation() -> None:
    x, w = noise(7, 4), noise(3, 4, seed=1)
    u = x @ w.T
    s = hebbian.signed(hebbian.activity(u, 1.0))
    expected = torch.zeros(3, 4)
    for n in range(7):
        for j in range(3):
            expected[j] += s[n, j] * (x[n] - u[n, j] * w[j])
    torch.testing.assert_close(hebbian.softhebb(x, u, w, s), expected)


def test_without_input_nothing_changes() -> None:
    assert torch.count_nonzero(softhebb(torch.zeros(5, 4), noise(3, 4))) == 0


@given(seed=st.integers(0, 10_000), norm=st.floats(0.2, 3.0))
@settings(max_examples=40, deadline=None)
def test_the_norm_of_a_units_weights_moves_towards_one_where_the_unit_learns(seed: int, norm: float) -> None:
    # d||w||^2/dt = 2 w.dw = 2 s u (1 - ||w||^2) for one sample
    x, w = noise(1, 6, seed=seed), noise(4, 6, seed=seed + 1)
    w = norm * w / w.norm(dim=1, keepdim=True)
    u = x @ w.T
    s = hebbian.signed(hebbian.activity(u, 1.0))
    growth = 2 * (w * hebbian.softhebb(x, u, w, s)).sum(dim=1)
    torch.testing.assert_close(growth, (2 * s * u)[0] * (1 - norm**2), atol=2e-5, rtol=1e-3)


def test_a_unit_of_norm_one_is_no_longer_plastic() -> None:
    w = torch.tensor([[0.6, 0.8], [3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(hebbian.rate(w, 0.1), torch.tensor([[0.0], [0.2], [0.1]]), atol=1e-4, rtol=0.0)


def test_a_change_is_scaled_to_a_greatest_element_of_one_and_no_change_stays_none() -> None:
    assert torch.equal(hebbian.scaled(torch.tensor([[1.0, -4.0]])), torch.tensor([[0.25, -1.0]]))
    assert torch.equal(hebbian.scaled(torch.zeros(2, 2)), torch.zeros(2, 2))


def test_a_triangle_passes_on_what_is_above_the_mean_of_the_channels() -> None:
    passed = hebbian.triangle(torch.tensor([[1.0, 2.0, 6.0]]), rho=0.5)
    torch.testing.assert_close(passed, torch.tensor([[0.0, 0.0, 3.0**0.5]]))


# Oja and GHA


def gaussian(samples: int, size: int) -> tuple[Tensor, Tensor]:
    """Samples of a Gaussian with variances 4, 2, 1, 1/2, ... along the rows of the second result."""
    axes, _ = torch.linalg.qr(noise(size, size, seed=5))
    scale = 2.0 * torch.tensor([2.0 ** (-k / 2) for k in range(size)])
    return (noise(samples, size, seed=6) * scale) @ axes, axes


def test_a_single_linear_unit_with_s_equal_to_u_finds_the_first_principal_component() -> None:
    data, axes = gaussian(12_000, 6)
    w = 0.1 * noise(1, 6, seed=7)
    for x in data.view(-1, 20, 6):
        u = x @ w.T
        w = w + 0.01 / 20 * hebbian.softhebb(x, u, w, s=u)
    assert abs(float(w[0] @ axes[0]) / float(w.norm())) > 0.99
    assert float(w.norm()) == pytest.approx(1.0, abs=0.03)


def test_ojas_rule_is_softhebb_with_the_answer_as_activity_and_sangers_for_one_unit() -> None:
    x, w = noise(9, 4), noise(1, 4, seed=1)
    u = x @ w.T
    assert torch.equal(hebbian.oja(x, u, w), hebbian.softhebb(x, u, w, s=u))
    torch.testing.assert_close(hebbian.gha(x, u, w), hebbian.oja(x, u, w))


def test_gha_finds_the_first_principal_components_in_order() -> None:
    data, axes = gaussian(30_000, 6)
    w = 0.1 * noise(3, 6, seed=7)
    for step, x in enumerate(data.view(-1, 20, 6)):
        w = w + 0.03 / (1 + step / 300) / 20 * hebbian.gha(x, x @ w.T, w)
    cosines = (w @ axes[:3].T).abs() / w.norm(dim=1, keepdim=True)
    assert cosines.diagonal().min() > 0.99
    torch.testing.assert_close(w.norm(dim=1), torch.ones(3), atol=0.05, rtol=0.0)


# STDP


def test_a_trace_is_what_was_before_each_frame() -> None:
    x = torch.tensor([1.0, 0.0, 2.0, 0.0]).view(1, 4, 1)
    assert hebbian.trace(x, 0.5).flatten().tolist() == [0.0, 0.5, 0.25, 1.125]
    assert hebbian.trace(x, 0.0).flatten().tolist() == [0.0, 1.0, 0.0, 2.0]


def test_swapping_two_frames_negates_stdp() -> None:
    x, a = noise(3, 2, 4, 5), noise(3, 2, 4, 6, seed=1)
    g = hebbian.stdp(x, a, gamma=0.0)
    assert g.abs().max() > 0
    torch.testing.assert_close(hebbian.stdp(x.flip(1), a.flip(1), gamma=0.0), -g)


@given(gamma=st.floats(0.0, 1.0), frames=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_what_does_not_change_in_time_teaches_stdp_nothing(gamma: float, frames: int) -> None:
    x, a = noise(2, 1, 3, 4).expand(2, frames, 3, 4), noise(2, 1, 3, 5, seed=1).expand(2, frames, 3, 5)
    torch.testing.assert_close(hebbian.stdp(x, a, gamma), torch.zeros(5, 4), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize(("before", "after", "expected"), [(0, 1, 0.5), (0, 2, 0.25), (1, 0, -0.15), (2, 0, -0.075)])
def test_an_input_before_the_spike_gains_and_one_after_it_loses(before: int, after: int, expected: float) -> None:
    # A trace is 0.5 one step after the spike, and halves with every other: A+ times that, or A- times that.
    pre, post = torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    pre[0, before], post[0, after] = 1.0, 1.0
    g = hebbian.stdp(pre, post, gamma=0.5, potentiate=1.0, depress=0.3)
    assert float(g) == pytest.approx(expected)


# Spikes


def test_a_cell_fires_as_often_as_its_rate_says_and_strong_cells_fire_first() -> None:
    spikes = hebbian.spikes_of(torch.tensor([[0.0, 0.25, 0.5, 1.0]]), steps=4)[0]
    assert spikes.T.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1], [1, 1, 1, 1]]


def test_a_leaky_unit_fires_at_its_threshold_and_starts_again_from_nothing() -> None:
    # v: 1, 1.5, 1.75 -> fires, then the same again
    currents = torch.ones(1, 6, 1)
    assert hebbian.spiking(currents, torch.tensor([1.75]), leak=0.5).flatten().tolist() == [0, 0, 1, 0, 0, 1]


def test_the_unit_furthest_above_its_threshold_fires_and_holds_back_the_others() -> None:
    currents = torch.tensor([[2.0, 3.0, 0.1], [0.0, 0.0, 0.0]])[None]
    spikes = hebbian.spiking(currents, torch.tensor([1.0, 2.5, 5.0]), leak=1.0)
    assert spikes[0].tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


# Readout


def test_the_contrastive_change_is_minus_the_gradient_of_the_cross_entropy() -> None:
    h, y, head = noise(8, 5), torch.arange(8) % 3, nn.Linear(5, 3)
    scores = head(h)
    of_weight, of_bias = hebbian.contrastive(h, scores, one_hot(y, 3).float())
    by_weight, by_bias = torch.autograd.grad(cross_entropy(scores, y), [head.weight, head.bias])
    torch.testing.assert_close(of_weight, -by_weight, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(of_bias, -by_bias, atol=1e-6, rtol=0.0)


def test_the_contrastive_changes_of_all_classes_sum_to_zero() -> None:
    of_weight, of_bias = hebbian.contrastive(noise(8, 5), noise(8, 3, seed=1), one_hot(torch.arange(8) % 3, 3).float())
    torch.testing.assert_close(of_weight.sum(dim=0), torch.zeros(5), atol=1e-6, rtol=0.0)
    assert float(of_bias.sum()) == pytest.approx(0.0, abs=1e-6)


def test_a_habit_is_the_mean_and_deviation_of_what_was_seen() -> None:
    h = 3 + 2 * noise(40, 5)
    habit = hebbian.Habit(torch.zeros(5), torch.zeros(5))
    for minibatch in h.view(4, 10, 5):
        habit = habit.after(minibatch)
    torch.testing.assert_close(habit.mean, h.mean(dim=0))
    torch.testing.assert_close(habit.deviation, h.std(dim=0, correction=0), atol=0.05, rtol=0.0)


def test_a_standardised_change_is_gradient_descent_on_standardised_features() -> None:
    h, y = 3 + 2 * noise(8, 5), torch.arange(8) % 3
    habit = hebbian.Habit(torch.zeros(5), torch.zeros(5)).after(h)
    z, head = (h - habit.mean) / habit.deviation, nn.Linear(5, 3)
    scores = head(z)
    of_weight, of_bias = torch.autograd.grad(cross_entropy(scores, y), [head.weight, head.bias])
    expected = z @ (head.weight - of_weight).T + head.bias - of_bias
    # The same layer in terms of h: weights W / deviation, bias b - sum(W / deviation * mean)
    weight = head.weight / habit.deviation
    by_weight, by_bias = hebbian.standardised(h, scores, one_hot(y, 3).float(), habit)
    got = h @ (weight + by_weight).T + head.bias - weight @ habit.mean + by_bias
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_a_mixed_target_is_a_mixed_loss() -> None:
    beta, h, head, y = 0.3, noise(8, 5), nn.Linear(5, 3), torch.arange(8) % 3
    prior = noise(8, 3, seed=2).softmax(dim=1)
    scores = head(h)
    target = (1 - beta) * one_hot(y, 3) + beta * prior
    loss = (1 - beta) * cross_entropy(scores, y) + beta * cross_entropy(scores, prior)
    (gradient,) = torch.autograd.grad(loss, [head.weight])
    torch.testing.assert_close(hebbian.contrastive(h, scores, target)[0], -gradient, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 5, padding=2, padding_mode="reflect"),
        nn.Conv2d(2, 3, (3, 2), stride=2, padding=1),
        nn.Conv2d(2, 3, 7, padding=4),  # a filter sees 98 inputs, fewer than hebbian.FEW_INPUTS, and here
        nn.Conv2d(2, 3, (7, 8), padding=4),  # more
        nn.Linear(6, 3),
    ],
)
def test_coincidences_are_sums_over_all_positions_of_what_each_unit_sees(layer: nn.Conv2d | nn.Linear) -> None:
    x = torch.randn(4, 6) if isinstance(layer, nn.Linear) else torch.randn(4, 2, 7, 8)
    activities = [torch.randn_like(layer(x)) for _ in range(2)]
    found = hebbian.coincidence(layer, x, *activities)
    for y, one in zip(activities, found, strict=True):
        rows = y.flatten(2).transpose(1, 2).flatten(0, 1) if y.dim() == 4 else y
        expected = rows.T @ hebbian.patches(x, layer).flatten(0, 1)
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9])
def test_one_sum_over_inputs_in_time_is_stdps_two(gamma: float) -> None:
    x, a = noise(3, 5, 4, 2), noise(3, 5, 4, 6, seed=1)  # clips, frames, positions, inputs or units
    weighed = hebbian.order(a.flatten(0, 1), 5, gamma)
    one = weighed.flatten(0, 1).T @ x.flatten(0, 2)
    torch.testing.assert_close(one, hebbian.stdp(x, a, gamma), atol=1e-5, rtol=1e-5)
