"""Which runs a folder holds: the folder itself, or the runs of a comparison as they appear."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.telemetry.live.follower import Follower, Rows

ALONE = "run"


@dataclass(frozen=True)
class Listed:
    """A run of the folder: `key` names it in addresses, `label` tells people what it is."""

    key: str
    label: str
    ended: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class Folder:
    """The runs that one server shows, each followed once whoever looks at it."""

    def __init__(self, path: Path, rows: Rows) -> None:
        self.path = path
        self._rows = rows
        self._followers: dict[str, Follower] = {}

    def runs(self) -> list[Listed]:
        """The runs there are now, in the order of a comparison, those not yet listed by it last."""
        if self._is_alone():
            return [Listed(ALONE, self.path.name, (self.path / "result.json").is_file())]
        labels = self._labels()
        folders = [path.parent for path in self.path.glob("*/plan.json")]
        order = {name: number for number, name in enumerate(labels)}
        folders.sort(
            key=lambda each: (order.get(each.name, len(order)), (each / "plan.json").stat().st_mtime_ns, each.name)
        )
        return [
            Listed(each.name, labels.get(each.name, each.name.replace("-", " ")), (each / "result.json").is_file())
            for each in folders
        ]

    def complete(self) -> bool:
        """Whether no more runs will come, and those there are have ended."""
        if self._is_alone():
            return (self.path / "result.json").is_file()
        listed = self._listing()
        runs = listed.get("runs")
        return isinstance(runs, list) and len(runs) == listed.get("planned")

    def follower(self, key: str) -> Follower | None:
        """Who follows the run of that key; None if there is none."""
        if all(run.key != key for run in self.runs()):
            return None
        path = self.path if key == ALONE and self._is_alone() else self.path / key
        return self._followers.get(key) or self._followers.setdefault(key, Follower(path, self._rows))

    def _is_alone(self) -> bool:
        return any((self.path / name).exists() for name in ("plan.json", "nodes", "events.jsonl"))

    def _labels(self) -> dict[str, str]:
        """Labels by folder, as the comparison lists those of its runs that have ended."""
        try:
            return {str(each["directory"]): str(each["label"]) for each in self._listing().get("runs", ())}
        except (KeyError, TypeError):
            return {}

    def _listing(self) -> Mapping[str, Any]:
        try:
            listed = json.loads((self.path / "compare.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return listed if isinstance(listed, dict) else {}
