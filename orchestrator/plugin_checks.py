"""What `edgebed test-plugin` asks of a file: small simulated runs, in good times and bad, each finding with its remedy.

A run that uses up its share of processor time is stopped, and the line of the plug-in where it was is told: on a
virtual clock, a loop in which nobody waits for time to pass has no end.
"""

import asyncio
import atexit
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from node_image import registry
from node_image.plugins import Plugin, PluginError, find_mistake, loaded
from node_image.spec import Chosen, ComputeSpeed
from orchestrator.errors import EdgebedError
from orchestrator.meddling import Meddled
from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import Plan, make_plan
from orchestrator.run import execute
from orchestrator.scenario import load_scenario
from orchestrator.summary import read_records
from orchestrator.terminal import QuietDisplay

if TYPE_CHECKING:
    from node_image.learner import Learner

MOST_CPU_S = 60.0  # of one run; those of the templates take one
SLOW = ComputeSpeed(macs_per_s=1e8, op_overhead_s=2e-3)  # little to compute in a minute
BEYOND_CHANCE = 1.5  # what learning is: so many times the accuracy of always naming the commonest class
STEPS = 5
SCENARIO: Mapping[str, Any] = {
    "name": "check",
    "about": "What a plug-in is checked in.",
    "seed": 1,
    "stop_after": "60 s",
    "devices": [{"group": "device", "count": 3, "profile": "raspberry_pi_4", "link": "wifi_2g4"}],
    "topology": {"kind": "star"},
}
LEARNING: Mapping[str, Any] = {
    "task": {"name": "digits"},
    "model": {"name": "mlp"},
    "algorithm": {"name": "fedavg"},
    "rule": {"name": "backprop", "learning_rate": 0.1},
}
FAULT = {"at": "15 s", "for": "15 s", "share": "30 %"}
DROPOUT = {"kind": "dropout", "by": "crash", **FAULT}
PARTITION = {"kind": "partition", "direction": "both", **FAULT}
_WRECKS: list[Any] = []  # tasks that would not end: to let go of one would run it again, without end


@dataclass(frozen=True)
class Finding:
    """What came of one check. `ok` None: not tried, or not judged. The remedy is for a check that failed."""

    check: str
    ok: bool | None
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.found}; what to do: {self.remedy}"


class _FailedError(Exception):
    """A check failed: what was found, and what to do."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


class _TooLongInterrupt(KeyboardInterrupt):
    """The processor time of a run is used up. Of this kind, because an event loop lets no other through."""


@dataclass
class _Bench:
    """Where a plug-in is checked: what it is, the folder of its runs, and the changes that its user asks for."""

    plugin: Plugin
    folder: Path
    changes: tuple[str, ...]
    runs: int = 0
    _plain: "_Ran | None" = None

    def plan(self, fault: Mapping[str, Any] | None = None, seed: int | None = None) -> Plan:
        """The checks' scenario with the plug-in in its place, on devices that take long over little."""
        learning = {**LEARNING, self.plugin.kind: {"name": self.plugin.name}}
        scenario = {**SCENARIO, "learning": learning, "faults": [fault] if fault else []}
        file = self.folder / "check.yaml"
        file.write_text(json.dumps(scenario))  # JSON is YAML
        plan = make_plan(load_scenario(file, self.changes), seed)
        nodes = tuple(replace(node, spec=replace(node.spec, speed=SLOW)) for node in plan.nodes)
        return replace(plan, nodes=nodes)

    def plain(self) -> "_Ran":
        """The run in which nothing goes wrong."""
        if self._plain is None:
            self._plain = self.run(self.plan())
        return self._plain

    def run(self, plan: Plan) -> "_Ran":
        """Run a plan in simulation; _FailedError where it does not come to its end with all its nodes."""
        self.runs += 1
        options = RunOptions(self.folder / f"run{self.runs}", "simulation", keep="always")
        stuck: list[str] = []
        try:
            with _processor_time(MOST_CPU_S, self.plugin.path, stuck):
                ran = _Ran(plan, execute(plan, "", options, QuietDisplay()))
        except KeyboardInterrupt as error:
            if not stuck:
                raise
            raise _FailedError(*_stuck(stuck)) from error
        if stuck:
            raise _FailedError(*_stuck(stuck))
        if ran.died:
            node, t, words = ran.died[0]
            raise _FailedError(
                f"{node} ended by itself at {t:.1f} s: {words.strip()}",
                "mend that line; what peers send must be read with care",
            )
        if ran.outcome.status != "complete":
            raise _FailedError("; ".join(ran.outcome.notes), "mend what the notes say")
        return ran

    def learner(self) -> "Learner":
        """A device's learner, as the run has it."""
        from node_image.learner import build

        return build(self.plan().nodes[-1].spec)


