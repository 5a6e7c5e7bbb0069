"""One run, top to bottom: choose where, make it, prove it, let it learn, disturb it, end it, judge it.

No `if` on the kind of substrate, fault or algorithm: what differs is asked of the substrate as an ability.
"""

import asyncio
import math
import os
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from types import FrameType
from typing import Any

from node_image import plugins
from node_image.meters import Metering
from node_image.outcomes import UnfitError
from orchestrator import journal, summary, verdict
from orchestrator.environment import environment
from orchestrator.errors import EdgebedError, RunBrokeError, RunTimedOutError, UsageError
from orchestrator.exhausted import in_words
from orchestrator.faults.schedule import FaultReport, run_schedule
from orchestrator.faults.watch import Watch
from orchestrator.interrupted import Interrupted, Traces, read_traces
from orchestrator.outcome import Outcome, RunOptions, Status
from orchestrator.plan import Plan, with_data_dir
from orchestrator.preflight import preflight
from orchestrator.probes import paths_to_probe, probe_links, rtt_s
from orchestrator.receipt import Check, Receipt, check_records, check_steps, cores_wanted, slow_down_needed
from orchestrator.resumed import checks_before, died_before, in_notes, resumptions, unknown_of_faults
from orchestrator.rundir import SCHEMA_VERSION, SO_FAR, RunDirectory, lived_in
from orchestrator.so_far import SoFar
from orchestrator.substrates import SubstrateKind, choose, shaper_of
from orchestrator.substrates.base import NodeExit, Substrate
from orchestrator.telemetry.collector import Collector, View
from orchestrator.telemetry.metering import host_metered
from orchestrator.telemetry.prometheus import Endpoint, serving
from orchestrator.terminal import Display
from orchestrator.verify import to_json, verify
from orchestrator.verify.history import gather

# What nodes do, as the terminal says it, while the run lasts and at its end.
LEARNING = ("learn", "each node evaluates its model a last time")
PROGRAMS = ("work", "the programs are ended")
SAMPLES = 100  # of the substrate's counters, a run
SHORTEST_SAMPLE_S = 1.0
WATCH_EVERY_S, WATCHES = 10.0, 20  # what the substrate watches is kept so often, or so many times a run
DEPLOY_WITHIN_S = 300.0
PROBE_WITHIN_S = 300.0
STOP_WITHIN_S = 120.0
FIRST_TIMEOUT_S = 1.0  # of Linux, for a SYN; not slowed
LAST_LINES = 3  # of a node that died, at the terminal; events.jsonl has more, its stderr all
FAULT_EVENTS = {
    "fault_injected": "began",
    "fault_healed": "ended",
    "fault_resumed": "acts again",
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
    main: asyncio.Task[None] | None = None  # what a signal cancels
    over: asyncio.Event = field(default_factory=asyncio.Event)  # the run has come to its own end, or cannot go on
    died: NodeExit | None = None  # the coordinator, if it ended by itself
    receipt: Receipt = field(default_factory=Receipt)
    faults: list[FaultReport] = field(default_factory=list)
    watch: Watch = field(default_factory=Watch)
    phases_s: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)  # why the run is degraded
    view: Endpoint | None = None  # where live metrics are read
    lasted_s: float = 0.0
    began_unix_s: float | None = None  # of a simulated run: so that it ended when it did
    is_resumed: bool = False  # the folder was there before
    past: Traces | None = None  # what a run that was killed has recorded, where this one goes on with it
    watched: tuple[Check, ...] = ()  # the substrate, when that was last kept
    watched_until_s: float = 0.0

    @property
    def from_s(self) -> float:
        """When in the run's time this process begins: later than 0 where it goes on."""
        return 0.0 if self.past is None else self.past.at_s

    @property
    def is_slowed(self) -> bool:
        """Whether its seconds are longer than real ones; virtual ones have no length."""
        return self.kind.real_time and self.plan.slow_down != 1

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
        if self.view is not None:
            self.view.event(event, details)
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
    directory.create(plan, scenario_text, {"substrate": kind.name, "shaper": shaper_of(plan, options)})
    with lived_in(directory.path):
        plugins.write_copies(options.plugins, directory.path)
        run = _Run(plan, options, display, secrets.token_hex(8), kind, directory)
        if reason:
            run.notes.append(reason)
        for warning in kind.warns(plan, options):
            display.warn(warning)
            run.notes.append(warning)
        return _carry_out(run)


