"""Whether Edgebed would notice that it is wrong: each mutant must spoil its run, seen by verify or the run itself."""

from pathlib import Path

import pytest

from orchestrator.outcome import Outcome
from orchestrator.verify.fuzzing import false_ones
from tests.mutants.mutants import MUTANTS, Mutant
from tests.mutants.stages import STAGES

CAUGHT_SHARE = 0.95


def noticed(outcome: Outcome) -> list[str]:
    """What a run says against itself."""
    return false_ones(outcome.directory) or list(outcome.notes) * (outcome.status != "complete")


@pytest.mark.parametrize("name", STAGES)
def test_nothing_is_noticed_where_nothing_is_wrong(name: str, tmp_path: Path) -> None:
    outcome = STAGES[name].run(tmp_path)
    assert (outcome.status, noticed(outcome)) == ("complete", [])


@pytest.mark.parametrize(("name", "mutant"), MUTANTS.items(), ids=MUTANTS)
def test_a_mutant_is_caught(name: str, mutant: Mutant, tmp_path: Path) -> None:
    with mutant.alive():
        found = noticed(STAGES[mutant.stage].run(tmp_path))
    if mutant.survives:
        assert not found, f"it is listed as a survivor, and was caught: {found}"
    else:
        assert found, f"{name}: nothing was noticed"


def test_enough_mutants_are_caught() -> None:
    survivors = [name for name, mutant in MUTANTS.items() if mutant.survives]
    assert len(MUTANTS) >= 20
    assert 1 - len(survivors) / len(MUTANTS) >= CAUGHT_SHARE, f"survivors: {survivors}"
