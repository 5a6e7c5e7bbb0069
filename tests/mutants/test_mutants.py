"""Whether Edgebed would notice that it is wrong: each mutant must spoil its run, seen by verify or the run itself.

What a run cannot know of itself (how a device should have got hot, what a kernel was asked) a test must see.
"""

from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS
from tests.mutants.stages import PROOFS, STAGES

CAUGHT_SHARE = 0.95


@pytest.mark.parametrize("name", STAGES)
def test_nothing_is_noticed_where_nothing_is_wrong(name: str, tmp_path: Path) -> None:
    assert STAGES[name].noticed(tmp_path) == []


@pytest.mark.parametrize(("name", "mutant"), MUTANTS.items(), ids=MUTANTS)
def test_a_mutant_is_caught(name: str, mutant: Mutant, tmp_path: Path) -> None:
    with mutant.alive():
        found = (STAGES | PROOFS)[mutant.stage].noticed(tmp_path)
    if mutant.survives:
        assert not found, f"it is listed as a survivor, and was caught: {found}"
    else:
        assert found, f"{name}: nothing was noticed"


def test_enough_mutants_are_caught() -> None:
    survivors = [name for name, mutant in MUTANTS.items() if mutant.survives]
    assert len(MUTANTS) >= 20
    assert 1 - len(survivors) / len(MUTANTS) >= CAUGHT_SHARE, f"survivors: {survivors}"
