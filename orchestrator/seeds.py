"""Seeds of everything random, derived from the run's seed: each thing has its own, so that none disturbs another."""

from typing import Literal

import numpy as np

Purpose = Literal["node", "link", "fault", "topology", "pace", "occurrences", "traffic"]
_NUMBERS: dict[Purpose, int] = {
    "node": 1,
    "link": 2,
    "fault": 3,
    "topology": 4,
    "pace": 5,
    "occurrences": 6,
    "traffic": 7,
}


def derive(seed: int, purpose: Purpose, index: int = 0) -> int:
    """A seed below 2^63 for the index-th thing of a purpose."""
    sequence = np.random.SeedSequence([seed, _NUMBERS[purpose], index])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
