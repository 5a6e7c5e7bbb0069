"""The learning signal of LLS: worked values, and autograd as the judge of the closed form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

from node_image.local_signal import KINDS, Signal, basis, learning_signal, pool_sizes, pooled

TEMP = 0.5
VARIANTS = ("lls", "m", "mxm", "reduced")


def drawn(seed: int, batch: int = 6, length: int = 12, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """A latent in double precision, and labels."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(batch, length, generator=generator, dtype=torch.float64)
    return latent, torch.randint(classes, (batch,), generator=generator)


def rows_and_mixing(variant: str, seed: int, classes: int = 4) -> tuple[int, torch.Tensor | None]:
    rows = 3 if variant == "reduced" else classes
    shape = {"lls": None, "m": (classes,), "mxm": (classes, classes), "reduced": (rows, classes)}[variant]
    generator = torch.Generator().manual_seed(seed + 1)
    return rows, None if shape is None else torch.randn(shape, generator=generator, dtype=torch.float64)


def loss(latent: torch.Tensor, y: torch.Tensor, b: torch.Tensor, mixing: torch.Tensor | None) -> torch.Tensor:
    """The local loss as the paper writes it, for autograd."""
    p = normalize(latent, dim=1) @ b.T
    q = p if mixing is None else p @ mixing if mixing.dim() == 2 else p * mixing
    return cross_entropy(q / TEMP, y)


def by_autograd(latent: torch.Tensor, y: torch.Tensor, b: torch.Tensor, mixing: torch.Tensor | None) -> Signal:
    leaves = [each.clone().requires_grad_() for each in (latent, mixing) if each is not None]
    gradients = torch.autograd.grad(loss(leaves[0], y, b, leaves[1] if len(leaves) > 1 else None), leaves)
    return Signal(gradients[0], gradients[1] if len(gradients) > 1 else None)


def coherence(b: torch.Tensor) -> float:
    """The largest |cosine| between two rows."""
    unit = normalize(b.double(), dim=1)
    return float((unit @ unit.T - torch.eye(len(b))).abs().max())


def test_the_cosine_basis_has_its_worked_values() -> None:
    """sin(50 t), sin(281 t), sin(512 t) at t = 0, 1, 2."""
    expected = [[0.0, -0.262375, -0.506366], [0.0, -0.985151, 0.338277], [0.0, 0.079518, -0.158533]]
    np.testing.assert_allclose(basis("cosine", 3, 3), expected, atol=1e-6)


@given(st.integers(1, 40), st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_the_square_basis_is_the_sign_of_the_cosine_one(rows: int, length: int) -> None:
    square = basis("square", rows, length)
    assert torch.equal(square, basis("cosine", rows, length).sign())
    assert torch.equal(square[:, 1:].abs(), torch.ones(rows, length - 1)), "only the first neuron is left out"


@pytest.mark.parametrize("length", [64, 512, 2048])
def test_the_random_basis_is_averaged_from_rows_of_2048(length: int) -> None:
    drawn = basis("random", 100, length)
    assert abs(float(drawn.std()) / (0.1 * math.sqrt(length / 2048)) - 1) < 0.05
    assert abs(float(drawn.mean())) < 0.005


@pytest.mark.parametrize("kind", KINDS)
def test_a_basis_is_made_again_from_its_size_alone(kind: str) -> None:
    first = basis(kind, 5, 33)
    basis.cache_clear()
    again = basis(kind, 5, 33)
    assert again is not first
    assert torch.equal(again, first)
    assert again.shape == (5, 33)
    assert again.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "rows", "length", "measured"),
    [
        ("square", 10, 128, 0.213),
        ("square", 10, 512, 0.041),
        ("square", 100, 2048, 0.190),
        ("cosine", 10, 512, 0.010),
    ],
)
def test_no_two_rows_are_much_alike(kind: str, rows: int, length: int, measured: float) -> None:
    """With frequencies in float32, as torch.linspace rounds them, the second is 0.045 and the third 0.200."""
    assert abs(coherence(basis(kind, rows, length)) - measured) < 0.0006


