"""The run directory: everything that a run says about itself, as files.

    scenario.yaml      the text as written                        plan.json      everything decided
    environment.json   machine, versions, substrate, shaper       receipt.json   links and computing: asked and found
    events.jsonl       what the orchestrator did                  records.jsonl  what it measured (links, energy, CPU)
    nodes/<n>/         spec.json records.jsonl stderr             result.json    summary, verdicts, faults, status
    resources.jsonl    the journal (real substrates)

An event is {"t": seconds since the run began, "event": name, ...}; result.json is written last, so a directory
without it belongs to a run that lives or was killed.
"""

import json
import shutil
from pathlib import Path
from typing import IO, Any

from node_image.records import Record
from orchestrator.errors import UsageError
from orchestrator.plan import Plan, plan_json

SCHEMA_VERSION = 1


class RunDirectory:
    """Writes a run directory. The record files stay open for the length of the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, IO[str]] = {}

    def create(self, plan: Plan, scenario_text: str) -> None:
        """Make it with what is known before the run; refuses a folder that holds a run already."""
        if (self.path / "plan.json").exists():
            raise UsageError(f"{self.path} holds a run already; choose another folder with --out")
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "scenario.yaml").write_text(scenario_text, encoding="utf-8")
        (self.path / "plan.json").write_text(plan_json(plan), encoding="utf-8")
        for node in plan.nodes:
            folder = self.path / "nodes" / node.name
            folder.mkdir(parents=True)
            (folder / "spec.json").write_text(node.spec.to_json(), encoding="utf-8")

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write one JSON file whole, by renaming: never half of it."""
        scratch = self.path / f"{name}.new"
        scratch.write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
        scratch.replace(self.path / name)

    def event(self, t: float, event: str, details: dict[str, Any]) -> None:
        """Append one event; on disk at once."""
        line = json.dumps({"t": round(t, 6), "event": event, **details}, default=str)
        self._append("events.jsonl", line)
        self._files["events.jsonl"].flush()

    def record(self, record: Record, node: str | None = None) -> None:
        """Append a record of a node, or (node None) of the orchestrator."""
        self._append("records.jsonl" if node is None else f"nodes/{node}/records.jsonl", record.to_line())

    def remove(self) -> None:
        """Remove it with all that is in it: for a run that was refused before it began."""
        self.close()
        shutil.rmtree(self.path)

    def close(self) -> None:
        """Flush and close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _append(self, name: str, line: str) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self.path / name).open("a", encoding="utf-8")
        file.write(line + "\n")