def go_on(found: Interrupted, options: RunOptions, display: Display) -> Outcome:
    """Bring a run that was killed to its end, in its directory: in virtual time from its beginning, else where it was.

    What it left on this machine is removed first. Raises UsageError where it lives, MachineCannotError as `execute`.
    """
    options = replace(options, out=found.directory, substrate=found.substrate, shaper=found.shaper)
    kind, _ = choose(found.plan, options)
    with lived_in(found.directory):
        if (found.directory / "result.json").exists():  # it came to its end while we waited for it
            raise UsageError(f"the run in {found.directory} has its result already: edgebed report {found.directory}")
        journal.wait_for_end(found.directory)
        journal.clean(found.directory)
        preflight(found.plan, kind, options)
        directory = RunDirectory(found.directory.resolve())
        past = read_traces(found) if kind.real_time else None
        run = _Run(found.plan, options, display, secrets.token_hex(8), kind, directory, is_resumed=True, past=past)
        if past is None:
            directory.start_over(found.plan)
            why = "it had not begun" if kind.real_time else "its time is virtual, so the same plan gives the same bytes"
            display.phase("resume", f"from the beginning: {why}")
        else:
            directory.go_on(found.plan, past.events[-1].number or len(past.events))
            display.phase("resume", f"at {past.at_s:.2f} s of {found.plan.stop_after_s:g} s")
        return _carry_out(run)


def _carry_out(run: _Run) -> Outcome:
    """Run it in its directory, and conclude whatever came of it."""
    plan, kind, directory = run.plan, run.kind, run.directory
    if kind.real_time:
        run.receipt.facts["slow_down"] = plan.slow_down  # what is found is in the scenario's time
    if plan.slow_down != 1:
        run.notes.append(_about_time(run))
    if run.past is not None:
        _remember(run, run.past)
    status: Status = "complete"
    if run.past is not None and run.past.is_over:
        return _conclude(run, status)
    with asyncio.Runner(loop_factory=kind.event_loop) as runner, _terminate_as_interrupt(run):
        try:
            runner.run(_phases(run))
        except (KeyboardInterrupt, asyncio.CancelledError):
            status = "interrupted"
            run.notes.append("interrupted: figures cover the time until then")
        except (UsageError, UnfitError) as problem:
            if not run.is_resumed:
                directory.remove()  # nothing has run: the scenario asks for what its data do not have
            raise UsageError(str(problem)) from problem
        except (TimeoutError, RunTimedOutError) as problem:
            status = "timed_out"
            run.notes.append(str(problem) or "a process gave no answer in time; the logs are in the run directory")
        except (EdgebedError, OSError, MemoryError) as problem:
            status = "broke"
            run.notes.append(in_words(problem) or str(problem))
        except Exception as problem:
            mistake = plugins.find_mistake(problem)
            run.notes.append(f"a defect of Edgebed's: {problem!r}" if mistake is None else str(mistake))
            if mistake is None:
                _conclude(run, "broke")
                raise
            status = "broke"
    try:
        return _conclude(run, status)
    except (OSError, MemoryError) as problem:
        why = "\n".join([*run.notes, f"its result could not be written: {in_words(problem) or problem}"])
        raise RunBrokeError(f"the run in {directory.path} has no result.\n{why}") from problem


def _remember(run: _Run, past: Traces) -> None:
    """Write down that the run goes on, and take over what is known of it from before."""
    details = {
        "down_s": round(past.down_s, 3),
        "counted_until_s": past.counted.t,
        "watched_until_s": past.counted.watched_until_s,
        "nodes": list(past.lived),
    }
    run.directory.event(past.at_s, "run_resumed", details)
    run.faults = [each.report for each in past.faults.faults]
    run.receipt.checks.extend(checks_before(run.directory.path, past))
    run.untrue.extend(died_before(past.events))
    for name, record in past.records:
        run.watch.add(name, record)
    if past.is_over:
        run.lasted_s = next((event.t for event in past.events if event.name == "run_ended"), past.at_s)
        run.began_unix_s = past.written_unix_s - run.lasted_s
        if not any(event.name == "run_ended" for event in past.events):
            run.directory.event(past.at_s, "run_ended", {})
        if not (run.directory.path / "links.json").exists():
            links = {name: asdict(count) for name, count in past.counted.links.items()}
            run.directory.write("links.json", {"links": links})


