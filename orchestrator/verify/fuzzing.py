"""Fault fuzzing: run what a seed has drawn, verify it, and where that fails find the fewest faults that still do."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import Plan, make_plan
from orchestrator.scenario import load_scenario
from orchestrator.verify.drawing import SPELLS, Drawn, draw

Execute = Callable[[Plan, str, RunOptions], Outcome]
MOST_TRIES = 40  # runs to find fewer faults with
FINE = "complete"


@dataclass(frozen=True)
class Failure:
    """What went wrong with a seed. `faults` are what is left of its schedule and still fails."""

    seed: int
    what: tuple[str, ...]
    faults: tuple[str, ...]
    scenario: str

    @property
    def replay(self) -> str:
        """The one line that shows it again."""
        return f"edgebed fuzz --seed {self.seed}"


def fuzz(seed: int, execute: Execute, *, substrate: str = "simulation", shrink: bool = True) -> Failure | None:
    """Run one seed; None where nothing is wrong."""
    drawn = draw(seed)
    what = problems(drawn, execute, substrate)
    if not what:
        return None
    if shrink:
        drawn = shrunk(drawn, lambda fewer: bool(problems(fewer, execute, substrate)))
        what = problems(drawn, execute, substrate) or what
    return Failure(seed, what, drawn.faults, drawn.text)


def problems(drawn: Drawn, execute: Execute, substrate: str, keep: Path | None = None) -> tuple[str, ...]:
    """Everything that is wrong with a run: it broke, or an invariant is false. The run directory goes to `keep`."""
    folder = Path(tempfile.mkdtemp(prefix="edgebed-fuzz-"))
    try:
        (folder / SPELLS).write_text(drawn.away, encoding="utf-8")
        path = folder / "fuzz.yaml"
        path.write_text(drawn.text, encoding="utf-8")
        plan = make_plan(load_scenario(path))
        out = keep or folder / "run"
        try:
            outcome = execute(plan, drawn.text, RunOptions(out, substrate=substrate, keep="always", probe=False))
        except Exception as error:  # a defect: the run told it already, and here it is what was looked for
            return (f"{type(error).__name__}: {error}",)
        if outcome.status == "interrupted":
            raise KeyboardInterrupt
        if outcome.status == FINE:
            return ()
        if outcome.status == "degraded" and substrate != "simulation":
            return tuple(false_ones(out))  # a busy machine is late, which is no defect
        return (outcome.status, *outcome.notes)
    finally:
        shutil.rmtree(folder)


def false_ones(directory: Path) -> list[str]:
    """The invariants that do not hold in a run, with the first reason of each."""
    found = json.loads((directory / "verify.json").read_text(encoding="utf-8"))["invariants"]
    return [f"{each['id']}: {each['reasons'][0]}" for each in found if each["truth"] == "false"]


def shrunk(drawn: Drawn, fails: Callable[[Drawn], bool]) -> Drawn:
    """The schedule without the parts that a failure does not need: halves first, then quarters, down to single faults.

    A fault that waits for another by its place in the list goes with it: such a schedule does not load, and fails to.
    """
    part, tries = max(1, len(drawn.faults) // 2), 0
    while part >= 1:
        start, found = 0, False
        while start < len(drawn.faults) and tries < MOST_TRIES:
            fewer = drawn.faults[:start] + drawn.faults[start + part :]
            tries += 1
            if _loads(fewer) and fails(drawn.but(fewer)):
                drawn, found = drawn.but(fewer), True
            else:
                start += part
        if part == 1 and (not found or tries >= MOST_TRIES):
            return drawn
        part = max(1, part // 2)
    return drawn


def _loads(faults: tuple[str, ...]) -> bool:
    """Whether what waits for another fault still has one before it; the places of others may have moved."""
    return all(
        int(fault.partition("after: ")[2].partition(",")[0]) < place
        for place, fault in enumerate(faults)
        if "after: " in fault
    )
