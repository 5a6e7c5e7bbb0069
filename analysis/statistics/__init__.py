"""What several seeds can say: intervals, tests and effect sizes, each by its textbook name. Pure functions of figures.

Runs of two arms with the same seed share their data, their links and their faults, so arms are compared in pairs.
`docs/statistics.md` says what each does, when it misleads and against which published example it is checked.

The formulas are written out here, on `scipy.special` alone: `scipy.stats` and statsmodels, which the tests hold them
against, take more than a second to import, which every command that shows a mean would pay.
"""

from analysis.statistics.means import CONFIDENCE, Mean, holm, mean
from analysis.statistics.omnibus import Omnibus, omnibus
from analysis.statistics.pairs import Paired, paired
from analysis.statistics.survival import Survival, survival

__all__ = [
    "CONFIDENCE",
    "Mean",
    "Omnibus",
    "Paired",
    "Survival",
    "holm",
    "mean",
    "omnibus",
    "paired",
    "survival",
]