def _about_time(run: _Run) -> str:
    """What `slow_down` comes to here."""
    if not run.is_slowed:
        return f"slow_down: {run.plan.slow_down:g} has no meaning in {run.kind.name}, whose time is virtual"
    text = f"slowed down: all times are the scenario's, and each of its seconds took {run.plan.slow_down:g} real ones"
    longest_s = run.plan.slow_down * max((rtt_s(path) for path in paths_to_probe(run.plan)), default=0.0)
    if longest_s < FIRST_TIMEOUT_S:
        return text
    return f"{text}; a round trip took up to {longest_s:.1f} real ones, longer than TCP waits for a SYN"


async def _phases(run: _Run) -> None:
    plan, past, run.main = run.plan, run.past, asyncio.current_task()
    async with AsyncExitStack() as stack:
        run.view = stack.enter_context(_live_metrics(run))
        if run.view is not None:
            run.event(run.from_s, "metrics_served", {"url": run.view.url})
        views: list[View] = [run.watch, *([run.view] if run.view is not None else [])]
        collector = Collector(plan, run.directory, views, run.event, None if past is None else past.counted)
        if past is not None:
            collector.remember(past.records, past.lived, past.at_s)
        async with run.phase("network", f"{len(plan.nodes)} nodes, {len(plan.links)} directed links"):
            substrate = run.kind.build(plan, run.directory.path, run.run_id, run.options)
            await stack.enter_async_context(substrate)
        await stack.enter_async_context(_background(_listen(run, substrate, collector)))
        async with run.phase("deploy", f"{len(plan.nodes)} nodes", DEPLOY_WITHIN_S):
            await _together(substrate.start(node) for node in plan.nodes)
        if "ask" in substrate.can and run.options.probe:
            within_s = PROBE_WITHIN_S * plan.slow_down
            async with run.phase("probe", "every link is measured before the run", within_s):
                await probe_links(plan, substrate, run.receipt)
        elif "ask" in substrate.can:
            run.notes.append("the links were not probed before the run (--no-probe)")
        for check in run.receipt.failed():
            run.display.warn(str(check))
        # What is known by now, for those who watch and in case the run is killed; both are written anew at its end.
        run.directory.write("receipt.json", run.receipt.to_json(final=False))
        run.directory.write("environment.json", environment() | {"run_id": run.run_id, "substrate": run.kind.name})
        if run.view is not None:
            run.view.checks(run.receipt.checks)
            await run.view.wait_for_first_read()
        try:
            schedule = partial(_faults, run, substrate)
            async with AsyncExitStack() as acting:
                if past is None:
                    await substrate.begin()
                    run.event(0.0, "run_began", {})
                else:  # what acted when the run was killed acts again before time goes on
                    await acting.enter_async_context(schedule())
                    await substrate.begin(past.at_s, past.faults.act_again)
                faults = schedule() if past is None else acting.pop_all()
            _warn_of_load(run, substrate)
            slowed = f", {plan.slow_down:g} times slowed down" if run.is_slowed else ""
            at_work, at_the_end = LEARNING if plan.workload is None else PROGRAMS
            async with run.phase(at_work, f"{plan.stop_after_s:g} s{slowed}"):
                await _learn(run, substrate, collector, faults)
            if run.died is not None:
                raise RunBrokeError(
                    f"{run.died.node} ended by itself (exit status {run.died.returncode}); its last words:\n"
                    f"{run.died.last_words}"
                )
            async with run.phase("stop", at_the_end, STOP_WITHIN_S):
                await _together(substrate.stop(node) for node in plan.nodes)
        finally:
            run.facts = substrate.facts()
            for node in plan.nodes:
                await substrate.collect(node, run.directory.path / "nodes" / node.name)
            run.receipt.checks.extend(await substrate.fidelity())
            if run.view is not None:
                run.view.checks(run.receipt.checks)
            if collector.died:
                names = ", ".join(sorted({exit_.node for exit_ in collector.died}))
                run.untrue.append(f"ended by themselves, which no fault asked for: {names}")
            if collector.bad_lines:
                run.untrue.append(f"{collector.bad_lines} lines of nodes could not be read as records")


