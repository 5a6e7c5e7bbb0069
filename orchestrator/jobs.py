"""One run of a sweep as a value that can be sent to another process or machine, and the process that carries it out.

`python -m orchestrator.jobs` reads jobs from stdin, one JSON object a line, and carries them out one after another, so
that torch is imported once and not for every run. On stdout it says what happens, as `--json` does; the last line about
a job is its answer. When stdin ends, whoever sent the jobs is gone or wants no more: a run that lives is interrupted as
by Ctrl-C, heals what it disturbed, and the process ends. So nothing outlives a sweep that was killed.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from orchestrator.errors import EdgebedError
from orchestrator.outcome import INTERRUPTED, RunOptions
from orchestrator.terminal import Display, JsonDisplay

END_WITHIN_S = 60.0  # a run that is interrupted heals first


@dataclass(frozen=True)
class Job:
    """A run: its plan and scenario as texts, how to run it, and the plug-ins' own sources by the paths they came from.

    Only plain values: a job travels as JSON.
    """

    label: str
    plan: str
    scenario_text: str
    options: Mapping[str, Any]  # of RunOptions, but for the folder and the plug-ins
    plugins: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(label: str, plan: str, scenario_text: str, options: RunOptions) -> "Job":
        """A job with these options."""
        kept = ("substrate", "shaper", "keep", "allow_degraded", "data_dir", "probe", "trust")
        plugins = tuple((each.path, each.source.decode("utf-8")) for each in options.plugins)
        return Job(label, plan, scenario_text, {name: getattr(options, name) for name in kept}, plugins)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**vars(self), "options": dict(self.options), "plugins": [list(each) for each in self.plugins]}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Job":
        """Inverse of `to_json`."""
        return Job(**{**found, "plugins": tuple((path, source) for path, source in found["plugins"])})


@dataclass(frozen=True)
class Answer:
    """How a job ended; `error` tells why there is no result in the run directory."""

    exit_code: int
    error: str | None = None


def carry_out(job: Job, directory: Path, display: Display) -> Answer:
    """Run a job in this process, in its main thread. What goes wrong is in the answer; an interrupt is raised."""
    from node_image import plugins
    from orchestrator.plan import plan_from_json
    from orchestrator.run import execute

    loaded = []
    try:
        for path, source in job.plugins:
            loaded.append(plugins.load(source.encode("utf-8"), path))
        options = RunOptions(out=directory, plugins=tuple(loaded), **job.options)
        outcome = execute(plan_from_json(job.plan), job.scenario_text, options, display)
        return Answer(outcome.exit_code)
    except EdgebedError as error:
        return Answer(error.exit_code, str(error))
    except Exception as error:
        mistake = plugins.find_mistake(error)
        return Answer(EdgebedError.exit_code, f"a defect of Edgebed's: {error!r}" if mistake is None else str(mistake))
    finally:
        for plugin in loaded:
            plugins.unload(plugin)


class _Inbox(threading.Thread):
    """Reads jobs while one is carried out, so that the end of stdin is seen at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self.busy = threading.Event()

    def run(self) -> None:
        """Until the end of the stream; then interrupt what is being carried out."""
        for line in self._stream:
            self._lines.put(line)
        self._lines.put(b"")
        if self.busy.is_set():
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(END_WITHIN_S)
        os._exit(INTERRUPTED)

    def jobs(self) -> Iterator[tuple[Job, Path]]:
        """Each job as it comes, with the run directory to make."""
        while line := self._lines.get():
            found = json.loads(line)
            yield Job.from_json(found["job"]), Path(found["directory"])


def main() -> None:
    """Carry out jobs until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a plug-in prints is not an answer
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    inbox = _Inbox(sys.stdin.buffer)
    inbox.start()
    display = JsonDisplay(answers)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        for job, directory in inbox.jobs():
            inbox.busy.set()
            answer = carry_out(job, directory, display)
            inbox.busy.clear()
            answers.write(json.dumps({"event": "answer", **vars(answer)}) + "\n")
            answers.flush()
    os._exit(0)  # the thread may still read, and torch takes its time to end


if __name__ == "__main__":
    main()
