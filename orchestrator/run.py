"""One run, top to bottom: choose where, make it, prove it, let it learn, disturb it, end it, judge it.

No `if` on the kind of substrate, fault or algorithm: what differs is asked of the substrate as an ability.
"""

import asyncio
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from types import FrameType
from typing import Any

from node_image.data.folder import DataNotFoundError
from node_image.data.partition import PartitionError
from orchestrator import summary, verdict
from orchestrator.environment import environment
from orchestrator.errors import EdgebedError, RunBrokeError, RunTimedOutError, UsageError
from orchestrator.faults.schedule import FaultReport, run_schedule
from orchestrator.outcome import Outcome, RunOptions, Status
from orchestrator.plan import Plan, with_data_dir
from orchestrator.preflight import preflight
from orchestrator.probes import probe_links
from orchestrator.receipt import Receipt, check_steps
from orchestrator.rundir import SCHEMA_VERSION, RunDirectory
from orchestrator.substrates import SubstrateKind, choose
from orchestrator.substrates.base import NodeExit, Substrate
from orchestrator.telemetry.collector import Collector
from orchestrator.telemetry.prometheus import serving
from orchestrator.terminal import Display

SAMPLES = 100  # of the substrate's counters, a run
SHORTEST_SAMPLE_S = 1.0
DEPLOY_WITHIN_S = 300.0
PROBE_WITHIN_S = 300.0
STOP_WITHIN_S = 120.0
LAST_LINES = 3  # of a node that died, at the terminal; events.jsonl has more, its stderr all
FAULT_EVENTS = {
    "fault_injected": "began",
    "fault_healed": "ended",
    "fault_failed": "FAILED",
    "fault_not_healed": "COULD NOT BE ENDED",
}


@dataclass
class _Run:
    """What the phases of one run share."""

    plan: Plan
    options: RunOptions
    display: Display
    run_id: str
    kind: SubstrateKind
    directory: RunDirectory
    over: asyncio.Event = field(default_factory=asyncio.Event)  # the run has come to its own end, or cannot go on
    died: NodeExit | None = None  # the coordinator, if it ended by itself
    receipt: Receipt = field(default_factory=Receipt)
    faults: list[FaultReport] = field(default_factory=list)
    phases_s: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)  # why the run is degraded
    lasted_s: float = 0.0

    @asynccontextmanager
    async def phase(self, name: str, detail: str = "", within_s: float | None = None) -> AsyncIterator[None]:
        """Show a phase, and write down how long it took; RunTimedOutError if it takes longer than it may."""
        self.display.phase(name, detail)
        began = time.monotonic()
        limit = asyncio.timeout(within_s)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if limit.expired():
                raise RunTimedOutError(f"phase {name!r} did not end within {within_s:g} s") from error
            raise
        finally:
            self.phases_s[name] = round(time.monotonic() - began, 3)

    def event(self, t: float, event: str, details: dict[str, Any]) -> None:
        """Write an event down; show those that a person at the terminal wants to know."""
        self.directory.event(t, event, details)
        if event.startswith("fault_"):
            whom = ", ".join(details.get("nodes") or details.get("links") or ())
            seen = details.get("evidence") or details.get("error") or ""
            self.display.event(t, f"{details['kind']} of {whom} {FAULT_EVENTS[event]}: {seen}")
        elif event == "metrics_served":
            self.display.phase("metrics", f"live at {details['url']} until the run ends")
        elif event == "node_exited" and not details["asked"]:
            words = " | ".join(details["last_words"].splitlines()[-LAST_LINES:]) or "nothing on its stderr"
            self.display.event(t, f"{details['node']} ended by itself (exit status {details['returncode']}): {words}")


def execute(plan: Plan, scenario_text: str, options: RunOptions, display: Display) -> Outcome:
    """Run a plan to its end and write the run directory.

    Raises MachineCannotError or UsageError before anything is created; any later failure ends in an Outcome.
    """
    kind, reason = choose(plan, options)
    if reason:
        display.warn(reason)
    preflight(plan, kind, options)
    plan = with_data_dir(plan, options.data_dir)
    directory = RunDirectory(options.out.resolve())  # nodes write into it from a folder of their own
    directory.create(plan, scenario_text)
    run = _Run(plan, options, display, secrets.token_hex(8), kind, directory)
    if reason:
        run.notes.append(reason)
    status: Status = "complete"
    with asyncio.Runner(loop_factory=kind.event_loop) as runner, _terminate_as_interrupt():
        try:
            runner.run(_phases(run))
        except (KeyboardInterrupt, asyncio.CancelledError):
            status = "interrupted"
            run.notes.append("interrupted: figures cover the time until then")
        except (UsageError, DataNotFoundError, PartitionError) as problem:
            directory.remove()  # nothing has run: the scenario asks for what its data do not have
            raise UsageError(str(problem)) from problem
        except (TimeoutError, RunTimedOutError) as problem:
            status = "timed_out"
            run.notes.append(str(problem) or "a process gave no answer in time; the logs are in the run directory")
        except (EdgebedError, OSError) as problem:
            status = "broke"
            run.notes.append(str(problem))
        except Exception as problem:
            run.notes.append(f"a defect of Edgebed's: {problem!r}")
            _conclude(run, "broke")
            raise
    return _conclude(run, status)