def _warn_of_load(run: _Run, substrate: Substrate) -> None:
    """Say it at the beginning where the devices' steps alone are too much for this machine."""
    cores = os.cpu_count() or 1
    wanted = cores_wanted(substrate.facts().get("cpu_shares", {}).values(), run.plan.slow_down)
    if run.kind.real_time and wanted > cores:
        needed = math.ceil(run.plan.slow_down * wanted / cores)
        run.display.warn(
            f"while all devices compute they want {wanted:.1f} cores, and this machine has {cores}: "
            f"steps will take too long (--slow-down {needed}, or more)"
        )


def _live_metrics(run: _Run) -> AbstractContextManager[Endpoint | None]:
    """What Prometheus reads while the run lasts; in virtual time there is nothing to read it."""
    if not run.kind.real_time:
        return nullcontext()
    facts = {"substrate": run.kind.name, "git_rev": environment()["commit"] or ""}
    return serving(run.plan, run.run_id, run.directory.path, facts, run.display.warn)


def _faults(run: _Run, substrate: Substrate) -> AbstractAsyncContextManager[None]:
    """While the block lasts the faults of the plan act; when it ends those that act are healed."""
    past = None if run.past is None else run.past.faults
    log = _fault_log(run, substrate)
    return _background(run_schedule(run.plan, substrate, run.watch, log, run.faults, run.view, past))


async def _learn(
    run: _Run, substrate: Substrate, collector: Collector, faults: AbstractAsyncContextManager[Any]
) -> None:
    """The run itself: faults act and counters are read until its end. However it ends, what acts is healed first."""
    try:
        async with (
            host_metered(run.options.meter, substrate.now, collector.measured, _meter_log(run, substrate)),
            substrate.metered(collector.measured, _meter_log(run, substrate)),
            _background(_sample(run, substrate, collector)),
            faults,
            _background(substrate.sleep_until(run.plan.stop_after_s), run.over.set),
        ):
            await run.over.wait()
            run.lasted_s = substrate.now()
    finally:
        run.lasted_s = run.lasted_s or substrate.now()
        run.began_unix_s = time.time() - run.lasted_s
        run.event(run.lasted_s, "run_ended", {})
        await _count(run, substrate, collector)
        run.directory.write("links.json", {"links": {name: asdict(count) for name, count in collector.links.items()}})


async def _listen(run: _Run, substrate: Substrate, collector: Collector) -> None:
    """Take what the nodes say. The coordinator's own end, good or bad, is the run's."""
    coordinators = {node.name for node in run.plan.nodes if node.role == "coordinator"}
    async for item in substrate.output():
        collector.take(item, max(run.from_s, substrate.now()))
        if isinstance(item, NodeExit) and not item.asked and item.node in coordinators:
            run.died = item
            run.over.set()
        if collector.finished():
            run.over.set()


async def _sample(run: _Run, substrate: Substrate, collector: Collector) -> None:
    every_s = max(SHORTEST_SAMPLE_S, run.plan.stop_after_s / SAMPLES)
    number = 1 + math.floor(run.from_s / every_s)
    while True:
        await substrate.sleep_until(number * every_s)
        await _count(run, substrate, collector)
        run.display.progress(substrate.now(), run.plan.stop_after_s, collector.state())
        number += 1


async def _count(run: _Run, substrate: Substrate, collector: Collector) -> None:
    """Take a sample of all counters. In real time it is written down that it is whole: who goes on believes no other.

    What the substrate watches of itself would be gone with it; to ask for it takes a while, so it is done more rarely.
    """
    t = await collector.sample(substrate)
    if "resume" not in run.kind.can:
        return
    every_s = max(WATCH_EVERY_S, run.plan.stop_after_s / WATCHES)
    if t >= max(run.from_s, run.watched_until_s) + every_s:
        run.watched, run.watched_until_s = tuple(await substrate.fidelity()), t
    run.directory.flush()
    run.directory.write(SO_FAR, SoFar(t, collector.links, run.watched, run.watched_until_s).to_json())


