"""The worlds in which the contract suites run, and how a plan is run in one of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.outcome import Outcome, RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay

WORLDS = ["simulation", pytest.param("mininet", marks=pytest.mark.root)]
IN_DOCKER = (pytest.mark.root, pytest.mark.docker, pytest.mark.timeout(120))


@dataclass(frozen=True)
class Ran:
    """A run that has ended: what came of it, and its files."""

    outcome: Outcome

    @property
    def directory(self) -> Path:
        return self.outcome.directory

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "result.json").read_text())
        return found

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        lines = (self.directory / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if name is None or event["event"] == name]

    def nodes(self) -> list[str]:
        return sorted(path.name for path in (self.directory / "nodes").iterdir())

    def records(self, node: str, metric: str) -> list[dict[str, Any]]:
        path = self.directory / "nodes" / node / "records.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [record for record in map(json.loads, lines) if record["metric"] == metric]

    def own_records(self, metric: str) -> list[dict[str, Any]]:
        lines = (self.directory / "records.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["metric"] == metric]


def run_in(world: str, plan: Plan, directory: Path, *, probe: bool = False) -> Ran:
    """Run a plan. Contract tests look at what happens, not at how true the links are: no probes by default."""
    options = RunOptions(out=directory, substrate=world, probe=probe, keep="always")
    return Ran(execute(plan, "name: test\n", options, QuietDisplay()))
