"""A recorded run played again into another directory, line by line as its own clock had it: a run that 'lives'."""

import json
import shutil
from pathlib import Path

AT_ONCE = ("scenario.yaml", "plan.json")
AT_THE_END = ("receipt.json", "environment.json", "result.json")


class Replay:
    """Writes the files of `source` into `target` as a run would; `until(t)` goes on, `end()` ends it."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._lines: list[tuple[float, Path, str]] = []
        target.mkdir(parents=True, exist_ok=True)
        for name in AT_ONCE:
            shutil.copy(source / name, target / name)
        for path in [source / "events.jsonl", source / "records.jsonl", *sorted(source.glob("nodes/*/records.jsonl"))]:
            if path.is_file():
                (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
                for line in path.read_text().splitlines():
                    self._lines.append((json.loads(line)["t"], path.relative_to(source), line))
        self._lines.sort(key=lambda each: each[0])

    def until(self, t: float) -> None:
        """All that was written until an instant."""
        count = sum(at <= t for at, _, _ in self._lines)
        self._write(count)

    def end(self) -> None:
        """The rest, and what a run writes at its end."""
        self._write(len(self._lines))
        for name in AT_THE_END:
            if (self._source / name).is_file():
                shutil.copy(self._source / name, self._target / name)

    def _write(self, count: int) -> None:
        texts: dict[Path, str] = {}
        for _, path, line in self._lines[:count]:
            texts[path] = f"{texts.get(path, '')}{line}\n"
        del self._lines[:count]
        for path, text in texts.items():
            with (self._target / path).open("a") as file:
                file.write(text)
