"""What tests/security tries a million and a thousand times, and fifty and a hundred times as often in `make soak`."""

import json
import os

import pytest

from tests.security.test_scenarios import LARGEST, judged
from tests.security.test_wire import REASONS, fuzz

IS_SOAK = "EDGEBED_SOAK" in os.environ
FRAMES, FRAMES_AT_ONCE = 50_000_000, 500_000
FILES, FILES_AT_ONCE = 100_000, 1000
FIRST_SEED = 1000  # others than those of the gate

pytestmark = pytest.mark.skipif(not IS_SOAK, reason="make soak runs it: it takes an hour")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + FRAMES // FRAMES_AT_ONCE))
def test_no_frame_of_fifty_million_does_harm(seed: int) -> None:
    ends = fuzz(FRAMES_AT_ONCE, seed)
    assert ends.total() == FRAMES_AT_ONCE
    assert set(ends) == REASONS | {"message"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + FILES // FILES_AT_ONCE))
def test_no_file_of_a_hundred_thousand_does_harm(seed: int) -> None:
    found = judged(FILES_AT_ONCE, seed)
    assert found["broke"] == 0, json.dumps(found["first"], indent=1)
    assert found["largest_bytes"] < LARGEST
