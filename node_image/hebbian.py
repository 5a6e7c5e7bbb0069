"""Hebbian learning: how a layer's weights change from what goes in and out of it, and nothing else.

Pure functions of tensors. A layer is a matrix `w` (units, inputs); `x` (rows, inputs) is what it saw and `u = x w^T`
(rows, units) its answer. A row is one sample of a linear layer, one position of one sample of a convolution: all
positions share the weights, so their changes add up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold
from torch.nn.grad import conv2d_weight

from node_image.outcomes import UnfitError

FEW_INPUTS = 100  # of one unit of a convolution: three channels of 5x5, say


def patches(x: Tensor, layer: torch.nn.Module) -> Tensor:
    """What each unit of a layer sees: (batch, positions, inputs). A linear layer has one position.

    Raises UnfitError where the layer is no linear layer and no convolution in one group.
    """
    if isinstance(layer, torch.nn.Linear):
        return x.reshape(len(x), -1, layer.in_features)
    of = convolution(layer)
    seen = unfold(_padded(x, of), of.kernel_size, of.dilation, 0, of.stride)
    return seen.transpose(1, 2).contiguous()


def coincidence(layer: torch.nn.Module, x: Tensor, *activities: Tensor) -> tuple[Tensor, ...]:
    """How often input and unit are active together: sums of y_j x_i over samples and positions, (units, inputs) each.

    `x` is what went into a layer and each y has the shape of what comes out of it. For a convolution this is the same
    sum as over its `patches`. Where units see few inputs these are laid out once for all activities (two thirds of the
    time of the alternative, on clips of 16x16 with 5x5 filters); else that would take half the time of a step.
    """
    if isinstance(layer, torch.nn.Linear):
        return tuple(_rows(y).T @ _rows(x) for y in activities)
    of, padded = convolution(layer), _padded(x, convolution(layer))
    if of.weight[0].numel() <= FEW_INPUTS:
        seen = unfold(padded, of.kernel_size, of.dilation, 0, of.stride).transpose(1, 2)
        return tuple(torch.bmm(y.flatten(2), seen).sum(dim=0) for y in activities)
    shape = list(of.weight.shape)
    together = (conv2d_weight(padded, shape, y, of.stride, 0, of.dilation) for y in activities)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    return tuple(each.flatten(1) for each in together)


def convolution(layer: torch.nn.Module) -> torch.nn.Conv2d:
    """The layer, if Hebbian rules can learn it. Raises UnfitError where it is no convolution in one group."""
    if not isinstance(layer, torch.nn.Conv2d) or layer.groups != 1 or isinstance(layer.padding, str):
        raise UnfitError(f"Hebbian rules need a linear layer or a convolution in one group (found {layer})")
    return layer


def _padded(x: Tensor, layer: torch.nn.Conv2d) -> Tensor:
    rows, columns = (int(each) for each in layer.padding)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return pad(x, (columns, columns, rows, rows), mode=mode)


def answers(output: Tensor, layer: torch.nn.Module) -> Tensor:
    """A layer's output as rows (batch x positions, units), in the order of `patches`, without its bias."""
    rows = output.flatten(2).transpose(1, 2) if isinstance(layer, torch.nn.Conv2d) else output
    rows = rows.reshape(-1, rows.shape[-1])
    return rows - layer.bias if isinstance(layer.bias, Tensor) else rows


def without_bias(output: Tensor, layer: torch.nn.Module) -> Tensor:
    """A layer's output as it would be without its bias."""
    if not isinstance(layer.bias, Tensor):
        return output
    return output - layer.bias.view(-1, *[1] * (output.dim() - 2))


def order(a: Tensor, frames: int, gamma: float) -> Tensor:
    """What a unit will do less what it has done, of (clips x frames, ...), in the same shape: by which `stdp` weighs x.

    The sum over time of x~(t-1) a(t) is that of x(t) times the trace of a that runs backwards: one sum over inputs
    and not two, and no trace of the inputs.
    """
    clips = by_frames(a, frames)
    return (trace(clips.flip(1), gamma).flip(1) - trace(clips, gamma)).view_as(a)


def activity(u: Tensor, kappa: float) -> Tensor:
    """Soft winner-take-all among the units, the second axis: a = softmax(kappa u)."""
    return (u if kappa == 1 else kappa * u).softmax(dim=1)


def signed(a: Tensor) -> Tensor:
    """Activity with which SoftHebb learns: s_j = a_j for the row's most active unit, -a_j for all others.

    Units that are most active to the last bit all are (finding the first of them took a sixth of a step).
    """
    below = a - a.amax(dim=1, keepdim=True)
    return torch.copysign(a, below, out=below)


def softhebb(x: Tensor, u: Tensor, w: Tensor, s: Tensor) -> Tensor:
    """SoftHebb's change (units, inputs), summed over rows: f_ij = s_j (x_i - u_j w_ij) (Moraitis et al. 2022)."""
    return normalised(s.T @ x, u, w, s)


def normalised(together: Tensor, u: Tensor, w: Tensor, s: Tensor) -> Tensor:
    """The same from the sums of s_j x_i (`coincidence`); `u` and `s` have units as their second axis, whatever else."""
    return together - (s * u).transpose(0, 1).flatten(1).sum(dim=1)[:, None] * w


def oja(x: Tensor, u: Tensor, w: Tensor) -> Tensor:
    """Oja's change (units, inputs), summed over rows: f_ij = u_j (x_i - u_j w_ij); every unit finds the first
    principal component of its input (Oja 1982)."""
    return softhebb(x, u, w, s=u)


