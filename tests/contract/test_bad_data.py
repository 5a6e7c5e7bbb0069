"""Devices with bad data, in every algorithm: the run goes on, and the others learn."""

from dataclasses import replace
from pathlib import Path

import pytest

from node_image.spec import Chosen, TaskSpec
from orchestrator.plan import Plan
from tests.contract.cases import CASES, VARIANTS, Case
from tests.contract.worlds import Ran, run_in

NEVER_PER_S = 1e-9  # samples of a stream that brings none within the run
WITH_OTHERS = {name: case for name, case in {**CASES, **VARIANTS}.items() if case.algorithm != "local_only"}
WAITING = ("fedavg", "fedprox")  # for all, at first


def with_tasks(plan: Plan, tasks: dict[str, TaskSpec]) -> Plan:
    """The plan, but that these nodes have these tasks."""
    nodes = (replace(node, spec=replace(node.spec, task=tasks.get(node.name, node.spec.task))) for node in plan.nodes)
    return replace(plan, nodes=tuple(nodes))


def refused(ran: Ran) -> list[str]:
    """Why messages were refused, but for those that came too late."""
    discarded = [each for name in ran.nodes() for each in ran.records(name, "discarded_updates")]
    reasons = [each["labels"]["reason"] for each in discarded]
    return [reason for reason in reasons if reason not in ("late", "frozen")]


@pytest.mark.parametrize("case", WITH_OTHERS.values(), ids=WITH_OTHERS)
def test_a_device_whose_stream_is_empty_learns_nothing_and_the_others_go_on(case: Case, tmp_path: Path) -> None:
    plan = (case.but(first_deadline_s=0.5) if case.algorithm in WAITING else case).plan(3.0)
    theirs = next(node.spec.task for node in plan.nodes if node.name == "d-2")
    ran = run_in("simulation", with_tasks(plan, {"d-2": replace(theirs, stream_per_s=NEVER_PER_S)}), tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    assert (ran.outcome.summary["test_accuracy"] or 0.0) > 0.2
    assert not ran.records("d-2", "samples_seen")
    assert not refused(ran)


@pytest.mark.parametrize("case", WITH_OTHERS.values(), ids=WITH_OTHERS)
def test_devices_of_one_class_each_end_with_a_finite_model_and_nothing_refused(case: Case, tmp_path: Path) -> None:
    plan = case.plan(2.0)
    classes = tuple(range(sum(node.role == "device" for node in plan.nodes)))
    one = Chosen("pathological", {"classes": 1})
    tasks = {node.name: replace(node.spec.task, partition=one, classes=classes) for node in plan.nodes}
    ran = run_in("simulation", with_tasks(plan, tasks), tmp_path / "run")
    assert ran.outcome.status == "complete", ran.outcome.notes
    assert all(event["finite"] for event in ran.events("model"))
    assert not refused(ran)