def _meter_log(run: _Run, substrate: Substrate) -> Callable[[Metering], None]:
    def ended(metering: Metering) -> None:
        run.event(substrate.now(), "meter", asdict(metering))
        if metering.missing_s:
            why = f" ({metering.error})" if metering.error else ""
            run.notes.append(
                f"the meter {metering.meter} of {metering.component} did not see"
                f" {metering.missing_s:.1f} s of {metering.lasted_s:.1f} s{why}"
            )

    return ended


def _fault_log(run: _Run, substrate: Substrate) -> Any:
    return lambda event, details: run.event(substrate.now(), event, details)


def _conclude(run: _Run, status: Status) -> Outcome:
    """Read the records back, judge, and write what is left to write; result.json comes last."""
    run.directory.close()
    records = summary.read_run(run.plan, run.directory.path)
    found = summary.summarise_records(run.plan, *records)
    found["lasted_s"] = run.lasted_s
    is_virtual = not run.kind.real_time
    history = gather(run.directory.path, run.plan, records, run.faults, found, is_virtual=is_virtual)
    check_steps(run.plan, history.nodes, run.facts.get("calibration", {}), run.receipt)
    for fault in run.faults:
        if fault.error is not None:
            run.untrue.append(f"fault {fault.index} ({fault.kind}): {fault.error}")
    check_records(history.events, run.receipt)
    run.notes.extend(in_notes(history.events))
    run.untrue.extend(unknown_of_faults(history.events))
    run.untrue.extend(str(check) for check in run.receipt.failed())
    checked = verify(history)
    run.directory.write("verify.json", to_json(checked))
    if status == "complete":  # of a run that was cut short less can be asked
        run.untrue.extend(
            f"{each.id} does not hold: {'; '.join(each.reasons)}" for each in checked if each.truth == "false"
        )
    if status == "complete" and run.untrue:
        status = "degraded"
    if run.kind.real_time:
        shares = run.facts.get("cpu_shares", {}).values()
        run.receipt.facts |= {"cores_wanted": cores_wanted(shares, run.plan.slow_down), "cores": os.cpu_count()}
        needed = slow_down_needed(run.receipt.checks, run.plan.slow_down)
        if needed is not None and "slow_down" in run.kind.can and run.plan.workload is None:
            run.receipt.facts["slow_down_needed"] = needed
            run.notes.append(f"this machine could not keep up; --slow-down {needed:g} should give it the time")
    findings = verdict.judge(run.plan.expectations, found, run.faults)
    code = verdict.exit_code(status, findings, run.options.allow_degraded)
    outcome = Outcome(status, code, run.directory.path, found, findings, (*run.notes, *run.untrue))
    run.directory.write("receipt.json", run.receipt.to_json())
    facts = {
        "run_id": run.run_id,
        "substrate": run.kind.name,
        "began_unix_s": run.began_unix_s,
        "phases_s": run.phases_s,
        **run.facts,
    }
    resumed = {"resumed": found_resumed} if (found_resumed := resumptions(history.events)) else {}
    run.directory.write("environment.json", environment() | facts | resumed)
    run.directory.write(
        "result.json",
        {
            "schema_version": SCHEMA_VERSION,
            "name": run.plan.name,
            "seed": run.plan.seed,
            "substrate": run.kind.name,
            "faults": [asdict(fault) for fault in run.faults],
            **resumed,
            **outcome.to_json(),
        },
    )
    (run.directory.path / SO_FAR).unlink(missing_ok=True)
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
def _terminate_as_interrupt(run: _Run) -> Iterator[None]:
    """SIGTERM, and SIGHUP of a terminal that closed, end a run as Ctrl-C does: healed, collected, a partial result.

    A run that a shell has put into the background ignores SIGINT, and asyncio then listens to none: it is cancelled.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.raise_signal(signal.SIGINT)
        elif run.main is not None:
            run.main.get_loop().call_soon_threadsafe(run.main.cancel)

    ours = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in ours}  # one that nohup has switched off stays so
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