@dataclass(frozen=True)
class _Ran:
    """A run that has ended, read from its directory."""

    plan: Plan
    outcome: Outcome

    @property
    def accuracy(self) -> float | None:
        return self.outcome.summary.get("test_accuracy")

    @property
    def died(self) -> list[tuple[str, float, str]]:
        exits = [event for event in self._events() if event["event"] == "node_exited" and not event["asked"]]
        return [(event["node"], event["t"], event["last_words"]) for event in exits]

    def carried(self, metric: str) -> Counter[tuple[str, str, str]]:
        """Bytes of messages by the node that counted them, its peer and their kind; those of handshakes left out."""
        found: Counter[tuple[str, str, str]] = Counter()
        for node in self.plan.nodes:
            for record in read_records(self._records(node.name)):
                if record.metric == metric and record.labels["kind"] != "hello":
                    found[node.name, record.labels["peer"], record.labels["kind"]] += int(record.value)
        return found

    def sent_after(self, node: str, t: float) -> bool:
        """Whether a node sent a message after that time."""
        return any(
            record.t > t and record.metric == "sent_payload_bytes" and record.labels["kind"] != "hello"
            for record in read_records(self._records(node))
        )

    def records(self) -> dict[str, bytes]:
        """All that the nodes wrote down."""
        return {node.name: self._records(node.name).read_bytes() for node in self.plan.nodes}

    def _records(self, node: str) -> Path:
        return self.outcome.directory / "nodes" / node / "records.jsonl"

    def _events(self) -> Iterator[dict[str, Any]]:
        with (self.outcome.directory / "events.jsonl").open(encoding="utf-8") as file:
            yield from map(json.loads, file)


Check = Callable[[_Bench], str]


def check_plugin(file: Path, folder: Path, changes: Sequence[str] = ()) -> tuple[Finding, ...]:
    """All checks of one file, in order; runs go into `folder`, and `changes` (`a.b=c`) into their scenario.

    Where a first check fails on which the others stand, they are not tried.
    """
    try:
        with loaded([file]) as (plugin,):
            bench = _Bench(plugin, folder, tuple(changes))
            first = [Finding("is a plug-in", True, f"{plugin.kind} {plugin.name!r}")]
            first += [_tried(bench, name, check) for name, check in BASIC.items()]
            rest = {**OF_ALL, **OF_KIND[plugin.kind]}
            if not all(finding.ok for finding in first):
                return (*first, *(Finding(name, None, "not tried") for name in rest))
            return (*first, *(_tried(bench, name, check) for name, check in rest.items()))
    except PluginError as error:
        return (Finding("is a plug-in", False, str(error), "see `edgebed new` for a file that is one"),)


def _tried(bench: _Bench, name: str, check: Check) -> Finding:
    try:
        found = check(bench)
    except _FailedError as failed:
        return Finding(name, False, failed.found, failed.remedy)
    except EdgebedError as error:
        return Finding(name, False, str(error), "mend that; --set changes the scenario that the checks use")
    except Exception as error:
        mistake = find_mistake(error)
        if mistake is None:
            raise
        return Finding(name, False, str(mistake), "mend that line")
    return Finding(name, None if found.startswith("not judged") else True, found)


def _can_be_planned(bench: _Bench) -> str:
    return f"{len(bench.plan().nodes)} nodes, every parameter has a default"


def _runs_and_ends(bench: _Bench) -> str:
    ran = bench.plain()
    return f"{ran.outcome.summary['lasted_s']:g} s, all nodes ended when told"


