"""A run that dies by SIGKILL, and again as it goes on: `python -m tests.unit.dying SUBSTRATE FOLDER WHEN...`.

WHEN is a second of the run (`3.5`), or words of an event that the terminal shows: one for each death. The substrate
`kept` is the simulation with checkpoints on the disk, which says of itself that its time is real: so a run on it goes
on after a kill as one of real processes does, and takes a second.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from node_image import checkpoint
from node_image.runtime import Body
from orchestrator.interrupted import find_interrupted
from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import Condition, Plan, PlannedFault
from orchestrator.run import execute, go_on
from orchestrator.simulation.disk import VirtualDisk
from orchestrator.simulation.substrate import Simulation
from orchestrator.substrates import SUBSTRATES
from orchestrator.terminal import QuietDisplay
from orchestrator.terminal.displays import RunState
from tests.contract.cases import CASES
from tests.plans import fault

FAULTS = (
    fault("disconnect", 1.0, 2.0, nodes=("d-2",), index=0),
    fault("crash", 2.5, 6.5, nodes=("d-1",), index=1),
    fault("partition", 3.0, None, nodes=("d-3",), index=2, parameters={"direction": "both"}),
    fault("straggler", 4.0, 8.0, nodes=("d-2",), index=3, parameters={"speed": 0.5}),
    fault("pause", 9.0, 9.5, nodes=("d-2",), index=4),
    PlannedFault(5, "reset", None, None, ("d-2",), (), {}, Condition(None, None, None, 3, 4.5), 0.5),
)


def plan() -> Plan:
    """Three devices learn with FedAsync for twelve seconds; each fault is in another state when the run is killed."""
    return CASES["fedasync"].plan(12.0, FAULTS, local_steps=40, checkpoint_every=1)


class Disk(VirtualDisk):
    """Checkpoints in a folder, as those of a real node."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.state = checkpoint.restored(folder).state

    def keep(self, state: Body) -> None:
        super().keep(state)
        checkpoint.save(self.folder, state)


class KeptSimulation(Simulation):
    """A simulation in which checkpoints outlive the process."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        super().__init__(plan, directory)
        for name, placed in self._placed.items():
            placed.disk = Disk(directory / "nodes" / name / "state")


@contextmanager
def kept_substrate() -> Iterator[None]:
    """Have the substrate `kept` while the block lasts."""
    plain = SUBSTRATES["simulation"]
    SUBSTRATES["kept"] = replace(
        plain,
        name="kept",
        real_time=True,
        can=plain.can | {"resume"},
        build=lambda plan, directory, _id, _options: KeptSimulation(plan, directory),
    )
    try:
        yield
    finally:
        del SUBSTRATES["kept"]


class Deadly(QuietDisplay):
    """Kills the process when a run has come so far."""

    def __init__(self, when: str) -> None:
        super().__init__()
        is_time = when.replace(".", "").isdigit()
        self._at_s = float(when) if is_time else float("inf")
        self._words = None if is_time else when

    def progress(self, t_s: float, stop_after_s: float, state: RunState) -> None:
        if t_s >= self._at_s:
            os.kill(os.getpid(), signal.SIGKILL)

    def event(self, t_s: float, text: str) -> None:
        if self._words is not None and self._words in text:
            os.kill(os.getpid(), signal.SIGKILL)


def resume(folder: Path, display: QuietDisplay) -> Outcome:
    """Go on with the run in a folder."""
    return go_on(find_interrupted(folder), RunOptions(folder, keep="always"), display)


def die(substrate: str, folder: Path, *when: str) -> None:
    """Have a run begin in another process, die, go on in yet another and die there, and so on."""
    argv = [sys.executable, "-m", "tests.unit.dying", substrate, str(folder), *when]
    subprocess.run(argv, check=True, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)


def main() -> None:
    """Each life in a process of its own, forked from this one, which has loaded all that takes long to load."""
    substrate, folder, *deaths = sys.argv[1:]
    for number, when in enumerate(deaths):
        pid = os.fork()
        if pid == 0:
            _live(substrate, Path(folder), when, begins=number == 0)
            os._exit(1)  # it should have died
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(f"life {number} did not die at {when!r}: {os.waitstatus_to_exitcode(status)}")


def _live(substrate: str, folder: Path, when: str, *, begins: bool) -> None:
    with kept_substrate():
        if begins:
            options = RunOptions(folder, substrate=substrate, keep="always")
            execute(plan(), "name: test\n", options, Deadly(when))
        else:
            resume(folder, Deadly(when))


if __name__ == "__main__":
    main()