def gha(x: Tensor, u: Tensor, w: Tensor) -> Tensor:
    """Generalised Hebbian change, summed over rows: f_ij = u_j (x_i - sum_{k<=j} u_k w_ik) (Sanger 1989).

    Each unit sees what the ones before it leave unexplained, so that unit j finds principal component j.
    """
    return u.T @ x - (u.T @ u).tril() @ w


def by_frames(rows: Tensor, frames: int) -> Tensor:
    """(clips x frames, ...) -> (clips, frames, ...)."""
    return rows.view(-1, frames, *rows.shape[1:])


def trace(x: Tensor, gamma: float) -> Tensor:
    """Exponential trace of x (clips, frames, ...) as it was before each frame: x~(t-1) at place t.

    x~(t) = gamma x~(t-1) + (1 - gamma) x(t), from x~ = 0 before the first frame.
    """
    before = torch.zeros_like(x)
    for t in range(1, x.shape[1]):
        before[:, t] = gamma * before[:, t - 1] + (1 - gamma) * x[:, t - 1]
    return before


def stdp(x: Tensor, a: Tensor, gamma: float, potentiate: float = 1.0, depress: float = 1.0) -> Tensor:
    """Pair-based STDP in rates or spikes: g_ij = A+ x~_i(t-1) a_j(t) - A- x_i(t) a~_j(t-1), summed over the rest.

    `x` (clips, frames, positions, inputs) and `a` (clips, frames, positions, units), the result (units, inputs):
    an input that comes before a unit's activity gains, one that comes after it loses. With A+ = A- (`potentiate`,
    `depress`) a constant input changes nothing. Gerstner et al., Neuronal Dynamics, chapter 19.
    """
    before, after = _rows(trace(x, gamma)), _rows(trace(a, gamma))
    return potentiate * (_rows(a).T @ before) - depress * (after.T @ _rows(x))


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def scaled(change: Tensor) -> Tensor:
    """A change divided by its greatest absolute value; no change stays none."""
    greatest = change.abs().max()
    return change / greatest if greatest > 0 else change


def rate(w: Tensor, eta_0: float) -> Tensor:
    """Rate of each unit (units, 1): eta_j = eta_0 | ||w_j|| - 1 |^0.5.

    Plasticity closes by itself where a unit's weights reach the rule's fixed point, norm 1: a critical period.
    """
    norms: Tensor = torch.linalg.vector_norm(w, dim=1, keepdim=True)
    return eta_0 * (norms - 1).abs().sqrt()


def triangle(u: Tensor, rho: float) -> Tensor:
    """What a layer passes on, channels being the second axis: ReLU(u_j - mean over channels)^rho."""
    return (u - u.mean(dim=1, keepdim=True)).relu() ** rho


def contrastive(h: Tensor, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Contrastive Hebbian change of a layer of softmax units: (classes, features) and, of the biases, (classes,).

    f_ij = h_i (t_j - y_j), the mean over samples of the clamped phase (target t, a distribution over the classes)
    minus the free one (y = softmax(scores)). It equals minus the gradient of the cross-entropy; as that is linear in
    t, a mixture of targets gives the mixture of losses.
    """
    error = (target - scores.softmax(dim=1)) / len(h)
    return error.T @ h, error.sum(dim=0)


@dataclass(frozen=True)
class Habit:
    """What synapses are used to after so many minibatches: mean and mean square of each feature, old ones fading."""

    mean: Tensor
    square: Tensor
    minibatches: int = 0

    def after(self, h: Tensor) -> "Habit":
        """The habit after one minibatch (samples, features) more: a running mean, of about the last twenty."""
        share = max(1 / (self.minibatches + 1), 0.05)
        return Habit(
            torch.lerp(self.mean, h.mean(dim=0), share),
            torch.lerp(self.square, h.square().mean(dim=0), share),
            self.minibatches + 1,
        )

    @property
    def deviation(self) -> Tensor:
        """Standard deviation of each feature; one that hardly varies counts as varying a tenth of what others do."""
        variance = (self.square - self.mean.square()).clamp(min=0)
        return (variance + 0.01 * variance.mean() + 1e-6).sqrt()


def standardised(h: Tensor, scores: Tensor, target: Tensor, habit: Habit) -> tuple[Tensor, Tensor]:
    """The contrastive change as if the layer saw z = (h - mean) / deviation, told of weights on h itself.

    A change F of weights on z is F / deviation on h, and -sum(F / deviation mean) more of the bias. So each device may
    be used to features of its own, and all share one layer.
    """
    deviation = habit.deviation
    of_weight, of_bias = contrastive((h - habit.mean) / deviation, scores, target)
    of_weight = of_weight / deviation
    return of_weight, of_bias - of_weight @ habit.mean


def spikes_of(rates: Tensor, steps: int) -> Tensor:
    """Regular spikes (batch, steps, ...) of cells that integrate their rate (batch, ...; 0 to 1) and fire at 1."""
    charge = torch.arange(steps + 1).view(-1, *[1] * (rates.dim() - 1)) * rates[:, None]
    return (charge + 1e-6).floor().diff(dim=1)


def spiking(currents: Tensor, threshold: Tensor, leak: float) -> Tensor:
    """Spikes of leaky integrate-and-fire units that inhibit one another: (batch, steps, units, ...) as `currents`.

    v(t) = leak v(t-1) + I(t). Of the units (third axis) at one position the one furthest above its threshold fires;
    then all of that position start again from 0.
    """
    v = torch.zeros_like(currents[:, 0])
    spikes = torch.zeros_like(currents)
    for t in range(currents.shape[1]):
        v = leak * v + currents[:, t]
        above, winner = (v - threshold).max(dim=1, keepdim=True)
        fires = (above >= 0).to(v.dtype)
        spikes[:, t].scatter_(1, winner, fires)
        v = v * (1 - fires)
    return spikes