def _learns(bench: _Bench) -> str:
    ran = bench.plain()
    labels = bench.learner().task.test_y
    chance = float(np.bincount(labels).max() / len(labels))
    if ran.accuracy is None:
        raise _FailedError(
            "no model was tested", "hand the model to node.learner.load(): that is tested when a run ends"
        )
    told = f"accuracy {ran.accuracy:.1%}, by guessing {chance:.1%}"
    if ran.accuracy < BEYOND_CHANCE * chance:
        if bench.plugin.kind in ("rule", "selection"):
            return f"not judged: {told}, which is right for features without labels"
        raise _FailedError(
            told, "look at train_loss in the records; is the model that was trained the one that is used?"
        )
    return told


def _bytes_add_up(bench: _Bench) -> str:
    ran = bench.plain()
    sent, received = ran.carried("sent_payload_bytes"), ran.carried("received_payload_bytes")
    for (node, peer, kind), size in received.items():
        if size > sent[peer, node, kind]:
            raise _FailedError(
                f"{node} received {size} bytes of {kind} from {peer}, who sent {sent[peer, node, kind]}",
                "send by node.send() alone: the transport counts what it carries",
            )
    return f"{received.total()} of {sent.total()} bytes sent were received"


def _repeats_itself(bench: _Bench) -> str:
    first, second = bench.plain().records(), bench.run(bench.plan()).records()
    if differing := [node for node in first if first[node] != second[node]]:
        raise _FailedError(
            f"{', '.join(differing)}: another run with the same seed gave other records",
            "draw from node.rng (a task: from data_seed), use node.now(), keep nothing in module variables, and do not "
            "go through sets",
        )
    return "two runs with one seed gave the same records"


def _survives(fault: Mapping[str, Any]) -> Check:
    def check(bench: _Bench) -> str:
        plan = bench.plan(fault)
        ran = bench.run(plan)
        (planned,) = plan.faults
        back_s = planned.heal_s or plan.stop_after_s
        names = {*planned.nodes, *(end for link in planned.links for end in link.split(">"))}
        victims = [node.name for node in plan.nodes if node.role == "device" and node.name in names]
        if bench.plugin.kind == "algorithm" and ran.carried("sent_payload_bytes"):
            away = [name for name in victims if not ran.sent_after(name, back_s)]
            if away:
                raise _FailedError(
                    f"{', '.join(away)}: back at {back_s:g} s of {plan.stop_after_s:g} s, and silent from then on",
                    "wait with node.receive(within), and ask again where nothing came; let the other side answer",
                )
        return f"{', '.join(victims)} went and came back; the others went on"

    return check


def _survives_garbage(bench: _Bench) -> str:
    algorithm, name = registry.ALGORITHMS[bench.plugin.name], f"{bench.plugin.name}_among_garbage"
    registry.add("algorithm", name, Meddled(algorithm))
    try:
        plan = bench.plan()
        nodes = tuple(
            replace(node, spec=replace(node.spec, algorithm=Chosen(name, node.spec.algorithm.parameters)))
            for node in plan.nodes
        )
        ran = bench.run(replace(plan, nodes=nodes))
    finally:
        registry.remove("algorithm", name)
    before = bench.plain().accuracy
    if before is not None and (ran.accuracy is None or ran.accuracy < before / 2):
        raise _FailedError(
            f"accuracy {before:.1%} without, {ran.accuracy or 0.0:.1%} among garbage",
            "check every field of a message before it is used: node_image.algorithms.exchange has vector() and whole()",
        )
    return f"accuracy {ran.accuracy or 0.0:.1%} among garbage"


def _rule_keeps_frozen_weights(bench: _Bench) -> str:
    learner = bench.learner()
    trainable = np.random.default_rng(1).random(learner.parameters) < 0.5
    before = learner.weights()
    phase = learner.train(STEPS, 0.0, np.random.default_rng(1), trainable=trainable)
    moved = learner.weights() != before
    if bool((moved & ~trainable).any()):
        raise _FailedError(
            f"{int((moved & ~trainable).sum())} weights outside constraint.trainable moved",
            "set their gradients to 0 as the last thing before the step (momentum and weight decay included)",
        )
    cost = learner.cost(STEPS, 0.0)
    if not (np.isfinite(cost.macs) and cost.macs >= 0 and np.isfinite(cost.ops) and cost.macs + cost.ops > 0):
        raise _FailedError(
            f"{STEPS} steps cost {cost}", "cost() must be finite and positive: time and energy come from it"
        )
    return f"{int(moved.sum())} of {int(trainable.sum())} free weights moved, no other; mean loss {phase.loss:.3g}"


