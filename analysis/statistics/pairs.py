"""Two arms, pair by pair: the paired t-test, the exact sign-flip test beside it, and how large the difference is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.statistics.means import CONFIDENCE, Mean, mean

EXACT_MOST = 16  # pairs; 2^16 ways to flip signs take a tenth of a second, and with more pairs the t-test will do
ALIKE = 1e-12  # differences that differ by less are equal but for rounding


@dataclass(frozen=True)
class Paired:
    """The mean of paired differences with its interval, and how sure and how large it is.

    `p` is of the paired t-test against zero, `p_exact` of the exact permutation test (two-sided; None for more than
    16 pairs). `d_z` is Cohen's d of the differences (mean over their standard deviation), `g_av` Hedges' g with the
    mean of both standard deviations (Lakens 2013): the first speaks of pairs, the second can be held against unpaired
    work. Both are None where the standard deviation that they divide by is zero.
    """

    difference: Mean
    p: float | None
    t: float | None = None
    p_exact: float | None = None
    d_z: float | None = None
    g_av: float | None = None


def paired(ours: Sequence[float], theirs: Sequence[float], confidence: float = CONFIDENCE) -> Paired:
    """Ours minus theirs, pair by pair. The p-values are None for a single pair; differences that are all equal leave no
    doubt: p is 0, or 1 if they are all zero, and t has no value.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"pairs have two values each (found {len(ours)} and {len(theirs)})")
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    found = mean(differences, confidence)
    if len(differences) < 2:
        return Paired(found, None)
    exact, g_av = _sign_flips(differences), _hedges(ours, theirs)
    if np.ptp(differences) <= ALIKE * max(1.0, abs(found.mean)):
        return Paired(found, 1.0 if abs(found.mean) <= ALIKE else 0.0, p_exact=exact, g_av=g_av)
    d_z = found.mean / (found.sd or np.nan)
    t = d_z * math.sqrt(found.count)
    p = 2 * float(special.stdtr(found.count - 1, -abs(t)))
    return Paired(found, p, t, exact, d_z, g_av)


def _sign_flips(differences: Sequence[float]) -> float | None:
    """P-value of Fisher's test: in how many of the 2^n ways to give the differences their signs is their sum as far
    from zero. Its least value is 2 / 2^n: five pairs cannot go below 0.0625.
    """
    if len(differences) > EXACT_MOST:
        return None
    sums = np.zeros(1)
    for each in differences:
        sums = np.concatenate((sums + each, sums - each))
    seen = abs(sum(differences))
    return float(np.mean(np.abs(sums) >= seen - ALIKE * max(1.0, seen)))


def _hedges(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Hedges' g_av: the difference of the means over the mean of both standard deviations, corrected for few pairs."""
    spread = (np.std(ours, ddof=1) + np.std(theirs, ddof=1)) / 2
    if spread == 0:
        return None
    correction = 1 - 3 / (4 * (len(ours) + len(theirs)) - 9)
    return float(correction * (np.mean(ours) - np.mean(theirs)) / spread)
