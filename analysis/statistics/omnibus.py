"""Do several arms differ at all? Analysis of variance for repeated measures, and Friedman's test of ranks beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special


@dataclass(frozen=True)
class Omnibus:
    """F of the analysis of variance with its degrees of freedom and p-value; the p-value where the arms' differences do
    not vary alike (Greenhouse and Geisser's `epsilon` shortens the degrees of freedom); Friedman's chi-squared and p.
    """

    f: float
    df_arms: float
    df_rest: float
    p: float
    epsilon: float
    p_corrected: float
    friedman: float
    p_friedman: float
    seeds: int


def omnibus(values: Sequence[Sequence[float]]) -> Omnibus | None:
    """Of a row for each seed with a value for each arm, none missing.

    None where there is too little to tell: fewer than three arms (two are what the paired t-test is for), fewer than
    two seeds, or no differences that vary.
    """
    table = np.asarray(values, float)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 3:
        return None
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    if np.abs(rest).max() <= 1e-12 * max(1.0, np.abs(table).max()):
        return None
    seeds, arms = table.shape
    df_arms, df_rest = float(arms - 1), float((arms - 1) * (seeds - 1))
    between = seeds * ((table.mean(axis=0) - table.mean()) ** 2).sum()
    f = float((between / df_arms) / ((rest**2).sum() / df_rest))
    p = float(special.fdtrc(df_arms, df_rest, f))
    epsilon = _greenhouse_geisser(table)
    p_corrected = float(special.fdtrc(epsilon * df_arms, epsilon * df_rest, f))
    friedman = _friedman(table)
    p_friedman = float(special.chdtrc(df_arms, friedman))
    return Omnibus(f, df_arms, df_rest, p, epsilon, p_corrected, friedman, p_friedman, seeds)


def _friedman(table: NDArray[np.float64]) -> float:
    """Friedman's chi-squared: arms are ranked within each seed; those that tie share their ranks' mean."""
    seeds, arms = table.shape
    below = (table[:, :, None] > table[:, None, :]).sum(axis=2)
    alike = (table[:, :, None] == table[:, None, :]).sum(axis=2)
    sums = (below + (alike + 1) / 2).sum(axis=0)
    ties = 1 - float((alike**2 - 1).sum()) / (seeds * arms * (arms**2 - 1))
    apart = 12 / (seeds * arms * (arms + 1)) * float((sums**2).sum()) - 3 * seeds * (arms + 1)
    return float(apart / ties)


def _greenhouse_geisser(table: NDArray[np.float64]) -> float:
    """Between 1 / (arms - 1) and 1: how far the variances of the arms' differences are from being equal."""
    covariance = np.cov(table, rowvar=False)
    centred = covariance - covariance.mean(axis=0) - covariance.mean(axis=1, keepdims=True) + covariance.mean()
    return float(np.trace(centred) ** 2 / ((table.shape[1] - 1) * (centred**2).sum()))