def _model_is_its_weights(bench: _Bench) -> str:
    network = bench.learner().network
    if state := [name for name, _ in network.module.named_buffers()]:
        raise _FailedError(
            f"has state beside its weights: {', '.join(state)}",
            "it would not travel; use GroupNorm instead of BatchNorm",
        )
    return f"{len(network.weights)} weights, {network.macs} multiply-accumulates a sample, no other state"


def _selection_keeps_its_mask(bench: _Bench) -> str:
    """Asked twice, the mask is the same; and what lies outside of it does not move in the local phase that follows."""
    learner, shares = bench.learner(), []
    for _ in range(3):
        every = np.ones(learner.parameters, np.bool_)
        first, second = (every if mask is None else mask.copy() for mask in (learner.trainable(), learner.trainable()))
        if not np.array_equal(first, second):
            raise _FailedError("mask() gave something else the second time", "choose in begin and in observe alone")
        before = learner.weights()
        learner.train(STEPS, 0.0, np.random.default_rng(1))
        if bool(((learner.weights() != before) & ~first).any()):
            raise _FailedError("weights outside of mask() moved", "return a new mask; do not change the one you gave")
        shares.append(f"{first.mean():.0%}")
    return f"{', '.join(shares)} of the weights may move in the first local phases"


def _task_is_as_said(bench: _Bench) -> str:
    task = bench.learner().task
    for name in ("train", "test"):
        x, y = getattr(task, f"{name}_x"), getattr(task, f"{name}_y")
        if x.dtype not in (np.uint8, np.float32):
            raise _FailedError(f"{name}_x is of {x.dtype}", "give uint8 or float32")
        if y.dtype != np.int64 or len(x) != len(y) or len(y) == 0:
            raise _FailedError(
                f"{len(x)} samples and {len(y)} labels of {y.dtype} in {name}", "give one int64 label a sample"
            )
        if int(y.min()) < 0 or int(y.max()) >= task.classes:
            raise _FailedError(
                f"labels {y.min()} to {y.max()} in {name}, {task.classes} classes", "count classes from 0"
            )
    return f"{len(task.train_y)} samples to learn from, {len(task.test_y)} to be tested on, shape {task.shape}"


BASIC: Mapping[str, Check] = {
    "a scenario can name it": _can_be_planned,
    "runs to the end, and ends when told": _runs_and_ends,
}
OF_ALL: Mapping[str, Check] = {
    "learns": _learns,
    "bytes add up": _bytes_add_up,
    "the same seed gives the same run": _repeats_itself,
    "survives a dropout": _survives(DROPOUT),
    "survives a partition": _survives(PARTITION),
}
OF_KIND: Mapping[str, Mapping[str, Check]] = {
    "algorithm": {"survives garbage": _survives_garbage},
    "model": {"is its weights and nothing else": _model_is_its_weights},
    "rule": {"moves no weight that may not move": _rule_keeps_frozen_weights},
    "selection": {"its mask holds": _selection_keeps_its_mask},
    "task": {"its samples and labels are in order": _task_is_as_said},
}


def _stuck(places: list[str]) -> tuple[str, str]:
    return (
        f"did not end: after {MOST_CPU_S:g} s of processor time it was at {places[0]}",
        "let time pass in every loop (receive, sleep or compute), and let CancelledError through: no bare `except`",
    )


@contextmanager
def _processor_time(most_s: float, file: str, stuck: list[str]) -> Iterator[None]:
    """Interrupt the block once it has used so much processor time, and note in `stuck` where the plug-in was then."""

    def interrupt(_number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename != file:
            frame = frame.f_back
        stuck.append(
            f"{file}, between two waits" if frame is None else f"{file}:{frame.f_lineno}, in {frame.f_code.co_name}"
        )
        with suppress(RuntimeError):  # no loop runs
            _WRECKS.append(asyncio.all_tasks())
        raise _TooLongInterrupt

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    before = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, most_s, 1.0)  # again and again: an ending can be as endless
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
        if stuck:
            atexit.register(leave)
