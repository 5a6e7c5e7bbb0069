"""Many runs at a time: each variant becomes a job, places carry jobs out, and what comes of them is put side by side.

    variants -Job-> place (processes of this machine, or a Ray cluster) -Answer-> run directories -> compare.json

A place that loses a run (its process was killed, its machine is gone) is asked a second time; both are reported. Runs
whose figures others would disturb, those of real processes in real time, go one after another, except on a cluster,
where each has a machine to itself.
"""

import asyncio
import json
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Protocol

from orchestrator.compare import Comparison, PlannedVariant, Results, VariantResult, begin, own_options
from orchestrator.errors import MachineCannotError, RunBrokeError, UsageError
from orchestrator.jobs import Answer, Job
from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import plan_json
from orchestrator.pool import Pool, Said, WorkerLostError
from orchestrator.resume import Resume, held, remove
from orchestrator.substrates import choose
from orchestrator.terminal.sweep import SweepDisplay

TRIES = 2  # of a run whose process or machine was lost
WRITTEN_EVERY_S = 1.0  # compare.json, which is written whole


class Place(Protocol):
    """Where runs are carried out, `slots` at a time; entered before the first, left after the last."""

    slots: int
    alike: bool  # what one slot cannot, none can

    async def run(self, slot: int, job: Job, directory: Path, said: Said) -> Answer:
        """Carry out a job to its end, in that run directory. Raises WorkerLostError."""


OpenPlace = Callable[[int], AbstractAsyncContextManager[Place]]  # of the lock's file descriptor


def slots_here(variants: Sequence[PlannedVariant], options: RunOptions, jobs: int | None, cores: int) -> int:
    """How many of these runs this machine carries out at a time. UsageError where `jobs` would spoil their figures."""
    real = {kind.name for variant in variants for kind, _ in [choose(variant.plan, own_options(variant, options))]}
    real -= {"simulation"}
    if not real:
        return min(jobs or cores, len(variants))
    if jobs is not None and jobs > 1:
        names = " and ".join(sorted(real))
        raise UsageError(
            f"--jobs {jobs}: several runs on {names} at once would disturb each other's figures; "
            "leave --jobs out, simulate them (--substrate simulation), or give each a machine (--on ray://...)"
        )
    return 1


def sweep(
    variants: Sequence[PlannedVariant],
    scenario_text: str,
    options: RunOptions,
    open_place: OpenPlace,
    display: SweepDisplay,
    resume: Resume = Resume.NOTHING,
) -> Comparison:
    """Run all variants below `options.out`; what was interrupted is missing from the comparison.

    Raises UsageError where the folder holds what must not be lost, and MachineCannotError where no run can begin here.
    """
    with held(options.out) as lock:
        results, ahead = begin(variants, options, display.warn, resume)
        display.begin([(each.label, each.factors) for each in variants], {each.label for each in ahead})
        for result in results.comparison.results:
            display.kept(result.label, result.exit_code)
        try:
            with suppress(KeyboardInterrupt, asyncio.CancelledError):
                asyncio.run(_Sweep(ahead, scenario_text, options, display, results).run(open_place(lock)))
        finally:
            results.write()
    return results.comparison


def in_processes(slots: int) -> OpenPlace:
    """So many processes of this machine."""
    return lambda lock: Pool(slots, lock)


class _Sweep:
    """One sweep: what waits, and where what came of it goes."""

    def __init__(
        self,
        ahead: Sequence[PlannedVariant],
        scenario_text: str,
        options: RunOptions,
        display: SweepDisplay,
        results: Results,
    ) -> None:
        self._waiting = deque(ahead)
        self._text = scenario_text
        self._options = options
        self._display = display
        self._results = results
        self._written_at = 0.0

    async def run(self, place: AbstractAsyncContextManager[Place]) -> None:
        """Until nothing waits. Cancelled (SIGTERM, Ctrl-C) it leaves the place, which ends what still runs."""
        this = asyncio.current_task()
        assert this is not None
        async with place as entered:
            # Only now: Ray, as it starts, takes the signal for itself.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
            tasks = [asyncio.create_task(self._slot(entered, number)) for number in range(entered.slots)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _slot(self, place: Place, number: int) -> None:
        while self._waiting:
            variant = self._waiting.popleft()
            self._display.started(variant.label)
            began = time.monotonic()
            result = await self._one(place, number, variant)
            self._display.ended(result.label, result.exit_code, result.error, time.monotonic() - began)
            self._results.add(result)
            if time.monotonic() - self._written_at >= WRITTEN_EVERY_S:
                self._results.write()
                self._written_at = time.monotonic()

    async def _one(self, place: Place, slot: int, variant: PlannedVariant) -> VariantResult:
        """One run to its end, made again if it is lost."""
        own = own_options(variant, self._options)
        job = Job.of(variant.label, plan_json(variant.plan), self._text, own)
        lost: list[str] = []
        while len(lost) < TRIES:
            try:
                answer = await place.run(slot, job, own.out, lambda event: self._display.said(variant.label, event))
            except WorkerLostError as loss:
                lost.append(str(loss))
                again = "; the run is made again" if len(lost) < TRIES else ""
                self._display.warn(f"{variant.label}: {loss}{again}")
                await asyncio.to_thread(remove, own.out)
                continue
            if answer.exit_code == MachineCannotError.exit_code and place.alike:
                raise MachineCannotError(answer.error or variant.label)
            return _result(variant.label, answer, own.out, tuple(lost))
        error = f"lost {len(lost)} times: {lost[-1]}"
        return VariantResult(variant.label, RunBrokeError.exit_code, None, error, tuple(lost))


def _result(label: str, answer: Answer, directory: Path, lost: tuple[str, ...]) -> VariantResult:
    """What a run directory says came of it, or what the answer says where there is none."""
    if answer.error is not None:
        return VariantResult(label, answer.exit_code, None, answer.error, lost)
    try:
        found = json.loads((directory / "result.json").read_text(encoding="utf-8"))
        outcome = Outcome.from_json(found, directory)
    except (OSError, ValueError) as error:
        return VariantResult(label, RunBrokeError.exit_code, None, f"its result cannot be read: {error}", lost)
    return VariantResult(label, outcome.exit_code, outcome, None, lost)