@pytest.mark.parametrize("variant", VARIANTS)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_the_closed_form_is_what_autograd_finds(variant: str, seed: int) -> None:
    (latent, y), (rows, mixing) = drawn(seed), rows_and_mixing(variant, seed)
    b = basis("square", rows, latent.shape[1]).double()
    ours, theirs = learning_signal(latent, y, b, mixing, TEMP), by_autograd(latent, y, b, mixing)
    torch.testing.assert_close(ours.latent, theirs.latent, atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(ours.mixing, theirs.mixing, atol=1e-12, rtol=1e-9)


def test_without_normalisation_the_signal_is_not_projected() -> None:
    latent, y = drawn(3)
    b = basis("random", 4, 12).double()
    leaf = latent.clone().requires_grad_()
    (expected,) = torch.autograd.grad(cross_entropy(leaf @ b.T / TEMP, y), leaf)
    torch.testing.assert_close(learning_signal(latent, y, b, None, TEMP, normalise=False).latent, expected)


def test_the_change_of_a_weight_is_signal_times_slope_times_input() -> None:
    """The three factors of one linear layer of rectified neurons, written out, in single precision."""
    torch.manual_seed(0)
    x, weight, y = torch.rand(6, 9), torch.randn(12, 9, requires_grad=True), torch.arange(6) % 4
    a = x @ weight.T
    output, b = a.relu(), basis("square", 4, 12)
    signal = learning_signal(output, y, b, None, TEMP).latent
    by_hand = torch.einsum("nj,nj,ni->ji", signal, (a > 0).float(), x)
    (expected,) = torch.autograd.grad(loss(output, y, b, None), weight)
    torch.testing.assert_close(by_hand, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mixing", [torch.ones(4), torch.eye(4)])
def test_a_mixing_of_ones_or_the_identity_is_plain_lls(mixing: torch.Tensor) -> None:
    latent, y = drawn(1)
    b = basis("cosine", 4, 12).double()
    plain = learning_signal(latent, y, b, None, TEMP).latent
    torch.testing.assert_close(learning_signal(latent, y, b, mixing.double(), TEMP).latent, plain)


@given(st.integers(0, 2**31), st.floats(0.01, 100.0))
@settings(max_examples=25, deadline=None)
def test_the_signal_turns_the_latent_and_does_not_stretch_it(seed: int, length: float) -> None:
    latent, y = drawn(seed)
    b = basis("square", 4, 12).double()
    signal = learning_signal(latent, y, b, None, TEMP).latent
    assert float((signal * latent).sum(dim=1).abs().max()) < 1e-12
    longer = learning_signal(latent * length, y, b, None, TEMP).latent
    torch.testing.assert_close(longer * length, signal, atol=1e-12, rtol=1e-9)


def test_a_silent_layer_gets_no_signal_and_its_neighbours_theirs() -> None:
    latent, y = drawn(2)
    b = basis("square", 4, 12).double()
    whole = learning_signal(latent, y, b, None, TEMP).latent
    latent[0] = 0.0
    signal = learning_signal(latent, y, b, None, TEMP).latent
    assert torch.equal(signal[0], torch.zeros(12, dtype=torch.float64))
    torch.testing.assert_close(signal[1:], whole[1:])


def test_an_image_is_averaged_and_a_vector_stays_as_it_is() -> None:
    image = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    assert pooled(image, 2).shape == (2, 12)
    assert float(pooled(image, 2)[0, 0]) == (0 + 1 + 4 + 5) / 4
    vector = torch.rand(2, 7)
    assert torch.equal(pooled(vector, 4), vector)


@pytest.mark.parametrize(("first", "others"), [(4, 2), (1, 3), (2, 2)])
def test_the_first_block_with_weights_has_a_size_of_its_own(first: int, others: int) -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), *(torch.nn.Linear(3, 3) for _ in range(4)))
    assert pool_sizes(module, first, others) == {1: first, 2: others, 3: others}
