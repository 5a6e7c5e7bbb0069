"""Fault fuzzing: what seeds draw is run and verified. A hundred seeds in the gate, thousands in `make soak`."""

import os
from pathlib import Path

import pytest

from orchestrator.faults import FAULTS
from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import Plan, make_plan
from orchestrator.run import execute
from orchestrator.scenario import load_scenario
from orchestrator.terminal import QuietDisplay
from orchestrator.verify.drawing import ALGORITHMS, KINDS, SPELLS, draw
from orchestrator.verify.fuzzing import fuzz, shrunk

SEEDS = int(os.environ.get("EDGEBED_SOAK", "100"))
REAL_SEEDS = range(5) if "EDGEBED_SOAK" in os.environ else range(0)
AT_ONCE = 5
REAL_ALONE = {"descriptors", "exporter_down", "memory", "pids"}  # which a simulation refuses
SAME_SEEDS = 20


def run(plan: Plan, text: str, options: RunOptions) -> Outcome:
    return execute(plan, text, options, QuietDisplay())


@pytest.mark.timeout(300)  # some seconds, unless one fails: then it is shrunk
@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_no_invariant_breaks_whatever_goes_wrong(first: int) -> None:
    failures = [found for seed in range(first, first + AT_ONCE) if (found := fuzz(seed, run)) is not None]
    assert not failures, "\n".join(f"{each.replay}\n{'; '.join(each.what)}\n{each.scenario}" for each in failures)


@pytest.mark.root
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", REAL_SEEDS)
def test_nor_among_real_processes_on_emulated_links(seed: int) -> None:
    found = fuzz(seed, run, substrate="mininet", shrink=False)
    assert found is None, f"{found.replay} --substrate mininet\n{'; '.join(found.what)}\n{found.scenario}"


def written(seed: int, folder: Path) -> dict[str, bytes]:
    """All that a run of a seed writes down, but what tells of this machine and this hour; with its last checkpoints."""
    drawn = draw(seed)
    folder.mkdir()
    (folder / SPELLS).write_text(drawn.away)
    path = folder / "fuzz.yaml"
    path.write_text(drawn.text)
    plan = make_plan(load_scenario(path))
    run(plan, drawn.text, RunOptions(folder / "run", substrate="simulation", keep="always"))
    files = [file for file in (folder / "run").rglob("*") if file.suffix in (".jsonl", ".safetensors", ".npz")]
    files += [folder / "run" / name for name in ("plan.json", "links.json", "verify.json")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize("seed", range(1000, 1000 + SAME_SEEDS))
def test_the_same_seed_writes_the_same_bytes(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("one", "two"):
        monkeypatch.chdir(tmp_path)
        found.append(written(seed, tmp_path / name))
    assert found[0].keys() == found[1].keys()
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []
    assert any(name.endswith("records.jsonl") for name in found[0])


def test_another_seed_draws_and_writes_something_else(tmp_path: Path) -> None:
    assert draw(1).text != draw(2).text
    assert written(1001, tmp_path / "one") != written(1002, tmp_path / "two")


def test_the_drawing_knows_every_kind_of_fault_and_draws_it_in_time() -> None:
    assert KINDS.keys() == FAULTS.keys() - REAL_ALONE
    drawn = [draw(seed) for seed in range(200)]
    assert {name for each in drawn for name in ALGORITHMS if f"{{name: {name}," in each.head} == set(ALGORITHMS)
    faults = [fault for each in drawn for fault in each.faults]
    assert {kind for kind in KINDS if any(fault.startswith(f"kind: {kind},") for fault in faults)} == set(KINDS)
    assert all(3 <= len(each.faults) <= 10 for each in drawn)
    assert all(draw(each.seed) == each for each in drawn[:20])


def test_a_schedule_is_shrunk_to_what_its_failure_needs() -> None:
    drawn = draw(1).but(tuple(f"kind: crash, at: {number} s" for number in range(1, 9)))
    needed = (drawn.faults[2], drawn.faults[6])
    tried = []

    def fails(fewer: object) -> bool:
        faults = getattr(fewer, "faults", ())
        tried.append(faults)
        return set(needed) <= set(faults)

    assert shrunk(drawn, fails).faults == needed
    assert len(tried) < 40
    assert shrunk(drawn, lambda _: False) == drawn