async def _phases(run: _Run) -> None:
    plan = run.plan
    async with AsyncExitStack() as stack:
        view = stack.enter_context(serving(plan, run.run_id) if run.kind.real_time else nullcontext())
        if view is not None:
            run.event(0.0, "metrics_served", {"url": view.url})
        collector = Collector(plan, run.directory, view, run.event)
        async with run.phase("network", f"{len(plan.nodes)} nodes, {len(plan.links)} directed links"):
            substrate = run.kind.build(plan, run.directory.path, run.run_id, run.options)
            await stack.enter_async_context(substrate)
        await stack.enter_async_context(_background(_listen(run, substrate, collector)))
        async with run.phase("deploy", f"{len(plan.nodes)} nodes", DEPLOY_WITHIN_S):
            await _together(substrate.start(node) for node in plan.nodes)
        if "ask" in substrate.can and run.options.probe:
            async with run.phase("probe", "every link is measured before the run", PROBE_WITHIN_S):
                await probe_links(plan, substrate, run.receipt)
        elif "ask" in substrate.can:
            run.notes.append("the links were not probed before the run (--no-probe)")
        for check in run.receipt.failed():
            run.display.warn(str(check))
        try:
            await substrate.begin()
            run.event(0.0, "run_began", {})
            async with run.phase("learn", f"{plan.stop_after_s:g} s"):
                await _learn(run, substrate, collector)
            if run.died is not None:
                raise RunBrokeError(
                    f"{run.died.node} ended by itself (exit status {run.died.returncode}); its last words:\n"
                    f"{run.died.last_words}"
                )
            async with run.phase("stop", "each node evaluates its model a last time", STOP_WITHIN_S):
                await _together(substrate.stop(node) for node in plan.nodes)
        finally:
            run.facts = substrate.facts()
            for node in plan.nodes:
                await substrate.collect(node, run.directory.path / "nodes" / node.name)
            run.receipt.checks.extend(await substrate.fidelity())
            if collector.died:
                names = ", ".join(sorted({exit_.node for exit_ in collector.died}))
                run.untrue.append(f"ended by themselves, which no fault asked for: {names}")
            if collector.bad_lines:
                run.untrue.append(f"{collector.bad_lines} lines of nodes could not be read as records")


async def _learn(run: _Run, substrate: Substrate, collector: Collector) -> None:
    """The run itself: faults act and counters are read until its end. However it ends, what acts is healed first."""
    try:
        async with (
            _background(_sample(run, substrate, collector)),
            _background(run_schedule(run.plan, substrate, _fault_log(run, substrate), run.faults)),
            _background(substrate.sleep_until(run.plan.stop_after_s), run.over.set),
        ):
            await run.over.wait()
            run.lasted_s = substrate.now()
    finally:
        run.lasted_s = run.lasted_s or substrate.now()
        run.event(run.lasted_s, "run_ended", {})
        await collector.sample(substrate)


async def _listen(run: _Run, substrate: Substrate, collector: Collector) -> None:
    """Take what the nodes say. The coordinator's own end, good or bad, is the run's."""
    coordinators = {node.name for node in run.plan.nodes if node.role == "coordinator"}
    async for item in substrate.output():
        collector.take(item, substrate.now())
        if isinstance(item, NodeExit) and not item.asked and item.node in coordinators:
            run.died = item
            run.over.set()
        if collector.finished():
            run.over.set()


async def _sample(run: _Run, substrate: Substrate, collector: Collector) -> None:
    every_s = max(SHORTEST_SAMPLE_S, run.plan.stop_after_s / SAMPLES)
    number = 1
    while True:
        await substrate.sleep_until(number * every_s)
        await collector.sample(substrate)
        run.display.progress(substrate.now(), run.plan.stop_after_s, collector.state())
        number += 1


def _fault_log(run: _Run, substrate: Substrate) -> Any:
    return lambda event, details: run.event(substrate.now(), event, details)


def _conclude(run: _Run, status: Status) -> Outcome:
    """Read the records back, judge, and write what is left to write; result.json comes last."""
    run.directory.close()
    found = summary.summarise(run.plan, run.directory.path)
    found["lasted_s"] = run.lasted_s
    check_steps(run.plan, run.directory.path, run.facts.get("calibration", {}), run.receipt)
    for fault in run.faults:
        if fault.error is not None:
            run.untrue.append(f"fault {fault.index} ({fault.kind}): {fault.error}")
    run.untrue.extend(str(check) for check in run.receipt.failed())
    if status == "complete" and run.untrue:
        status = "degraded"
    findings = verdict.judge(run.plan.expectations, found, run.faults)
    code = verdict.exit_code(status, findings, run.options.allow_degraded)
    outcome = Outcome(status, code, run.directory.path, found, findings, (*run.notes, *run.untrue))
    run.directory.write("receipt.json", run.receipt.to_json())
    facts = {"run_id": run.run_id, "substrate": run.kind.name, "phases_s": run.phases_s, **run.facts}
    run.directory.write("environment.json", environment() | facts)
    run.directory.write(
        "result.json",
        {
            "schema_version": SCHEMA_VERSION,
            "name": run.plan.name,
            "seed": run.plan.seed,
            "substrate": run.kind.name,
            "faults": [asdict(fault) for fault in run.faults],
            **outcome.to_json(),
        },
    )
    if run.options.keep == "never" or (run.options.keep == "on-failure" and code == 0):
        for node in run.plan.nodes:
            shutil.rmtree(run.directory.path / "nodes" / node.name / "state", ignore_errors=True)
    return outcome


async def _together(jobs: Iterable[Awaitable[None]]) -> None:
    """All at once; the first failure is raised when the others have ended too."""
    results = await asyncio.gather(*jobs, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


@asynccontextmanager
async def _background(job: Coroutine[Any, Any, None], then: Any = None) -> AsyncIterator[None]:
    """Run a job beside the block; when the block ends, cancel it and wait for its own end."""
    task = asyncio.create_task(job)
    if then is not None:
        task.add_done_callback(lambda _: then())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: healed, collected, a partial result."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
